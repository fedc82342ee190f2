"""Judging a folder of pairs with a judge by name, resumably; and judging it several times."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.engines import EngineName, EngineOptions, make_backend, make_rubrics
from rationalrewards_core.errors import ConfigError, RationalRewardsError
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.servers import server

from ..data.job import Tally, run_job
from ..data.labelled_pairs import LabelledPair, PairFolder
from ..rewards.judges import Judge, Metered, PairwiseJudge, PointwiseJudge, VlmJudge, opinion_of, opinions_of
from ..rewards.opinions import Opinion
from ..rewards.wordless import wordless_scorer
from .judged import JudgedFile

Mode = Literal["pointwise", "expected", "sampled", "wordless", "wordless-expected", "pairwise", "plain"]
SCALAR = "scalar:"
HEAD = "head:"


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Which judge, and how it is asked."""

    judge: str
    """An engine by its name, scalar:NAME, or head:FOLDER (a trained Bradley-Terry head)."""
    mode: Mode = "pointwise"
    """All but plain, which asks any model one question, ask in our rubric; scalars are always pointwise.

    expected is pointwise with every score weighted by its tokens' probabilities, so that equal words need not be a tie;
    sampled takes the mean scores of `samples` critiques; wordless and wordless-expected have the judge score with an empty
    justification.
    """
    precision: str = "auto"
    adapter: str | None = None
    rubric: str | None = None
    """Rubric file or the name of a judge profile; None is the checkpoint's own rubric or the built-in one."""
    device: str = "auto"
    batch_size: int = 8
    temperature: float = 0.0
    max_tokens: int = 2048
    ask_again: int = 0
    """Unreadable replies are failures here, unless you allow more tries."""
    guided: bool = True
    """Decode along the rubric's grammar where the backend can."""
    samples: int = 3
    """Critiques whose scores are averaged in the mode sampled; their temperature is 1."""

    @property
    def name(self) -> str:
        """What tables show."""
        steps = self.judge.replace("local:", "").rstrip("/").split("/")
        # Heads are called `head`, each in the folder of its run.
        parts = ["head " + "/".join(steps[-2:]).replace(HEAD, "") if self.judge.startswith(HEAD) else steps[-1]]
        if self.judge.startswith(("local:", "miniature")):
            parts.append(resolve_precision(self.precision, self.device))
        if self.adapter:
            parts.append("+ " + Path(self.adapter).parent.name + "/" + Path(self.adapter).name)
        return " ".join(parts)


@dataclass
class Loaded:
    """A judge ready to be asked."""

    judge: Judge
    meter: Metered | None
    concurrency: int

    async def close(self) -> None:
        if self.meter is not None:
            await self.meter.close()


def load_judge(settings: JudgeSettings) -> Loaded:
    """Build a judge by name. Models load when first asked, except scalars, which load now."""
    if settings.judge.startswith((SCALAR, HEAD)):
        from ..rewards.scalars import ScalarJudge, load_scalar

        return Loaded(ScalarJudge(load_scalar(settings.judge, settings.device), settings.name), None, 1)
    name = EngineName.parse(settings.judge)
    options = EngineOptions(
        precision=settings.precision,
        adapter=settings.adapter,
        device=settings.device,
        batch_size=settings.batch_size,
    )
    meter = Metered(make_backend(name, options))
    if settings.mode == "plain":
        return Loaded(VlmJudge(meter, settings.name, settings.temperature), meter, meter.concurrency)
    scorer_settings = ScorerSettings(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        ask_again=settings.ask_again,
        guided=settings.guided,
        samples=settings.samples if settings.mode == "sampled" else 0,
    )
    rubrics = make_rubrics(name, settings.rubric, settings.adapter)
    _check_mode(settings.mode, rubrics.values())
    if settings.mode in ("wordless", "wordless-expected"):
        scorer: Scorer = wordless_scorer(meter, rubrics, scorer_settings)
    else:
        scorer = Scorer(meter, rubrics, scorer_settings)
    if settings.mode == "pairwise":
        return Loaded(PairwiseJudge(scorer, settings.name), meter, meter.concurrency)
    expected = settings.mode in ("expected", "sampled", "wordless-expected")
    judge = PointwiseJudge(scorer, settings.name, expected=expected, mode=settings.mode)
    return Loaded(judge, meter, meter.concurrency)


