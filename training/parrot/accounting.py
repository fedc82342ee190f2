"""What was kept and dropped, by source and reason, and what it cost: counted from the records themselves."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from ..data.pairs import digest
from ..data.records import Record, Usage
from ..rewards.teaching import total_usage
from .calibration import CALIBRATED, Calibration, Fate, fates
from .project import ARMS
from .prompts import Variant
from .records import Check, Projection
from .run import ParrotRun, Rubrics

R = TypeVar("R", bound=Record)
KEPT = "kept"


@dataclass
class StageCount(Generic[R]):
    """One stage's records, counted; a few of them kept as samples of every reason."""

    title: str
    samples_wanted: int
    by_origin: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Origin -> reason (or `kept`) -> count."""
    usage: Usage = field(default_factory=Usage)
    models: Counter[str] = field(default_factory=Counter)
    _drawn: dict[str, list[tuple[int, str, R]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: R, reason: str | None = None) -> None:
        """Count a record; `reason` is what became of it where that is not its own reason."""
        why = (record.reason if reason is None else reason) or KEPT
        self.by_origin[record.pair.origin][why] += 1
        self.usage = total_usage(self.usage, record.usage)
        if record.provenance is not None:
            self.models[record.provenance.model] += 1
        # The samples with the smallest hashes: drawn evenly, and the same ones in every report.
        entry = (-int(digest(["sample", record.key])[:8], 16), record.key, record)
        heap = self._drawn[why]
        if len(heap) < self.samples_wanted:
            heapq.heappush(heap, entry)
        elif self.samples_wanted:
            heapq.heappushpop(heap, entry)

    def samples(self, reason: str) -> list[R]:
        return [record for _, _, record in sorted(self._drawn.get(reason, []), reverse=True)]

    @property
    def reasons(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for counts in self.by_origin.values():
            totals.update(counts)
        return totals

    @property
    def total(self) -> int:
        return self.reasons.total()

    def retention(self, origin: str | None = None) -> float | None:
        """Share that was kept; None where there was nothing."""
        counts = self.reasons if origin is None else self.by_origin.get(origin, Counter())
        return counts[KEPT] / counts.total() if counts.total() else None


@dataclass(frozen=True, kw_only=True)
class Account:
    """A whole run."""

    pairs: Counter[str]
    """Origin -> pairs."""
    stages: tuple[StageCount[Record], ...]
    """The stages that have run, in order."""
    orders: Mapping[str, Counter[str]]
    """Stage -> how many pairs passed it in both of their orders, in one, in none (pairs asked in both only)."""
    rationales: Mapping[str, str]
    """Key -> words of the rationales that the sampled checks were about."""

    @property
    def origins(self) -> list[str]:
        return sorted(self.pairs)

    def stage(self, title: str) -> StageCount[Record] | None:
        return next((stage for stage in self.stages if stage.title == title), None)


RATIONALES, PROJECTION = "rationales", "critiques"


def account(run: ParrotRun, rubrics: Rubrics, calibration: Calibration, samples: int) -> Account:
    """Read every record of a run once (critiques twice), and count."""
    stages: list[StageCount[Record]] = []
    orders: dict[str, Counter[str]] = {}
    if run.stage_files("rationales"):
        stages.append(_counted(RATIONALES, run.rationales(), samples))
    variants: tuple[Variant, ...] = ("text", "images", "paper")
    for variant in variants:
        if run.stage_files(f"checks-{variant}"):
            stages.append(_counted(f"check ({variant})", run.checks(variant), samples))
            orders[f"check ({variant})"] = _by_orders(run.checks(variant))
    for arm in ARMS:
        if run.stage_files(f"critiques-{arm}"):
            stages.append(_counted(f"{PROJECTION} ({arm})", run.projections(arm), samples))
            if arm in CALIBRATED:
                stages.append(_calibrated(partial(run.projections, arm), rubrics, calibration, samples))
    origins = Counter(pair.origin for pair in run.pairs())
    return Account(pairs=origins, stages=tuple(stages), orders=orders, rationales=_words(run, stages))


def _by_orders(checks: Iterable[Check]) -> Counter[str]:
    """Whether the order in which a pair is shown decides what becomes of it."""
    flags: dict[str, list[bool]] = {}
    for check in checks:
        flags.setdefault(check.pair.key, []).append(check.kept)
    names = {2: "both", 1: "one", 0: "none"}
    return Counter(names[sum(both)] for both in flags.values() if len(both) == 2)


def _words(run: ParrotRun, stages: Iterable[StageCount[Record]]) -> Mapping[str, str]:
    """What the sampled checks were about; read again, because a check does not repeat it."""
    names = {
        record.rationale
        for stage in stages
        for reason in stage.reasons
        for record in stage.samples(reason)
        if isinstance(record, Check)
    }
    return {record.key: record.reply for record in run.rationales() if record.key in names}


def _counted(title: str, records: Iterable[Record], samples: int) -> StageCount[Record]:
    count: StageCount[Record] = StageCount(title, samples)
    for record in records:
        count.add(record)
    return count


def _calibrated(
    records: Callable[[], Iterable[Projection]], rubrics: Rubrics, calibration: Calibration, samples: int
) -> StageCount[Record]:
    """Pairs by what became of them; one record stands for its pair."""
    fate: dict[str, Fate] = dict(fates(records(), rubrics, calibration))
    count: StageCount[Record] = StageCount("calibration (pairs)", samples)
    for record in records():
        own_fate = fate.pop(record.pair.key, None)
        if own_fate is not None:
            count.add(Record(key=record.key, pair=record.pair, reply=record.reply), own_fate.reason)
    return count
