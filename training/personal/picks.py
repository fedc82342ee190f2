"""Picks as pairs, and the sentences for picks that cannot teach anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError

from ..data.importers.catalogue import image_roots, read_dataset
from ..data.importers.clicks import FOLDER
from ..data.importers.intake import Intake, write_pairs
from ..data.importers.labels import Labels
from ..data.splits import Shares, assign_splits
from ..data.store import ImageRoots
from ..parrot.run import ParrotRun

FEWEST: Final = 24
"""Pairs with a winner below which nothing is left to learn from once some are held out."""
FEWEST_HELD_OUT: Final = 4
UNREADABLE: Final = 0.5
"""Share of rows left out above which something is wrong with the folder, not with a row."""


@dataclass(frozen=True, kw_only=True)
class Picks:
    """What was read."""

    pairs: int
    ties: int
    left_out: tuple[str, ...]
    """Reasons with counts and the first row."""
    shares: Shares
    splits: Counter[str]
    """Split -> pairs with a winner."""

    @property
    def decided(self) -> int:
        return self.pairs - self.ties


def read_picks(folder: Path, run: ParrotRun, labels: str) -> Picks:
    """Import the picks into the run. ConfigError, in one sentence, if they cannot teach a judge anything."""
    if not folder.exists():
        raise ConfigError(
            f"There is no folder {folder}; Export on the Preference Pick node says where it wrote the picks."
        )
    intake = Intake(run.store, ImageRoots(image_roots(str(folder), [])), "copy", Labels(labels))
    counts = write_pairs(run.folder / "pairs" / "picks.jsonl", read_dataset(FOLDER.name, str(folder), intake), intake)
    rows = counts.pairs + intake.skipped.total()
    if intake.skipped.total() > UNREADABLE * rows:
        raise ConfigError(
            f"{intake.skipped.total()} of {rows} rows of {folder} give no pair: {'; '.join(intake.left_out()[:2])}."
        )
    return _checked(folder, run, counts.pairs, counts.ties, tuple(intake.left_out()))


def _checked(folder: Path, run: ParrotRun, pairs: int, ties: int, left_out: tuple[str, ...]) -> Picks:
    preferences = Counter(pair.preference for pair in run.pairs())
    decided = pairs - ties
    if not decided:
        raise ConfigError(f"All {pairs} picks in {folder} are ties, so there is no taste to learn; pick winners.")
    if decided < FEWEST:
        raise ConfigError(
            f"{folder} holds {decided} pairs with a winner; at least {FEWEST} are needed, and a few hundred are better."
        )
    if not (preferences[Verdict.A] and preferences[Verdict.B]):
        place = "first" if preferences[Verdict.A] else "second"
        raise ConfigError(
            f"In all {decided} pairs of {folder} the {place} picture is the better one: the column `preference` does not "
            "say which picture was picked, or the pictures were sorted; write each pair in the order it was shown in."
        )
    shares = personal_shares(pairs)
    parts = assign_splits(run.pairs(), shares)
    splits = Counter(parts[pair.key] for pair in run.pairs() if pair.preference is not Verdict.TIE)
    for split in ("dev", "test"):
        if splits[split] < FEWEST_HELD_OUT:
            raise ConfigError(
                f"Only {splits[split]} pairs of {folder} can be held out: most share a request or a picture, and what is "
                "held out must share neither with what is trained on; pick for more requests."
            )
    return Picks(pairs=pairs, ties=ties, left_out=left_out, shares=shares, splits=splits)


def personal_shares(pairs: int) -> Shares:
    """Few picks need a larger share held out, or no gain could be told from chance."""
    return Shares(dev=min(0.15, max(0.05, 60 / pairs)), test=min(0.2, max(0.05, 100 / pairs)))
