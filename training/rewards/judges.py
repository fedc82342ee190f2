"""Judges that can be compared side by side: each turns a pair into an opinion, and fails in the same typed way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from PIL import Image

from rationalrewards_core.backends.base import Backend, Reply, Sampling
from rationalrewards_core.backends.wrapper import BackendWrapper
from rationalrewards_core.comparison import Verdict, parse_comparison, verdict_of_rewards
from rationalrewards_core.errors import BackendError, CritiqueParseError, RationalRewardsError, RequestError
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.replies.parsing import Reason
from rationalrewards_core.scorer import Scorer

from ..data.labelled_pairs import LabelledPair, PairFolder
from .opinions import SAME, Opinion
from .teaching import AN_ANSWER

log = logging.getLogger("rationalrewards.training.evaluate")

T = TypeVar("T")


@dataclass(frozen=True)
class AskedPair:
    """What a judge sees: no label."""

    request: UserRequest
    first: Image.Image
    second: Image.Image


class Judge(Protocol):
    """Anything that can prefer one image to another."""

    name: str
    """Model, mode and settings, as tables show them."""

    async def judge(self, pair: AskedPair) -> dict[str, Any]:
        """Fields of `Opinion`: a verdict, and rewards, scores or order verdicts if it has them.

        CritiqueParseError, BackendError or RequestError for one pair; anything else ends the run.
        """
        ...


async def opinions_of(
    judge: Judge,
    folder: PairFolder,
    pairs: Sequence[LabelledPair],
    concurrency: int = 8,
) -> list[Opinion]:
    """Every pair's opinion, in order; a judge that could not be asked is an opinion without a verdict, too."""
    gate = asyncio.Semaphore(max(1, concurrency))

    async def one(labelled: LabelledPair) -> Opinion:
        async with gate:
            try:
                return await opinion_of(judge, folder, labelled)
            except BackendError as error:
                return _without_verdict(judge, labelled, error)

    return list(await asyncio.gather(*(one(labelled) for labelled in pairs)))


async def opinion_of(judge: Judge, folder: PairFolder, labelled: LabelledPair) -> Opinion:
    """A failure of judge or picture is an opinion without a verdict.

    BackendError if the judge could not be asked: that is nobody's opinion, and the question stays open.
    """
    try:
        question = AskedPair(folder.request(labelled.pair), *folder.candidates(labelled.pair))
        return _opinion(labelled, await judge.judge(question))
    except (CritiqueParseError, RequestError) as error:
        return _without_verdict(judge, labelled, error)
    except BackendError as error:
        if error.reason not in AN_ANSWER:
            raise
        return _without_verdict(judge, labelled, error)


def _without_verdict(judge: Judge, labelled: LabelledPair, error: RationalRewardsError) -> Opinion:
    log.info("%s failed on %s: %s", judge.name, labelled.key, error)
    return _opinion(labelled, {"verdict": None, "reason": error.reason})


def _opinion(labelled: LabelledPair, fields: dict[str, Any]) -> Opinion:
    pair = labelled.pair
    return Opinion(key=pair.key, request_id=pair.request_id, label=pair.preference, ratings=labelled.ratings, **fields)


class PointwiseJudge:
    """Our scorer on one image at a time: the mode that rewards training and the nodes use."""

    def __init__(self, scorer: Scorer, name: str, *, expected: bool = False, mode: str = "") -> None:
        """`mode` is what tables call this way of asking; empty is pointwise or expected."""
        self.scorer, self.name = scorer, f"{name} {mode or ('expected' if expected else 'pointwise')}"
        self._expected = expected
        """Whether rewards are of the `expected` scores: of sampled critiques, or of the score's token probabilities."""

    async def judge(self, pair: AskedPair) -> dict[str, Any]:
        critiques = await _both(
            self.scorer.score(pair.request, pair.first), self.scorer.score(pair.request, pair.second)
        )
        rewards = tuple(self.scorer.reward(critique, pair.request, expected=self._expected) for critique in critiques)
        return {
            "verdict": verdict_of_rewards(rewards[0], rewards[1], margin=SAME),
            "rewards": rewards,
            "scores": {j.key: (j.score, critiques[1].judgement(j.key).score) for j in critiques[0].judgements},
        }


