"""Entries as `rationalrewards servers add` writes them, started for real by the programs that they name.

llama.cpp's own `llama-server` is looked for in LLAMA_SERVER and on the PATH, `vllm` in VLLM_ENVIRONMENT; skipped, loudly,
where there is none (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rationalrewards_core.__main__ import main
from rationalrewards_core.managed import managed_server as managing
from rationalrewards_core.miniature import scorer_folder
from tests.llama_cpp import llama_python, write_miniature

pytestmark = [pytest.mark.slow, pytest.mark.model]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setattr(managing, "_servers", {})
    yield
    managing.stop_all()


def program(*places: str) -> str:
    """The first of these that can be run; skips without one."""
    for place in places:
        path = shutil.which(os.path.expanduser(place)) if place else None
        if path is not None:
            return path
    pytest.skip(f"NOT TESTED: there is no program {places[-1]!r} here (see CONTRIBUTING.md).")


def vllm_program(path: Path) -> str:
    """`vllm`, for whose command the package `vllm-cpu` lacks one thing: its version under the name `vllm`, which says `cpu`."""
    place = Path(os.environ.get("VLLM_ENVIRONMENT", "none")).expanduser().absolute() / "bin"
    program(str(place / "vllm"))
    path.write_text(
        f"#!{place / 'python'}\n"
        "from importlib import metadata\n"
        "version_of = metadata.version\n"
        "metadata.version = lambda name: version_of('vllm-cpu') + '+cpu' if name == 'vllm' else version_of(name)\n"
        "if __name__ == '__main__':\n"
        "    from vllm.entrypoints.cli.main import main\n"
        "    main()\n"
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
def test_an_entry_is_started_judges_as_here_and_ends_with_its_command(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "llama.cpp":
        path = program(os.environ.get("LLAMA_SERVER", ""), "llama-server")
        model = write_miniature(tmp_path / "gguf", llama_python())
    else:
        path, model = vllm_program(tmp_path / "vllm"), scorer_folder()
    config = ["--config", str(tmp_path / "config.toml")]
    assert main(["servers", "add", "own", kind, str(model), "--program", path, *config]) == 0
    capsys.readouterr()
    assert main(["doctor", "server:own", "--json", "--against", "miniature", *config]) == 0
    lines = {line["check"]: line for line in json.loads(capsys.readouterr().out)["checks"]}
    assert {line["state"] for line in lines.values()} == {"good"}, lines
    assert {"reached", "sight", "pixels", "server", "critique", "probabilities", "agreement"} <= set(lines)
    assert lines["pixels"]["tokens"] == 36
    assert lines["agreement"]["largest_difference"] < 0.05
    assert not any(server.alive for server in managing._servers.values()), "the command's end is the server's"
    print(f"{kind}: {lines['reached']['sentence']} {lines['server']['sentence']}")  # shown with -rP