def _check_mode(mode: Mode, rubrics: Iterable[Rubric]) -> None:
    """ConfigError where a judge's profile is asked otherwise: told now, and not of every pair."""
    for rubric in rubrics:
        if rubric.profile is not None and rubric.profile.pairwise != (mode == "pairwise"):
            raise ConfigError(f"{rubric.name} is asked {rubric.profile.method}; give --mode {rubric.profile.method}.")


def _identity(settings: JudgeSettings, loaded: Loaded) -> str:
    """Which weights judge: other ones at the same place are another judge. A server may move; its model's name counts."""
    if settings.judge.startswith(HEAD):
        folder = Path(settings.judge.removeprefix(HEAD)).expanduser()
        files = sorted(folder.glob("*.safetensors"))
        return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]
    if loaded.meter is None:
        return ""
    name = EngineName.parse(settings.judge)
    return server(name.target).model if name.kind == "server" else loaded.meter.identity


class StillOpen(RationalRewardsError):
    """Some pairs could not be asked about; the others are kept, and the same command asks what is open."""

    reason = "still_open"


def judge_pairs(settings: JudgeSettings, folder: PairFolder, pairs: Sequence[LabelledPair], out: Path) -> list[Opinion]:
    """Ask about every pair that is not in `out` yet; returns all opinions in the pairs' order.

    StillOpen if the judge could not be asked about some: a server that is gone has no opinion.
    """

    async def work() -> tuple[dict[str, Opinion], Tally]:
        loaded = load_judge(settings)
        try:
            # Where it computes and in batches of what changes no opinion worth a new run.
            judge_settings = {k: v for k, v in asdict(settings).items() if k not in ("device", "batch_size")}
            identity = _identity(settings, loaded)
            with JudgedFile(out, loaded.judge.name, judge_settings | {"identity": identity}) as file:
                return await _judged(loaded, folder, pairs, file)
        finally:
            await loaded.close()

    opinions, tally = asyncio.run(work())
    if not tally.finished:
        waiting = sum(labelled.key not in opinions for labelled in pairs)
        why = ", ".join(f"{reason} {count}" for reason, count in tally.failed.most_common())
        stopped = f" It stopped early: {tally.stopped}" if tally.stopped else ""
        raise StillOpen(
            f"{len(pairs) - waiting} of {len(pairs)} pairs are judged and kept, {waiting} are still open ({why}); "
            f"run the same command again to ask them.{stopped}"
        )
    return [opinions[labelled.key] for labelled in pairs]


async def _judged(
    loaded: Loaded, folder: PairFolder, pairs: Sequence[LabelledPair], file: JudgedFile
) -> tuple[dict[str, Opinion], Tally]:
    """All opinions that are there now, by pair, and what this run did."""
    opinions = dict(file.opinions)
    tasks = list({labelled.key: labelled for labelled in pairs}.values())
    for task in tasks:  # a judge sees no label: where one was corrected, its opinion stands under the new one
        earlier = opinions.get(task.key)
        if earlier is not None and earlier.label is not task.pair.preference:
            opinions[task.key] = replace(earlier, label=task.pair.preference)
            await file.journal.append(opinions[task.key].to_json())
    waiting = sum(task.key not in opinions for task in tasks)
    with tqdm(total=waiting, desc=loaded.judge.name, unit="pair", disable=None) as bar:

        def keep(opinion: Any) -> None:
            opinions[opinion.key] = opinion
            bar.update()

        tally = await run_job(
            tasks,
            lambda task: opinion_of(loaded.judge, folder, task),  # type: ignore[arg-type,return-value]  # an `Opinion` has what the runner wants of a record
            file.journal,
            record_keys=frozenset(opinions),
            workers=max(1, loaded.concurrency),
            on_record=keep,
        )
    count = tally.kept + tally.dropped.total()
    cost = {"cost": loaded.meter.per_pair(count)} if loaded.meter is not None and count else {}
    file.note(open=dict(tally.failed), **cost)
    return opinions, tally


def retest(
    settings: JudgeSettings, folder: PairFolder, pairs: Sequence[LabelledPair], times: int
) -> list[list[Opinion]]:
    """The same judge asked `times` times at its temperature, with nothing remembered in between."""
    if settings.temperature <= 0.0 or times < 2:
        raise ConfigError("A retest needs a temperature above 0 and at least two repeats: greedy replies never differ.")

    async def once() -> list[Opinion]:
        loaded = load_judge(settings)
        try:
            return await opinions_of(loaded.judge, folder, pairs, loaded.concurrency)
        finally:
            await loaded.close()

    return [asyncio.run(once()) for _ in range(times)]