async def _both(first: Awaitable[T], second: Awaitable[T]) -> list[T]:
    """Both, whatever becomes of the other; of two failures the one that leaves the question open, else the first."""
    answers = await asyncio.gather(first, second, return_exceptions=True)
    failures = [each for each in answers if isinstance(each, BaseException)]
    if failures:
        raise next((each for each in failures if isinstance(each, BackendError)), failures[0])
    return [each for each in answers if not isinstance(each, BaseException)]


class PairwiseJudge:
    """Our scorer on both images in one prompt, in both orders; orders that contradict each other are a tie."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        self.scorer, self.name = scorer, f"{name} pairwise"

    async def judge(self, pair: AskedPair) -> dict[str, Any]:
        comparison = await self.scorer.compare(pair.request, pair.first, pair.second, method="pairwise")
        rubric = self.scorer.rubric_for(pair.request)
        forward, backward = (parse_comparison(text, rubric).verdict for text in comparison.raw)
        return {
            "verdict": comparison.verdict,
            "forward": forward,
            "backward": backward.swapped,
            "scores": {j.key: (j.score_a, j.score_b) for j in comparison.judgements},
        }


QUESTION = (
    "Look at the two images and decide which one answers the request better: does it show what was asked for, "
    "is it well made, and is any text in it right? Answer with one word and nothing else: A, B or TIE."
)


class VlmJudge:
    """Any vision-language model that takes a plain question, without our rubric; in both orders."""

    def __init__(self, backend: Backend, name: str, temperature: float = 0.0) -> None:
        self.backend, self.name = backend, f"{name} plain question"
        self._sampling = Sampling(temperature=temperature, max_tokens=16)

    async def judge(self, pair: AskedPair) -> dict[str, Any]:
        forward, swapped = await asyncio.gather(
            self._ask(pair.request, pair.first, pair.second), self._ask(pair.request, pair.second, pair.first)
        )
        backward = swapped.swapped
        verdict = forward if forward is backward else Verdict.TIE
        return {"verdict": verdict, "forward": forward, "backward": backward}

    async def _ask(self, request: UserRequest, first: Image.Image, second: Image.Image) -> Verdict:
        from rationalrewards_core.messages import defused

        parts: list[str | Image.Image] = [f"Request: {defused(request.text)}\n"]
        for source in request.sources:
            parts += ["Source image: ", source, "\n"]
        parts += ["Image A: ", first, "\nImage B: ", second, f"\n{QUESTION}"]
        reply = await self.backend.reply([Message("user", tuple(parts))], self._sampling)
        return read_choice(reply.text)


def read_choice(text: str) -> Verdict:
    """A reply of one word. CritiqueParseError for anything that does not say exactly one of A, B and TIE."""
    word = text.strip().strip("*_`\"'.!()[] \n").upper()
    word = word.removeprefix("IMAGE ").removeprefix("ANSWER: ").strip()
    if word in ("A", "B", "TIE"):
        return Verdict(word)
    raise CritiqueParseError(Reason.EMPTY.value if not word else "no_choice", f"The judge answered {text!r:.80}.", text)


class Metered(BackendWrapper):
    """Counts what passes through it."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.replies = self.prompt_tokens = self.completion_tokens = 0
        self.started = time.perf_counter()

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        await self.introduce()  # whatever asks: our scorer, a plain question, a benchmark's own
        reply = await super().reply(messages, sampling)
        self.replies += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        return reply

    def per_pair(self, pairs: int) -> dict[str, float]:
        """Seconds (wall clock, at the concurrency used), replies and tokens per pair since the meter was made."""
        seconds = time.perf_counter() - self.started
        totals = (seconds, self.replies, self.prompt_tokens, self.completion_tokens)
        names = ("seconds", "replies", "prompt_tokens", "completion_tokens")
        return {name: round(total / pairs, 4) for name, total in zip(names, totals, strict=True)}
