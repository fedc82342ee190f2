"""What is sent to SGLang, against the class of SGLang that reads it. The server itself needs a graphics card.

Skipped, loudly, where SGLANG_ENVIRONMENT names no environment with its package (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.real_servers import interpreter
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.chat_options import THOUGHT_LIMITS, ChatOptions
from rationalrewards_core.backends.openai_wire import wire_messages
from rationalrewards_core.backends.server_profile import GRAMMAR_FIELDS
from rationalrewards_core.messages import Message
from rationalrewards_core.server_entries import server_entry
from rationalrewards_core.servers import ServerConfig

pytestmark = pytest.mark.slow

GRAMMAR = 'root ::= "Score: " [1-4]'
STOPS = ("<1>", "<2>", "<3>", "<4>", "# Summary")
SAMPLING = Sampling(max_tokens=700, temperature=1.0, seed=7, stop=STOPS, alternatives=20, grammar=GRAMMAR)
WIRE = wire_messages([Message("user", (Image.new("RGB", (64, 64)), "What is this?"))], 802_816)


def sglang_python() -> Path:
    python = interpreter(os.environ.get("SGLANG_ENVIRONMENT", ""), "sglang", "pydantic", "msgspec", "openai")
    if python is None:
        pytest.skip(
            "NOT TESTED: SGLang's request class. Make an environment, pip install --no-deps sglang, and pip install "
            "pydantic msgspec openai; name it in SGLANG_ENVIRONMENT."
        )
    return python


def kept(body: dict[str, Any]) -> dict[str, Any]:
    """What the class holds of a request, and the sampling that it hands to the engine."""
    python = sglang_python()
    script = Path(__file__).with_name("sglang_request.py")
    done = subprocess.run(
        [str(python), str(script)], input=json.dumps(body), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_the_flags_of_a_written_entry_are_those_of_its_arguments() -> None:
    """By the fields from which it makes its command line: the module that does so wants a graphics card's libraries."""
    (fields,) = sglang_python().parents[1].glob("lib/python*/site-packages/sglang/srt/arg_groups/fields")
    declared = "\n".join(file.read_text(encoding="utf-8") for file in fields.glob("*.py"))
    command = server_entry("sglang", "org/judge", program=sys.executable)["command"]
    flags = [word for word in command if word.startswith("--")]
    assert len(flags) == 7
    for flag in flags:
        assert re.search(rf"^    {flag[2:].replace('-', '_')}: A\[", declared, flags=re.MULTILINE), flag


def options(**settings: Any) -> ChatOptions:
    return ChatOptions(ServerConfig(name="judge", url="http://127.0.0.1:1/v1", **settings))


def test_what_a_probed_server_is_sent_is_kept() -> None:
    asked = options(thinking="off", fields={"reasoning_effort": "none"})
    asked.profile = replace(
        asked.profile, software="SGLang 0.5.23", probed=True, grammar=(GRAMMAR_FIELDS["sglang"],), stop_texts=5
    )
    body = asked.body("judge", WIRE, SAMPLING)
    seen = kept(body)
    assert body.keys() <= seen["kept"].keys(), "nothing is dropped"
    assert seen["kept"]["messages"][0]["content"][0]["image_url"]["url"] == WIRE[0]["content"][0]["image_url"]["url"]
    assert seen["kept"]["top_logprobs"] == 20
    assert seen["kept"]["chat_template_kwargs"]["enable_thinking"] is False
    sampling = seen["sampling"]
    assert (sampling["ebnf"], sampling["stop"], sampling["sampling_seed"]) == (GRAMMAR, list(STOPS), 7)
    assert (sampling["max_new_tokens"], sampling["temperature"]) == (700, 1.0)
    assert (sampling["top_p"], sampling["top_k"], sampling["min_p"], sampling["repetition_penalty"]) == (
        1.0,
        -1,
        0.0,
        1.0,
    )


def test_it_has_no_field_for_a_limit_of_thoughts() -> None:
    body = options(thinking_tokens=400, fields=dict.fromkeys(sorted(THOUGHT_LIMITS), 400)).body("judge", WIRE, SAMPLING)
    assert body.keys() >= THOUGHT_LIMITS
    assert kept(body)["kept"].keys().isdisjoint(THOUGHT_LIMITS)


def test_of_all_grammars_at_once_it_keeps_its_own() -> None:
    """How a server is asked that is not to be probed."""
    seen = kept(options(probe=False).body("judge", WIRE, SAMPLING))
    assert seen["sampling"]["ebnf"] == GRAMMAR
    assert seen["kept"].keys().isdisjoint({"structured_outputs", "grammar"})
