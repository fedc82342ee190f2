"""Comparisons are laid out, guided, asked again and remembered as critiques are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.comparison import Verdict, parse_comparison
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.grammar import comparison_grammar
from rationalrewards_core.messages import UserRequest, pairwise_reply_format
from rationalrewards_core.reply_layout import Slot, reply_layout, written_out
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

RED, BLUE = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
REQUEST = UserRequest("a red square")
END = 256


def reply(rubric: Rubric, score_a: str = "3.5", score_b: str = "2.0", winner: str = "Image A") -> str:
    scores = {d.key: iter((score_a, score_b)) for d in rubric.dimensions}

    def text(slot: Slot) -> str:
        if slot.kind == "score":
            assert slot.dimension is not None
            return next(scores[slot.dimension.key])
        return winner if slot.kind == "winner" else "A is redder than B.\nB is blue."

    return written_out(reply_layout(rubric, pairwise=True), text)


class Recording(ScriptedBackend):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.samplings: list[Sampling] = []

    async def reply(self, messages: Any, sampling: Sampling) -> Reply:
        self.samplings.append(sampling)
        return await super().reply(messages, sampling)


def compared(scorer: Scorer) -> Any:
    return asyncio.run(scorer.compare(REQUEST, RED, BLUE, "pairwise"))


GOOD = reply(generation_rubric())
BACK = reply(generation_rubric(), "2.0", "3.5", "Image B")


@pytest.mark.parametrize("rubric", [generation_rubric(), edit_rubric()], ids=["generation", "edit"])
def test_the_skeleton_is_the_layout(rubric: Rubric) -> None:
    skeleton = pairwise_reply_format(rubric)
    for part in reply_layout(rubric, pairwise=True):
        if isinstance(part, str):
            assert part in skeleton


@pytest.mark.parametrize("rubric", [generation_rubric(), edit_rubric()], ids=["generation", "edit"])
@pytest.mark.parametrize(
    ("scores", "allowed"),
    [
        (("3.5", "2.0", "Image A"), True),
        (("1.0", "4.0", "Image B"), True),
        (("2.0", "2.0", "It's a tie"), True),
        (("4.5", "2.0", "Image A"), False),
        (("3.5", "two", "Image A"), False),
        (("3.5", "2.0", "the first"), False),
    ],
)
def test_the_grammar_lets_through_what_can_be_read(rubric: Rubric, scores: tuple[str, str, str], allowed: bool) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    info = xgrammar.TokenizerInfo([bytes([b]) for b in range(256)] + [b"</end>"], stop_token_ids=[END])
    grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(comparison_grammar(rubric))
    text = reply(rubric, *scores)
    matcher = xgrammar.GrammarMatcher(grammar)
    assert bool(matcher.accept_string(text) and matcher.accept_token(END)) is allowed
    if allowed:
        assert len(parse_comparison(text, rubric).judgements) == len(rubric.dimensions)


def test_a_comparison_is_guided_and_an_unguided_one_is_not() -> None:
    for guided in (True, False):
        backend = Recording([GOOD, BACK])
        compared(Scorer(backend, settings=ScorerSettings(guided=guided)))
        assert {bool(sampling.grammar) for sampling in backend.samplings} == {guided}


def test_an_unreadable_comparison_is_asked_again() -> None:
    backend = Recording([GOOD, "both are fine", BACK])
    scorer = Scorer(backend)
    assert compared(scorer).verdict is Verdict.A
    assert scorer.failures.total() == 1
    assert len(backend.samplings) == 3
    with pytest.raises(CritiqueParseError):
        compared(Scorer(Recording([GOOD, "both are fine"]), settings=ScorerSettings(ask_again=0)))


def test_the_same_comparison_is_asked_once() -> None:
    backend = Recording([GOOD, BACK])
    scorer = Scorer(backend)
    first = compared(scorer)
    assert compared(scorer) == first
    assert len(backend.samplings) == 2
    heavier = Scorer(backend, {"generation": generation_rubric().with_weights({"physical_quality": 3.0})})
    heavier.memo = scorer.memo
    assert compared(heavier).verdict is Verdict.A
    assert len(backend.samplings) == 2, "weights make another verdict of the same words"
