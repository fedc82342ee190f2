"""How sure is the judge? Token probabilities against several sampled critiques, on pictures whose truth is known.

`python -m benchmarks.certainty` judges held-out miniature pictures once greedily and then several times at each
temperature, and asks which number tells where the greedy scores are wrong: its rank correlation (`rho`) with their error
per dimension and for the reward, and their error where the number would be seen (0.05 and more) and elsewhere.
`error of the mean` is what scores would be wrong by if the mean of the sampled ones (for tokens: `expected`) took their
place; compare `error`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from benchmarks.subjects import engine
from benchmarks.timing import table
from rationalrewards_core.backends.base import Backend, Sampling
from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.finished_reply import read_reply
from rationalrewards_core.grammar import critique_grammar
from rationalrewards_core.messages import critique_messages
from rationalrewards_core.miniature.flaws import Example
from rationalrewards_core.reply_layout import SUMMARY_LINE
from rationalrewards_core.reward import reward, reward_spread
from rationalrewards_core.rubric import Rubric
from training.lab.miniature.evaluate import case_of, held_out
from training.rewards.figures import spearman

SEEN = 0.05
"""Smaller spreads read 0.0 at one decimal."""
ALL, REWARD = "all scores", "reward"
HEADS = ("of", "spread from", "n", "rho", "error", "share seen", "error seen", "error elsewhere", "error of the mean")


@dataclass(frozen=True)
class SampledPicture:
    """One picture: its truth, its greedy critique, and sampled ones by temperature."""

    truth: Critique
    greedy: Critique
    sampled: Mapping[float, Sequence[Critique]]
    rubric: Rubric


@dataclass(frozen=True)
class Certainty:
    """One score (or reward): its error, a spread that should foretell it, and the error of the mean."""

    spread: float
    error: float
    mean_error: float


async def judged(
    backend: Backend, example: Example, rubric: Rubric, temperatures: Sequence[float], samples: int
) -> SampledPicture:
    case = case_of(example)
    messages = critique_messages(case.request, case.candidate, rubric)
    greedy = Sampling(max_tokens=400, stop=(SUMMARY_LINE,), grammar=critique_grammar(rubric, "score"), alternatives=10)

    async def ask(sampling: Sampling) -> Critique:
        return read_reply(await backend.reply(messages, sampling), rubric, "score")

    warm = [replace(greedy, temperature=t, seed=n + 1, alternatives=0) for t in temperatures for n in range(samples)]
    first, *rest = await asyncio.gather(ask(greedy), *map(ask, warm))
    sampled = {t: rest[place * samples :][:samples] for place, t in enumerate(temperatures)}
    return SampledPicture(example.critique, first, sampled, rubric)


def by_tokens(case: SampledPicture) -> Iterator[tuple[str, Certainty]]:
    """Dimension key or REWARD -> what the greedy critique's own token probabilities say."""
    for key, score, truth in _scores(case):
        own = case.greedy.judgement(key)
        if own.spread is not None and own.expected is not None:
            yield key, Certainty(own.spread, abs(score - truth), abs(own.expected - truth))
    truth, spread = reward(case.truth, case.rubric), reward_spread(case.greedy, case.rubric)
    if spread is not None:
        expected = reward(case.greedy, case.rubric, expected=True)
        yield REWARD, Certainty(spread, abs(reward(case.greedy, case.rubric) - truth), abs(expected - truth))


def by_samples(case: SampledPicture, temperature: float, count: int) -> Iterator[tuple[str, Certainty]]:
    """Dimension key or REWARD -> what the first `count` sampled critiques say."""
    sampled = case.sampled[temperature][:count]
    for key, score, truth in _scores(case):
        scores = [s for critique in sampled if (s := critique.judgement(key).score) is not None]
        if len(scores) > 1:
            yield key, Certainty(stdev(scores), abs(score - truth), abs(fmean(scores) - truth))
    truth = reward(case.truth, case.rubric)
    rewards = [reward(critique, case.rubric) for critique in sampled]
    error = abs(reward(case.greedy, case.rubric) - truth)
    yield REWARD, Certainty(stdev(rewards), error, abs(fmean(rewards) - truth))


def _scores(case: SampledPicture) -> Iterator[tuple[str, float, float]]:
    """(dimension key, greedy score, true score) of the dimensions that apply to both."""
    for judgement in case.truth.judgements:
        score = case.greedy.judgement(judgement.key).score
        if score is not None and judgement.score is not None:
            yield judgement.key, score, judgement.score


def row(of: str, name: str, certainties: Sequence[Certainty]) -> list[object]:
    errors = [c.error for c in certainties if c.spread >= SEEN]
    elsewhere = [c.error for c in certainties if c.spread < SEEN]
    return [
        of,
        name,
        len(certainties),
        spearman([c.spread for c in certainties], [c.error for c in certainties]),
        fmean(c.error for c in certainties),
        len(errors) / len(certainties),
        fmean(errors) if errors else "-",
        fmean(elsewhere) if elsewhere else "-",
        fmean(c.mean_error for c in certainties),
    ]


def run(images: int = 300, counts: Sequence[int] = (3, 5), temperatures: Sequence[float] = (0.5, 1.0)) -> str:
    backend = engine(batch_size=24, precision="fp32")
    rubrics = make_rubrics(EngineName("miniature"))

    async def work() -> list[SampledPicture]:
        gate = asyncio.Semaphore(4)

        async def one(example: Example) -> SampledPicture:
            async with gate:
                rubric = rubrics["generation" if example.source is None else "edit"]
                return await judged(backend, example, rubric, temperatures, max(counts))

        return list(await asyncio.gather(*map(one, held_out(images))))

    cases = asyncio.run(work())
    backend.unload()
    ways = {"tokens": [pair for case in cases for pair in by_tokens(case)]}
    for temperature in temperatures:
        for count in counts:
            pairs = [pair for case in cases for pair in by_samples(case, temperature, count)]
            ways[f"{count} at {temperature:g}"] = pairs
    keys = [*dict.fromkeys(d.key for rubric in rubrics.values() for d in rubric.dimensions), ALL, REWARD]
    rows = []
    for key in keys:
        for name, pairs in ways.items():
            part = [c for of, c in pairs if of == key or (key == ALL and of != REWARD)]
            if part:
                rows.append(row(key, name, part))
    return table(HEADS, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--samples", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 1.0])
    arguments = parser.parse_args()
    print(run(arguments.images, arguments.samples, arguments.temperatures))


if __name__ == "__main__":
    main()
