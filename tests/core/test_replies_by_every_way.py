"""A reply that says two things has no score by any way in: Python, the command line and HTTP give the same reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.images import data_url
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.commands import Script, scripted_judge
from tests.core.serving import run, serving

SPOILT: dict[str, tuple[Callable[[str], str], str]] = {
    "corrected below": (lambda t: t.replace("## Score: 3.0", "## Score: 3.0\nEDIT: 2.0"), "conflicting_scores"),
    "corrected beside": (lambda t: t.replace("## Score: 3.0", "## Score: 3.0 (actually 2.0)"), "unreadable_score"),
    "corrected at the end": (lambda t: t + "\n\nActually, Text Faithfulness should be 2.0.", "conflicting_scores"),
    "taken back": (lambda t: t.replace("## Score: 3.0", "## Score: 3.0\nScratch that."), "conflicting_scores"),
    "another scale": (lambda t: t.replace("## Score: 3.0", "## Score (1-5): 3.0"), "score_out_of_scale"),
    "a table beside": (lambda t: f"{t}\n\n| D | Score |\n|--|--|\n| Text Faithfulness | 2 |", "conflicting_scores"),
    "JSON with two numbers": (
        lambda t: '{"text_faithfulness": 3.0, "physical_quality": {"score": 3.5, "final": 2}, "text_rendering": "N/A"}',
        "unreadable_score",
    ),
    "JSON of another scale": (
        lambda t: '{"max_score": 5, "text_faithfulness": 3.0, "physical_quality": 3.5, "text_rendering": "N/A"}',
        "score_out_of_scale",
    ),
}
READABLE = {
    "a table": "| Dimension | Score |\n|---|---|\n| Text Faithfulness | 3.0 |\n| Physical and Visual Quality | 3.5 |\n"
    "| Text Rendering | N/A |\n\n# Summary: Fine.\n# User Request Refinement:\n## Refined Request: a red cat",
    "JSON": '```json\n{"text_faithfulness": 3.0, "physical_quality": {"score": "3.5/4"}, "text_rendering": "N/A"}\n```',
}
SCORES = {"text_faithfulness": 3.0, "physical_quality": 3.5, "text_rendering": None}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Script:
    return scripted_judge(monkeypatch)


def by_every_way(reply: str, judge: Script, folder: Path, capsys: Any) -> list[dict[str, Any]]:
    """What Python, the command line and HTTP say: {"scores": ...} or {"reason": ...}."""
    picture = Image.new("RGB", (32, 24), (200, 40, 40))
    picture.save(folder / "cat.png")

    async def scored() -> Critique | Unscored:
        scorer = Scorer(ScriptedBackend([reply]), settings=ScorerSettings(ask_again=0, guided=False))
        return (await scorer.score_many([Case(UserRequest("a cat"), picture)])).outcomes[0]

    async def served() -> None:
        async with serving(ScriptedBackend([reply])) as client:
            status, answer = await client.critique(request="a cat", image=data_url(picture))
            assert status == 200
            failure = answer["unscored"]
            answers.append({"reason": failure["reason"]} if failure else {"scores": answer["scores"]})

    outcome = asyncio.run(scored())
    judge([reply])
    status = main(["critique", str(folder / "cat.png"), "-p", "a cat", "--json"])
    said = json.loads(capsys.readouterr().out)
    answers = [{"reason": outcome.reason} if isinstance(outcome, Unscored) else {"scores": outcome.scores}]
    assert status == (3 if isinstance(outcome, Unscored) else 0)
    answers.append({"reason": said["unscored"]} if said.get("unscored") else {"scores": said["scores"]})
    run(served())
    return answers


@pytest.mark.parametrize("kind", SPOILT)
def test_what_says_two_things_has_no_score(
    kind: str, judge: Script, reply_text: Any, tmp_path: Path, capsys: Any
) -> None:
    spoil, reason = SPOILT[kind]
    reply = spoil(reply_text(3.0, 3.5))
    assert by_every_way(reply, judge, tmp_path, capsys) == [{"reason": reason}] * 3


@pytest.mark.parametrize("kind", READABLE)
def test_other_forms_are_read(kind: str, judge: Script, tmp_path: Path, capsys: Any) -> None:
    assert by_every_way(READABLE[kind], judge, tmp_path, capsys) == [{"scores": SCORES}] * 3
