"""How good the filters are, against the synthetic teacher's own log of its faults.

A rationale is *bad* if the teacher made a fault on purpose, or if its words speak for another outcome than its label
(a person who voted wrongly, an eye that erred). A filter should drop the bad and nothing else: precision is the share
of bad ones among those it drops, recall the share of the bad that it drops.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError

from ..data.records import reply_hash
from .records import Check
from .run import ParrotRun

LEAKS = ("states_label", "no_evidence")


@dataclass(frozen=True, kw_only=True)
class WilsonShare:
    """A share with its 95 % interval (Wilson); 0 of 0 is no share, and None stands for it elsewhere."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def share(count: int, total: int) -> WilsonShare | None:
    """`count` of `total`, or None where there is nothing to take a share of."""
    if not total:
        return None
    z, p = 1.96, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    width = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return WilsonShare(value=p, low=max(0.0, middle - width), high=min(1.0, middle + width))


@dataclass
class FilterQuality:
    """Counts of one filter."""

    name: str
    dropped_bad: int = 0
    dropped_good: int = 0
    kept_bad: int = 0
    kept_good: int = 0

    def count(self, *, dropped: bool, bad: bool) -> None:
        name = f"{'dropped' if dropped else 'kept'}_{'bad' if bad else 'good'}"
        setattr(self, name, getattr(self, name) + 1)

    @property
    def precision(self) -> WilsonShare | None:
        return share(self.dropped_bad, self.dropped_bad + self.dropped_good)

    @property
    def recall(self) -> WilsonShare | None:
        return share(self.dropped_bad, self.dropped_bad + self.kept_bad)

    @property
    def bad_among_kept(self) -> WilsonShare | None:
        return share(self.kept_bad, self.kept_bad + self.kept_good)

    def to_json(self) -> dict[str, Any]:
        shares = {"precision": self.precision, "recall": self.recall, "bad_among_kept": self.bad_among_kept}
        return asdict(self) | {name: None if one is None else asdict(one) for name, one in shares.items()}


@dataclass
class RunQuality:
    """All filters over one run."""

    filters: list[FilterQuality] = field(default_factory=list)
    faults: dict[str, Counter[str]] = field(default_factory=dict)
    """Fault -> what the text check made of it (`kept` or the reason)."""
    unknown: int = 0
    """Rationales that the log does not know."""


def measure(run: ParrotRun, log: Path) -> RunQuality:
    """Join the records of a run with the log of the teacher that wrote them."""
    entries = _read_log(log)
    truth: dict[str, tuple[str, bool]] = {}
    measured = RunQuality()
    run.needed_files("rationales", "rationalize")
    for rationale in run.rationales():
        entry = entries.get(reply_hash(rationale.reply))
        if entry is None:
            measured.unknown += bool(rationale.reply)
            continue
        label = rationale.shown.preference.value
        truth[rationale.key] = entry["fault"], entry["fault"] != "sound" or entry["seen"] != label
    for variant in ("paper", "text", "images"):
        if run.stage_files(f"checks-{variant}"):
            measured.filters += _filters(variant, run.checks(variant), truth, measured)
    return measured


def _filters(
    variant: str, checks: Iterable[Check], truth: Mapping[str, tuple[str, bool]], measured: RunQuality
) -> list[FilterQuality]:
    whole = FilterQuality(f"{variant}: all")
    consistency = FilterQuality(f"{variant}: consistency alone")
    leaks = FilterQuality(f"{variant}: leak check alone, against vague and parroting")
    for check in checks:
        if check.rationale not in truth:
            continue
        fault, bad = truth[check.rationale]
        whole.count(dropped=not check.kept, bad=bad)
        leaks.count(dropped=bool(check.leak), bad=fault in ("vague", "parrot"))
        if check.predicted is not None:
            consistency.count(dropped=check.predicted is not check.shown.preference, bad=bad)
        if variant == "text":
            name = fault if fault != "sound" or not bad else "sound, label contradicted"
            measured.faults.setdefault(name, Counter())[check.reason or "kept"] += 1
    return [whole, consistency] + ([leaks] if variant != "paper" else [])


def _read_log(path: Path) -> dict[str, dict[str, str]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {row["reply"]: row for row in rows if row["ask"] in ("anchored", "comparison")}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is no log of the synthetic teacher: {error}.") from error
