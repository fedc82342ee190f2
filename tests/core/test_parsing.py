"""The parser against a corpus of replies: what is read, what is refused and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from rationalrewards_core.critique import Critique
from rationalrewards_core.replies.parsing import Mode, Reason, parse_critique
from rationalrewards_core.rubric import Rubric
from tests.core.reply_parts import RUBRICS, read

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Situation:
    """One file of `tests/replies`: a reply and what reading it has to give."""

    name: str
    about: str
    rubric: Rubric
    mode: Mode
    reply: str
    scores: Scores
    """Empty if the reply must be refused."""
    reason: str
    """Empty if the reply must be read."""
    refined: str
    """The whole refined request, or its first words and `…`; empty if nothing is claimed about it."""


def read_situation(path: Path) -> Situation:
    front, reply = path.read_bytes().decode("utf-8").split("---\n", 1)
    reply = reply.removesuffix("\n")
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    unknown = set(fields) - {"situation", "rubric", "mode", "expect", "refined", "line ends", "escapes"}
    assert not unknown, f"{path.name} has unknown keys {unknown}"
    assert fields["mode"] in ("critique", "score"), path.name
    assert fields.get("line ends", "crlf") == "crlf"
    if fields.get("escapes") == "yes":
        reply = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), reply)
    if "line ends" in fields:
        reply = reply.replace("\n", "\r\n")
    scores, reason = read_expectation(fields["expect"], RUBRICS[fields["rubric"]])
    return Situation(
        name=path.stem,
        about=fields["situation"],
        rubric=RUBRICS[fields["rubric"]],
        mode="score" if fields["mode"] == "score" else "critique",
        reply=reply,
        scores=scores,
        reason=reason,
        refined=fields.get("refined", "").replace("\\n", "\n"),
    )


def read_expectation(text: str, rubric: Rubric) -> tuple[Scores, str]:
    """`reason REASON`, or `key score` for every dimension of the rubric in its order."""
    if text.startswith("reason "):
        return {}, Reason(text.removeprefix("reason ")).value
    pairs = [pair.split(" ") for pair in text.split(", ")]
    assert [key for key, _ in pairs] == [d.key for d in rubric.dimensions], text
    scores: Scores = {key: None if score == "N/A" else float(score) for key, score in pairs}
    assert all(score is None or rubric.scale.contains(score) for score in scores.values()), text
    return scores, ""


CORPUS = [read_situation(path) for path in sorted((Path(__file__).parents[1] / "replies").glob("*.md"))]
READABLE = [situation for situation in CORPUS if not situation.reason]


def names(situations: list[Situation]) -> list[str]:
    return [situation.name for situation in situations]


class TestCorpus:
    def test_is_large_and_covers_every_reason(self) -> None:
        assert len(CORPUS) >= 60
        assert {situation.reason for situation in CORPUS} - {""} == {reason.value for reason in Reason}
        assert len({situation.about for situation in CORPUS}) == len(CORPUS)

    @pytest.mark.parametrize("situation", CORPUS, ids=names(CORPUS))
    def test_reply(self, situation: Situation) -> None:
        outcome = read(situation.reply, situation.rubric, situation.mode)
        if situation.reason:
            assert outcome == situation.reason
            return
        assert isinstance(outcome, Critique), f"refused as {outcome}"
        assert outcome.scores == situation.scores
        assert list(outcome.scores) == [d.key for d in situation.rubric.dimensions]
        assert outcome.raw == situation.reply
        if situation.refined:
            assert outcome.refinement is not None
            wanted = situation.refined
            if wanted.endswith(" …"):
                assert outcome.refinement.request.startswith(wanted.removesuffix(" …"))
            else:
                assert outcome.refinement.request == wanted

    @pytest.mark.parametrize("situation", READABLE, ids=names(READABLE))
    def test_a_critique_keeps_its_words(self, situation: Situation) -> None:
        critique = parse_critique(situation.reply, situation.rubric, situation.mode)
        assert all(j.justification for j in critique.judgements if j.score is not None)
        if situation.mode == "critique":
            assert critique.summary
            assert critique.refinement is not None
            assert critique.refinement.request
