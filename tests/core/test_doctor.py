"""`rationalrewards doctor`: every way in which a judge cannot judge is one line that says what to do."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends import profile_store
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.doctor_case import PROMPT, shipped_picture
from rationalrewards_core.gguf import engine as gguf_engine
from rationalrewards_core.managed import managed_server as managing
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.rubric_file import generation_rubric
from tests.core.fault_server import Answer, Ask, FaultServer, completion, fault, raw, serving
from tests.core.server_kinds import Kind
from tests.llama_cpp import llama_python, write_miniature

Check = Callable[..., dict[str, Any]]


def critique() -> str:
    rubric = generation_rubric()
    scores = tuple(
        Judgement(key=d.key, justification="Right.", score=None if d.optional else 3.0) for d in rubric.dimensions
    )
    return render_critique(
        Critique(
            rubric=rubric.name,
            judgements=scores,
            analysis="A.",
            summary="Good.",
            refinement=Refinement(comments="Nothing.", request=PROMPT),
        ),
        rubric,
    )


@dataclass(frozen=True)
class Judge(Kind):
    """A server that sees: its prompts have as many tokens as their pictures have patches."""

    obeys: str = "grammar"
    key: str = ""
    name: str = "judge-8b"
    blind: bool = False
    enlarges: int = 1
    mute: bool = False

    def __call__(self, ask: Ask) -> Answer:
        if self.key and ask.authorization != f"Bearer {self.key}":
            return fault(401, "wrong key")
        if ask.body["model"] not in (self.name, "judge-8b"):
            return fault(404, f"The model `{ask.body['model']}` does not exist.")
        text = self._text(ask)
        text = text[: min((text.index(end) for end in ask.body.get("stop", ()) if end in text), default=len(text))]
        usage = {"prompt_tokens": 30 + self._picture_tokens(ask), "completion_tokens": 7}
        return completion(text, choice=self._choice(ask.body, text), usage=usage, model=self.name)

    def _text(self, ask: Ask) -> str:
        if PROMPT in ask.text:
            return "I cannot say." if self.mute else critique()
        return super()._text(ask)

    def _picture_tokens(self, ask: Ask) -> int:
        content = ask.body["messages"][-1]["content"]
        parts = [] if self.blind or isinstance(content, str) else content
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        sizes = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls]
        return sum(2 + (wide // 32) * (high // 32) * (self.enlarges if wide > 1000 else 1) for wide, high in sizes)


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Ask the doctor about a fake server under some settings: exit code, lines by check, and the rest of the JSON."""

    def examined(judge: Judge | FaultServer, *arguments: str, status: int = 0, **settings: Any) -> dict[str, Any]:
        def ask(server: FaultServer) -> dict[str, Any]:
            rows = {
                "url": f"http://127.0.0.1:{server.port}/v1",
                "retries": 0,
                "timeout_seconds": 20.0,
                "remember": False,
                **settings,
            }
            path = tmp_path / "config.toml"
            path.write_text("[servers.judge]\n" + "".join(f"{key} = {json.dumps(row)}\n" for key, row in rows.items()))
            assert main(["doctor", "server:judge", "--json", "--config", str(path), *arguments]) == status
            seen = json.loads(capsys.readouterr().out)
            assert seen["judges"] is (status == 0)
            lines = {line["check"]: line for line in seen["checks"]}
            assert [line for line in seen["checks"] if line["state"] == "stops"] == (
                [] if not status else [seen["checks"][-1]]
            )
            return lines

        if isinstance(judge, FaultServer):
            return ask(judge)
        with serving(judge) as server:
            return ask(server)

    return examined


def test_a_good_server_is_good_in_every_line(check: Check) -> None:
    lines = check(Judge(), model="judge-8b")
    assert [line for line in lines.values() if line["state"] != "good"] == []
    assert set(lines) == {"reached", "model", "sight", "pixels", "server", "critique", "speed", "probabilities"}
    assert lines["pixels"]["pixels"] == [1184, 672]
    assert lines["pixels"]["tokens"] == lines["pixels"]["expected_tokens"] == 37 * 21
    assert lines["server"]["profile"]["grammar"] == ["grammar"]
    assert lines["critique"]["scores"] == {"text_faithfulness": 3.0, "physical_quality": 3.0, "text_rendering": None}


def test_nobody_listens(check: Check) -> None:
    lines = check(Judge(), status=1, url="http://127.0.0.1:9/v1")
    assert lines["reached"]["sentence"].endswith("is it running?")


def test_something_else_listens(check: Check) -> None:
    with serving(lambda _: raw("<html>hello</html>")) as server:
        server.models = raw("<html>hello</html>")
        assert "is the url its /v1 address?" in check(server, status=1, model="judge-8b")["reached"]["sentence"]


