"""The judge as its own teacher, where there is no better one: of several critiques that it draws, the two that agree.

Both candidates of a pair are critiqued a few times at a temperature. If somewhere among these critiques the preferred
candidate leads, the pair with the least unusual scores is kept, and the judge learns to write those more often; if not,
they are critiqued again, and after `samples` critiques the pair is dropped. This is rejection sampling with the label as
the check (as STaR does with answers, arXiv 2203.14465). Whether critiques that lead are *true* nobody checks: the scores
learn the taste, the words that go with them are the judge's own slips, and less than what a teacher that is told the
label writes (arXiv 2604.11626, sec. 2.1).
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Final

from tqdm import tqdm

from rationalrewards_core import __version__
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import ConfigError, CritiqueParseError, RequestError
from rationalrewards_core.scorer import Scorer

from ..data.job import Shard, Tally, run_job
from ..data.journal import Journal
from ..data.pairs import PreferencePair, digest
from ..data.records import Provenance, Usage
from .project import ProjectionTask
from .records import Projection, Side
from .run import ParrotRun

OWN: Final = "own"
"""What such a critique names as its rationale: it was chosen by the label, and is outdated by another one."""
STAGE: Final = "critiques-own"
SIDES: Final[tuple[Side, Side]] = ("A", "B")


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """How often a judge is asked, and what counts as agreement."""

    samples: int = 64
    """Critiques of each candidate at most."""
    at_once: int = 8
    """Critiques of each candidate that are drawn before the two are compared."""
    temperature: float = 1.0
    margin: float = 0.05
    """Reward by which the preferred candidate must lead."""
    tie_margin: float = 0.1
    """Reward by which the candidates of a tie may differ at most."""

    def __post_init__(self) -> None:
        for name in ("samples", "at_once"):
            if not 1 <= getattr(self, name) <= 1000:
                raise ConfigError(f"{name} must be 1 to 1000, not {getattr(self, name)}.")
        if not 0.0 < self.temperature <= 2.0:
            raise ConfigError(f"temperature must be above 0 and at most 2, not {self.temperature}.")
        if not (0.0 < self.margin < 1.0 and 0.0 <= self.tie_margin < 1.0):
            raise ConfigError("margin must be above 0 and below 1, tie_margin from 0 to below 1.")


@dataclass(frozen=True)
class CritiqueDraw:
    """One critique of a candidate and what it is worth."""

    critique: Critique
    reward: float
    seed: int


def own_tasks(pairs: Iterable[PreferencePair]) -> Iterator[ProjectionTask]:
    for pair in pairs:
        for side in SIDES:
            yield ProjectionTask(pair, side)


def agreeing(
    first: Sequence[CritiqueDraw], second: Sequence[CritiqueDraw], preference: Verdict, settings: OwnSettings
) -> tuple[CritiqueDraw, CritiqueDraw] | None:
    """The draws of A and B that bear the preference out and lie closest to their medians; None if none do."""
    if not first or not second:
        return None
    usual = [statistics.median(draw.reward for draw in draws) for draws in (first, second)]

    def fits(a: CritiqueDraw, b: CritiqueDraw) -> bool:
        lead = a.reward - b.reward
        if preference is Verdict.TIE:
            return abs(lead) <= settings.tie_margin
        return (lead if preference is Verdict.A else -lead) >= settings.margin

    def distance(couple: tuple[CritiqueDraw, CritiqueDraw]) -> float:
        return abs(couple[0].reward - usual[0]) + abs(couple[1].reward - usual[1])

    return min((couple for couple in product(first, second) if fits(*couple)), key=distance, default=None)


class OwnCritic:
    """Gives the kept critique of one candidate; both candidates of a pair are drawn once, for whichever comes first."""

    def __init__(self, run: ParrotRun, scorer: Scorer, model: str, settings: OwnSettings) -> None:
        self._run, self._scorer, self._model, self._settings = run, scorer, model, settings
        self._pairs: dict[str, asyncio.Task[Mapping[Side, Projection]]] = {}

    async def __call__(self, task: ProjectionTask) -> Projection:
        key = task.pair.key
        first = key not in self._pairs
        if first:
            self._pairs[key] = asyncio.ensure_future(self._pair(task.pair))
        both = await self._pairs[key]
        if not first:
            self._pairs.pop(key, None)
        return both[task.side]

    async def _pair(self, pair: PreferencePair) -> Mapping[Side, Projection]:
        draws: tuple[list[CritiqueDraw], list[CritiqueDraw]] = ([], [])
        tries = 0
        try:
            while tries < self._settings.samples:
                seeds = range(tries + 1, min(tries + self._settings.at_once, self._settings.samples) + 1)
                for side, own in zip(SIDES, draws, strict=True):
                    own += await self._draws(pair, side, seeds)
                tries = seeds[-1]
                couple = agreeing(*draws, pair.preference, self._settings)
                if couple is not None:
                    sides = zip(SIDES, couple, strict=True)
                    return {side: self._kept(pair, side, draw, tries) for side, draw in sides}
        except RequestError as error:
            return {side: self._dropped(pair, side, error.reason, str(error), tries) for side in SIDES}
        message = f"In {tries} critiques of each picture the judge never saw it as you do."
        return {side: self._dropped(pair, side, "disagrees", message, tries) for side in SIDES}

    async def _draws(self, pair: PreferencePair, side: Side, seeds: Sequence[int]) -> list[CritiqueDraw]:
        """Readable critiques of one candidate. Raises BackendError, and RequestError for a picture that has gone."""
        request = await asyncio.to_thread(self._run.request, pair)
        picture = await asyncio.to_thread(self._run.store.open, pair.first if side == "A" else pair.second)
        outcomes = await asyncio.gather(
            *(self._scorer.sample(request, picture, temperature=self._settings.temperature, seed=s) for s in seeds),
            return_exceptions=True,
        )
        draws = []
        for seed, outcome in zip(seeds, outcomes, strict=True):
            if isinstance(outcome, Critique):
                draws.append(CritiqueDraw(outcome, self._scorer.reward(outcome, request), seed))
            elif not isinstance(outcome, CritiqueParseError):
                raise outcome
        return draws

    def _kept(self, pair: PreferencePair, side: Side, draw: CritiqueDraw, tries: int) -> Projection:
        return Projection(
            key=f"{pair.key}:{side}", pair=pair, side=side, rationale=OWN, critique=draw.critique,
            reply=draw.critique.raw, provenance=self._provenance(pair, draw.seed), usage=Usage(requests=tries),
        )  # fmt: skip

    def _dropped(self, pair: PreferencePair, side: Side, reason: str, message: str, tries: int) -> Projection:
        return Projection(
            key=f"{pair.key}:{side}", pair=pair, side=side, rationale=OWN, reason=reason, message=message,
            provenance=self._provenance(pair, None), usage=Usage(requests=tries),
        )  # fmt: skip

    def _provenance(self, pair: PreferencePair, seed: int | None) -> Provenance:
        rubric = self._scorer.rubrics[pair.kind]
        return Provenance(
            model=self._model, prompt=digest([rubric.name]), question=digest([pair.key]), rubric=rubric.name,
            temperature=self._settings.temperature, seed=seed, version=__version__,
        )  # fmt: skip


def draw_own(
    run: ParrotRun,
    scorer: Scorer,
    settings: OwnSettings,
    limit: int | None = None,
    accepts: Callable[[PreferencePair], bool] = lambda _: True,
) -> Tally:
    """Critique every pair of the run that `accepts` takes and that has no critique yet; closes the scorer.

    Writes `critiques-own.jsonl`, which is byte for byte the same however often it was stopped, as far as the judge
    repeats a seeded draw. ConfigError if the run holds such critiques by another judge or with other settings.
    """
    identity = {**asdict(settings), "judge": scorer.backend.identity}

    def pairs() -> Iterator[PreferencePair]:
        return filter(accepts, run.pairs(limit=limit))

    async def work(journal: Journal, bar: Any) -> Tally:
        critic = OwnCritic(run, scorer, scorer.backend.identity, settings)
        # A pair is one task's work, of twice as many critiques as there are samples.
        workers = 2 * max(1, -(-scorer.backend.concurrency // settings.at_once))
        try:
            return await run_job(
                own_tasks(pairs()), critic, journal, record_keys=records, workers=workers,
                on_record=lambda _: bar.update(),
            )  # fmt: skip
        finally:
            await scorer.close()

    with Journal(run.stage_file(STAGE, Shard()), current=run.is_current) as journal:
        run.settle(STAGE, identity, journal.path)
        records = run.done(STAGE)
        tasks = [task.key in records for task in own_tasks(pairs())]
        with tqdm(desc="critiques", unit=" pictures", total=len(tasks), initial=sum(tasks), disable=None) as bar:
            tally = asyncio.run(work(journal, bar))
    run.note({"stage": STAGE, "kept": tally.kept, "dropped": dict(tally.dropped), "failed": dict(tally.failed)})
    return tally
