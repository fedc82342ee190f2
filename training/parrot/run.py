"""A PARROT run: one folder that holds pairs, images and what every stage wrote, readable by a person.

pairs/NAME.jsonl             preference pairs, one file per imported set
images/                      pictures by content
rationales.jsonl             stage 1                          (with shards: rationales.2of8.jsonl, ...)
checks-VARIANT.jsonl         stage 2
critiques-ARM.jsonl          stage 3
STAGE.settings.json          what the stage was run with; another setting is refused
log.jsonl                    one line per run of a stage: when, how long, how many, what it cost
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.jsonl import LineWriter, Row, read_lines, whole_lines
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric, load_rubric

from ..data.job import Shard
from ..data.pairs import PreferencePair, read_pairs
from ..data.store import ImageStore
from ..run_settings import settle
from .prompts import teacher_rubric
from .records import Check, Projection, Rationale, check_from_json, projection_from_json, rationale_from_json

log = logging.getLogger("rationalrewards.parrot.run")

T = TypeVar("T")


@dataclass(frozen=True)
class ParrotRun:
    """Where everything is."""

    folder: Path
    store: ImageStore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", ImageStore(self.folder))

    def pair_files(self) -> list[Path]:
        files = sorted((self.folder / "pairs").glob("*.jsonl"))
        if not files:
            raise ConfigError(f"{self.folder} holds no pairs; begin with `python -m training.parrot import`.")
        return files

    def pairs(self, shard: Shard | None = None, limit: int | None = None) -> Iterator[PreferencePair]:
        """Pairs in the order of their files, each once; `limit` counts before the shard is taken."""
        keys: set[int] = set()
        for pair in read_pairs(self.pair_files()):
            number = int(pair.key, 16)
            if number in keys:
                continue
            if limit is not None and len(keys) >= limit:
                return
            keys.add(number)
            if shard is None or shard.holds(pair.key):
                yield pair

    def check_winners(self) -> None:
        """ConfigError if every pair is a tie: no question to the teacher would ever teach a preference."""
        ties = 0
        for pair in self.pairs():
            if pair.preference is not Verdict.TIE:
                return
            ties += 1
        raise ConfigError(
            f"All {ties} pairs in {self.folder} are ties, so there is no preference to learn; import pairs with a winner."
        )

    def stage_file(self, stage: str, shard: Shard) -> Path:
        """The file that this process writes."""
        return self.folder / f"{stage}{shard.suffix}.jsonl"

    def stage_files(self, stage: str) -> list[Path]:
        """Every file of a stage, shards included; none if it has not run."""
        whole = self.folder / f"{stage}.jsonl"
        return ([whole] if whole.exists() else []) + sorted(self.folder.glob(f"{stage}.*of*.jsonl"))

    def needed_files(self, stage: str, command: str) -> list[Path]:
        files = self.stage_files(stage)
        if not files:
            raise ConfigError(f"{self.folder} holds no {stage}; run `python -m training.parrot {command}` first.")
        return files

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """What people prefer of every pair, by the number of its key, as it is known now."""
        return {int(pair.key, 16): pair.preference.value for pair in self.pairs()}

    def is_current(self, row: Row) -> bool:
        """Whether a record is about its pair as it is labelled now: a label that was corrected is another question.

        A critique that was written without a hint was written without the label.
        """
        label = self.labels.get(int(row["pair"]["key"], 16))
        return label is not None and (label == row["pair"]["preference"] or _unguided(row))

    def done(self, stage: str) -> frozenset[str]:
        """Keys that need no asking any more, over all shards."""
        return frozenset(self._current(stage, lambda row: str(row["key"])))

    def rationales(self) -> Iterator[Rationale]:
        return self._current("rationales", rationale_from_json)

    def checks(self, variant: str) -> Iterator[Check]:
        return self._current(f"checks-{variant}", check_from_json)

    def projections(self, arm: str) -> Iterator[Projection]:
        for record in self._current(f"critiques-{arm}", projection_from_json):
            label = Verdict(self.labels[int(record.pair.key, 16)])
            yield replace(record, pair=replace(record.pair, preference=label))

    def _current(self, stage: str, build: Callable[[Row], T]) -> Iterator[T]:
        """What `build` makes of every record that is current; how many are not is said."""
        outdated = 0
        for path in self.stage_files(stage):
            for built in read_lines(path, lambda row: build(row) if self.is_current(row) else None):
                if built is None:
                    outdated += 1
                else:
                    yield built
        if outdated:
            log.info(
                "%d %s are about pairs that are labelled otherwise now, or gone: they are left out", outdated, stage
            )

    def settle(self, stage: str, settings: Mapping[str, Any], own: Path) -> None:
        """Save what a stage is run with; ConfigError if it has records, or is being run, with something else.

        `own` is the file that this process writes.
        """
        files = self.stage_files(stage)
        begun = any(True for file in files for _ in whole_lines(file)) or any(_busy(f) for f in files if f != own)
        settle(
            self.folder / f"{stage}.settings.json",
            settings,
            begun=begun,
            holds=f"{self.folder} holds {stage} made with other settings",
            advice="use another --run, or delete them",
        )

    def note(self, line: Mapping[str, Any]) -> None:
        """Append to the run's log; here clocks are allowed."""
        stamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with LineWriter(self.folder / "log.jsonl", wait=True) as lines:
            lines.append({"at": stamp, **line})

    def request(self, pair: PreferencePair) -> UserRequest:
        """The pair's request with its source images opened. RequestError if one is missing or damaged."""
        return UserRequest(pair.request, tuple(self.store.open(name) for name in pair.sources))


def _unguided(row: Row) -> bool:
    return "side" in row and not row["rationale"]


def _busy(file: Path) -> bool:
    """Whether another process writes it now."""
    try:
        LineWriter(file).close()
    except ConfigError:
        return True
    return False


@dataclass(frozen=True, kw_only=True)
class Rubrics:
    """The rubric of the student for each kind of request; the teacher's is the same with guidelines."""

    generation: Rubric
    edit: Rubric

    def student(self, kind: Kind) -> Rubric:
        return self.edit if kind == "edit" else self.generation

    def teacher(self, kind: Kind) -> Rubric:
        return teacher_rubric(self.student(kind))


def load_rubrics(files: Sequence[Path] = ()) -> Rubrics:
    """The built-in rubrics, or those of files and checkpoint folders, each taken for its own kind."""
    rubrics: dict[Kind, Rubric] = {}
    for path in (file for name in files for file in _rubric_files(name)):
        rubric = load_rubric(path)
        if rubric.kind in rubrics:
            raise ConfigError(f"{path} is a second rubric of kind {rubric.kind!r}; give one of each kind at most.")
        rubrics[rubric.kind] = rubric
    return Rubrics(generation=rubrics.get("generation", generation_rubric()), edit=rubrics.get("edit", edit_rubric()))


def _rubric_files(name: Path) -> list[Path]:
    """A rubric file itself, or those a checkpoint folder carries; `miniature` is the shipped scorer."""
    folder = scorer_folder() if str(name) == "miniature" else name
    if not folder.is_dir():
        return [name]
    files = [file for kind in get_args(Kind) if (file := folder / f"rubric_{kind}.toml").is_file()]
    if not files:
        raise ConfigError(f"{name} carries no rubric_generation.toml or rubric_edit.toml; name a rubric file instead.")
    return files
