"""What a server honours is remembered for a week, and asked again when it is another one."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends import profile_store
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.server_probe import DRAW, FORCED, QUESTION
from rationalrewards_core.backends.server_profile import ServerProfile, profile_from_json
from rationalrewards_core.errors import BackendError
from tests.core.fault_server import Answer, Ask, FaultServer, fault, raw, serving
from tests.core.server_kinds import JUDGED, SENTENCE, Kind, met, profile_of


class TestMemory:
    @staticmethod
    def asked(server: FaultServer, **options: Any) -> int:
        """How many questions an introduction in a new process takes."""
        profile_store._HERE.clear()
        before = len(server.asks)
        asyncio.run(met(server.config(**{"probe": True, **options})))
        return len(server.asks) - before

    def test_a_profile_is_kept_for_a_model_and_a_version(self) -> None:
        with serving(Kind(obeys="grammar")) as server:
            server.pages = {"/version": raw('{"version": "1"}')}
            first = self.asked(server)
            assert 6 <= first <= 10
            assert self.asked(server) == 0, "it is on disk"
            server.models = raw('{"data": [{"id": "judge-8b", "root": "/models/other"}]}')
            assert self.asked(server) == first, "another model is listed"
            server.pages = {"/version": raw('{"version": "2"}')}
            assert self.asked(server) == first, "another version serves"
            assert self.asked(server, thinking="off") == first, "it is asked in another way"
            assert self.asked(server) == 0

    def test_it_can_be_switched_off(self) -> None:
        with serving(Kind(obeys="grammar")) as server:
            first = self.asked(server, remember=False)
            assert self.asked(server, remember=False) == first
            assert not list(profile_store.cache_folder().iterdir())
            assert self.asked(server, probe=False) == 0

    def test_it_is_kept_for_a_week(self) -> None:
        with serving(Kind()) as server:
            first = self.asked(server)
            (file,) = profile_store.cache_folder().iterdir()
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - profile_store.LONGEST_AGE - 1))
            assert self.asked(server) == first

    @pytest.mark.parametrize("content", ["", "[1]", "{}", '{"grammar": 3}'])
    def test_a_damaged_file_is_no_profile(self, content: str) -> None:
        with serving(Kind()) as server:
            first = self.asked(server)
            (file,) = profile_store.cache_folder().iterdir()
            file.write_text(content)
            assert self.asked(server) == first

    def test_a_cache_that_cannot_be_written_costs_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_the_way = profile_store.cache_folder() / "file"
        in_the_way.write_text("")
        monkeypatch.setattr(profile_store, "cache_folder", lambda: in_the_way)
        with serving(Kind()) as server:
            assert self.asked(server) > 0

    def test_a_profile_survives_json(self) -> None:
        profile = ServerProfile(software="vLLM 1", probed=True, grammar=("ebnf",), context=4096)
        assert profile_from_json(json.loads(json.dumps(profile.to_json()))) == profile
        row = profile.to_json()
        assert profile_from_json({**row, "more": 1}) is None
        assert profile_from_json({**row, "context": "4096"}) is None


def test_a_server_that_is_out_of_order_has_no_profile() -> None:
    def script(ask: Ask) -> Answer:
        return fault(503) if "stop" in ask.body else Kind()(ask)

    with serving(script) as server:
        with pytest.raises(BackendError) as caught:
            asyncio.run(met(server.config(probe=True)))
        assert caught.value.reason == "server_error"
        server.script = Kind()
        profile, _ = asyncio.run(met(server.config(probe=True)))
    assert profile.stop_texts == 5, "nothing was kept of the failed attempt"


def test_one_bad_grammar_costs_no_other_rubric_its_guidance(caplog: pytest.LogCaptureFixture) -> None:
    def script(ask: Ask) -> Answer:
        bad = "bad" in str(ask.body.get("structured_outputs"))
        return fault(400, "Invalid grammar specification") if bad else Kind(obeys="structured_outputs")(ask)

    with serving(script) as server:
        bad, good = Sampling(grammar="bad"), Sampling(grammar="good")
        _, replies = asyncio.run(met(server.config(probe=True), bad, good, bad))
        assert [reply.text for reply in replies] == [SENTENCE, JUDGED, SENTENCE]
        tried = ["structured_outputs" in ask.body for ask in server.asks[-4:]]
    assert tried == [True, False, True, False], "the bad one is tried once"
    assert caplog.text.count("Invalid grammar specification") == 1


@pytest.mark.parametrize("managed", [False, True], ids=["running", "started for it"])
def test_a_command_says_in_a_line_what_its_server_honours(
    managed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Image.new("RGB", (32, 32)).save(tmp_path / "cat.png")
    stub = [sys.executable, str(Path(__file__).with_name("managed_stub.py")), "--port", "{port}"]
    with serving(Kind(obeys="grammar")) as server:
        place = {"command": stub} if managed else {"url": f"http://127.0.0.1:{server.port}/v1"}
        rows = {**place, "check_sight": False, "remember": False, "retries": 0}
        file = tmp_path / "config.toml"
        file.write_text("[servers.judge]\n" + "".join(f"{key} = {json.dumps(row)}\n" for key, row in rows.items()))
        words = ["-p", "a cat", "--backend", "server:judge", "--config", str(file)]
        assert main(["critique", str(tmp_path / "cat.png"), *words]) == 3
    honoured = "not guided, no token probabilities" if managed else "guided (grammar), token probabilities"
    assert f": {honoured}" in next(line for line in capsys.readouterr().err.splitlines() if "server 'judge': " in line)


def test_identity_tells_guided_from_unguided() -> None:
    async def identity(config: Any) -> str:
        backend = OpenAIChat(config)
        await backend.introduce()
        await backend.close()
        return backend.identity

    with serving(Kind(obeys="grammar")) as server:
        guided = asyncio.run(identity(server.config(probe=True)))
        unguided = asyncio.run(identity(server.config(probe=True, structured="none")))
    assert guided != unguided


def test_a_probe_question_is_not_answered_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """What the probe forces is what no model would say."""
    assert FORCED not in QUESTION + DRAW
    with caplog.at_level(logging.INFO, "rationalrewards"):
        profile, _ = profile_of(replace(Kind(), obeys="grammar"))
    assert profile.lines()[0] in caplog.text, "the user is shown what was found"
