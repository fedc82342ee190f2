"""What SGLang's request class makes of a chat request; run in an environment that holds its package.

    python sglang_request.py < request.json     # prints what it keeps, as JSON

The package's own start wants torch and its kernels, so only the module of the protocol is imported, which needs neither.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

PACKAGES = ("sglang", "sglang.srt", "sglang.srt.entrypoints", "sglang.srt.entrypoints.openai")


def main() -> None:
    spec = importlib.util.find_spec("sglang")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent.parent
    for name in PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package
    schemas = types.ModuleType("sglang.utils")  # the real one wants a notebook; the protocol takes one function of it
    setattr(schemas, "convert_json_schema_to_str", json.dumps)  # noqa: B010
    sys.modules["sglang.utils"] = schemas
    protocol = importlib.import_module("sglang.srt.entrypoints.openai.protocol")
    request = protocol.ChatCompletionRequest(**json.load(sys.stdin))
    kept = request.model_dump(exclude_unset=True, mode="json")
    print(json.dumps({"kept": kept, "sampling": request.to_sampling_params(request.stop or [], {})}))


if __name__ == "__main__":
    main()