@pytest.mark.parametrize(
    ("settings", "name", "sentence"),
    [
        ({}, "key", "check the key named in the config file"),
        ({"api_key": "another"}, "key", "check the key named in the config file"),
        ({"api_key_env": "NO_SUCH_KEY_IS_SET"}, "config", "takes its key from NO_SUCH_KEY_IS_SET, which is not set"),
    ],
)
def test_a_missing_or_wrong_key(check: Check, settings: dict[str, str], name: str, sentence: str) -> None:
    assert sentence in check(Judge(key="the-right-key"), status=1, **settings)[name]["sentence"]


def test_a_model_that_is_not_served(check: Check) -> None:
    lines = check(Judge(), status=1, model="other-8b")
    assert "check model and url in the config file" in lines["model"]["sentence"]


def test_a_server_that_answers_any_name_is_told_of(check: Check) -> None:
    lines = check(Judge(name="stranger"), model="judge-8b")
    assert lines["model"]["state"] == "poor"
    assert "was asked for 'judge-8b' and answers as 'stranger'" in lines["model"]["sentence"]


def test_a_blind_model(check: Check) -> None:
    lines = check(Judge(blind=True), status=1)
    assert "does not see pictures" in lines["sight"]["sentence"]
    assert "critique" not in lines


def test_a_blind_model_is_found_out_although_nobody_asks(check: Check) -> None:
    assert "sight" in check(Judge(blind=True), status=1, check_sight=False)


def test_one_that_scales_pictures_again(check: Check) -> None:
    lines = check(Judge(enlarges=2))
    assert lines["pixels"]["state"] == "poor"
    assert "takes 1554 tokens where 777 are right" in lines["pixels"]["sentence"]


def test_an_unguided_one_without_probabilities_judges_poorly(check: Check) -> None:
    lines = check(Judge(obeys="", keeps_alternatives_back=True))
    assert lines["server"]["state"] == lines["probabilities"]["state"] == "poor"
    assert "Replies are not guided" in lines["server"]["sentence"]
    assert "--samples" in lines["probabilities"]["sentence"]
    assert lines["critique"]["state"] == "good"


def test_what_it_finds_out_takes_the_place_of_what_was_remembered(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was started anew with other flags: the doctor sees it, and whoever judges next believes the doctor."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(profile_store, "_HERE", {})

    async def guided(server: FaultServer) -> bool:
        chat = OpenAIChat(server.config(probe=True, check_sight=True, model=""))
        await chat.introduce()
        await chat.close()
        return chat.profile.guided

    with serving(Judge(obeys="")) as server:
        assert asyncio.run(guided(server)) is False
        server.script = Judge()
        assert asyncio.run(guided(server)) is False, "remembered"
        assert check(server, remember=True)["server"]["state"] == "good"
        profile_store._HERE.clear()  # another program
        assert asyncio.run(guided(server)) is True


def test_one_that_writes_something_else(check: Check) -> None:
    lines = check(Judge(mute=True), status=1)
    assert lines["critique"]["sentence"].startswith("It wrote no critique (")


def test_a_name_that_nothing_has(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for engine, words in (
        ("server:gone", "There is no server 'gone'"),
        ("local:/no/folder", "There is no checkpoint"),
        ("x", "Unknown engine"),
    ):
        assert main(["doctor", engine, "--config", str(tmp_path / "none.toml")]) == 1
        shown = capsys.readouterr().out
        assert shown.startswith("STOPS  config: ")
        assert words in shown


def test_the_picture_is_always_the_same() -> None:
    assert shipped_picture().tobytes() == shipped_picture().tobytes()


@pytest.mark.model
def test_the_miniature_can_judge_and_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--against", f"local:{scorer_folder()}"]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("miniature can judge.\n")
    assert {line.split()[0] for line in shown.splitlines()[:-1]} == {"good"}
    assert "agreement: It gives the scores of the local engine." in shown
    assert "A picture of 1024 x 1024 is judged at 48 x 48, 36 tokens." in shown


@pytest.mark.model
def test_llama_cpp_can_judge_and_agrees_with_the_checkpoint(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = llama_python()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(gguf_engine, "llama_python", lambda: str(python))
    monkeypatch.setattr(managing, "_servers", {})
    model = write_miniature(tmp_path / "gguf", python)
    assert main(["doctor", f"gguf:{model}", "--json", "--against", "miniature"]) == 0
    lines = {line["check"]: line for line in json.loads(capsys.readouterr().out)["checks"]}
    assert {line["state"] for line in lines.values()} == {"good"}, lines
    assert lines["agreement"]["largest_difference"] == 0
    assert lines["pixels"]["tokens"] == 36
    assert not any(server.alive for server in managing._servers.values()), "the command's end is the server's"
