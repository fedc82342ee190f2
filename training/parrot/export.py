"""Stage 4: kept critiques as chat examples, split by request, with their images beside them.

    OUT/train.jsonl dev.jsonl test.jsonl    examples: messages, images, request_id, split, provenance
    OUT/pairs.jsonl                         the pairs of the splits, to measure pair accuracy with
    OUT/images/NAME.png                     upright RGB, named by content
    OUT/rubric_*.toml                       the student's rubrics, which fine-tuning and evaluation ask in
    OUT/export.json                         settings and counts

The held-out pairs are all there are, kept or not: an evaluation on pairs that a teacher's filter chose would flatter.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from rationalrewards_core.comparison import parse_comparison
from rationalrewards_core.critique import Critique, render_critique
from rationalrewards_core.errors import ConfigError, CritiqueParseError, RequestError
from rationalrewards_core.file_lock import FileLock
from rationalrewards_core.images import png_bytes
from rationalrewards_core.jsonl import encoded
from rationalrewards_core.messages import Message, UserRequest, critique_messages, defused, pairwise_messages
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rubric import Kind
from rationalrewards_core.rubric_file import rubric_to_toml
from rationalrewards_core.storage import clear_unfinished, replace_file, replacing_together, storing

from ..data.labelled_pairs import PAIRS_FILE
from ..data.pairs import PreferencePair
from ..data.records import Record
from ..data.splits import SPLITS, Shares, Split, assign_splits
from .agreement import Agreement
from .calibration import CALIBRATED, Calibration, Fate, fates
from .chat import FORMATS, ChatFormat, chat_rows, dataset_table
from .project import Arm
from .prompts import Variant
from .records import Projection, Rationale
from .run import ParrotRun, Rubrics


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is exported, and how."""

    arm: Arm = "parrot"
    """Which critiques: filtered, unfiltered, direct distillation, or the judge's own."""
    form: ChatFormat = "chat"
    """chat (our SFT), trl, llamafactory or swift (ms-swift)."""
    pairwise: bool = False
    """Whether validated comparisons are exported too; the paper trains on both, the nodes need only critiques."""
    variant: Variant = "text"
    """Which check validates comparisons."""
    shares: Shares = field(default_factory=Shares)
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise ConfigError(f"form must be one of {', '.join(FORMATS)}, not {self.form!r}.")


class Exporter:
    """Writes one folder. The counts are complete once `write` has returned."""

    def __init__(self, run: ParrotRun, rubrics: Rubrics, settings: ExportSettings, out: Path) -> None:
        self._run, self._rubrics, self._settings, self._out = run, rubrics, settings, out
        self._names: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.agreement = Agreement()
        """Of the pairs that the teacher was asked about."""

    def write(self) -> Counter[str]:
        """Everything; the new files take the places of old ones together. Returns the counts."""
        busy = f"Another process is exporting to {self._out}; wait until it has ended, or choose another --out."
        with storing(self._out):
            lock = FileLock(self._out / "export.lock", wait=False, busy=busy)
        with closing(lock):
            self._write()
        return self.counts

    def _write(self) -> None:
        tables = {"export.json": "", **self._rubric_texts()}
        if self._settings.form == "llamafactory":
            tables["dataset_info.json"] = json.dumps(dataset_table(SPLITS), indent=2)
        names = [*(f"{split}.jsonl" for split in SPLITS), PAIRS_FILE, *tables]
        clear_unfinished(self._out / "images")
        for name in names:
            clear_unfinished(self._out, name)
        splits = assign_splits(self._run.pairs(), self._settings.shares)
        fate = self._fates()
        with replacing_together(self._out, names) as opened:
            files = dict(zip(names, opened, strict=True))
            for split, row in self._examples(splits, fate):
                files[f"{split}.jsonl"].write(encoded(row))
            for row in self._pair_rows(splits, fate):
                files[PAIRS_FILE].write(encoded(row))
            tables["export.json"] = self._figures()
            for name, text in tables.items():
                files[name].write(text.encode("utf-8"))

    def _rubric_texts(self) -> dict[str, str]:
        """The student's rubrics under the names a checkpoint folder uses: whoever trains on this asks in them."""
        return {f"rubric_{kind}.toml": rubric_to_toml(self._rubrics.student(kind)) for kind in get_args(Kind)}

    def _fates(self) -> Mapping[str, Fate]:
        arm = self._settings.arm
        calibration = self._settings.calibration if arm in CALIBRATED else None
        return fates(self._projections(), self._rubrics, calibration)

    def _projections(self) -> Iterator[Projection]:
        arm = self._settings.arm
        self._run.needed_files(f"critiques-{arm}", f"project --arm {arm}")
        return self._run.projections(arm)

    def _examples(
        self, splits: Mapping[str, Split], fate: Mapping[str, Fate]
    ) -> Iterator[tuple[Split, dict[str, Any]]]:
        for record in self._projections():
            split = splits.get(record.pair.key)
            if split is None or record.critique is None or fate[record.pair.key].reason:
                continue
            row = self._readable(self._critique_row, record, record.critique)
            if row is not None:
                self.counts[f"{split} critiques"] += 1
                yield split, row | {"split": split}
        if self._settings.pairwise:
            for rationale in self._validated():
                split = splits.get(rationale.pair.key)
                row = self._readable(self._comparison_row, rationale) if split is not None else None
                if split is not None and row is not None:
                    self.counts[f"{split} comparisons"] += 1
                    yield split, row | {"split": split}

    def _readable(self, make: Callable[..., dict[str, Any]], record: Record, *more: Critique) -> dict[str, Any] | None:
        """The row; None where an image has gone since, or the answer cannot stand as text: that is counted."""
        try:
            row = make(record, *more)
        except (RequestError, CritiqueParseError) as error:
            self.counts[f"left out: {error.reason}"] += 1
            return None
        return row

    def _critique_row(self, record: Projection, critique: Critique) -> dict[str, Any]:
        pair = record.pair
        rubric = self._rubrics.student(pair.kind)
        candidate = pair.first if record.side == "A" else pair.second
        messages = critique_messages(self._request(pair), self._picture(candidate), rubric)
        answer = render_critique(critique, rubric)
        if parse_critique(answer, rubric).scores != critique.scores:
            raise CritiqueParseError("not_repeatable", "Written down and read again it has other scores.", answer)
        return self._row(messages, answer, (*pair.sources, candidate), record, {"side": record.side})

    def _comparison_row(self, record: Rationale) -> dict[str, Any]:
        pair = record.shown
        rubric = self._rubrics.student(pair.kind)
        parse_comparison(record.reply, rubric)
        first, second = self._picture(pair.first), self._picture(pair.second)
        messages = pairwise_messages(self._request(pair), first, second, rubric)
        return self._row(messages, record.reply.strip(), pair.images, record, {"order": record.order})

    def _row(
        self, messages: tuple[Message, ...], answer: str, images: tuple[str, ...], record: Record, more: dict[str, str]
    ) -> dict[str, Any]:
        if defused(answer) != answer:
            raise CritiqueParseError("control_tokens", "The answer holds control tokens of a chat format.", answer)
        pair = record.pair
        names = [self._names[name] for name in images]
        own = {} if record.provenance is None else asdict(record.provenance)
        origin = {
            "origin": pair.origin,
            "row": pair.row,
            "licence": pair.licence,
            "pair": pair.key,
            "record": record.key,
        }
        return {
            **chat_rows(messages, answer, names, self._settings.form),
            "request_id": pair.request_id,
            "provenance": {**origin, **more, "arm": self._settings.arm, "teacher": own},
        }

    def _validated(self) -> Iterator[Rationale]:
        variant = self._settings.variant
        self._run.needed_files(f"checks-{variant}", f"check --variant {variant}")
        passed = {check.rationale for check in self._run.checks(variant) if check.kept}
        return (r for r in self._run.rationales() if r.key in passed)

    def _request(self, pair: PreferencePair) -> UserRequest:
        return UserRequest(pair.request, tuple(self._picture(name) for name in pair.sources))

    def _picture(self, reference: str) -> Image.Image:
        """Open a picture; its copy is in the export afterwards, and its name known."""
        picture = self._run.store.open(reference)
        if reference not in self._names:
            content = png_bytes(picture)
            name = f"images/{hashlib.sha256(content).hexdigest()[:32]}.png"
            path = self._out / name
            if not path.exists():
                replace_file(path, [content], lasting=False)
            self._names[reference] = name
        return picture

    def _pair_rows(self, splits: Mapping[str, Split], fate: Mapping[str, Fate]) -> Iterator[dict[str, Any]]:
        """Held-out pairs, all of them, and the training pairs that were given to the teacher."""
        asked_keys = self._asked_pairs() | fate.keys()
        for pair in self._run.pairs():
            split = splits[pair.key]
            if split == "train" and pair.key not in asked_keys:
                self.counts["train pairs never asked about, left out"] += 1
                continue
            in_export = pair.key in fate and not fate[pair.key].reason
            if pair.key in asked_keys:
                self.agreement.add(pair.preference, in_export)
            row = self._readable(self._pair_row, Record(key=pair.key, pair=pair))
            if row is not None:
                yield row | {"split": split, "kept": in_export}
                self.counts[f"{split} pairs"] += 1

    def _asked_pairs(self) -> set[str]:
        return {record.pair.key for record in self._run.rationales()}

    def _pair_row(self, record: Record) -> dict[str, Any]:
        pair = record.pair
        for name in pair.images:
            if name not in self._names:
                self._picture(name)
        images = {"first": self._names[pair.first], "second": self._names[pair.second]}
        sources = [self._names[name] for name in pair.sources]
        return {**pair.to_json(), **images, "sources": sources, "request_id": pair.request_id}

    def _figures(self) -> str:
        table = {"settings": asdict(self._settings), "counts": dict(sorted(self.counts.items()))}
        table["kept share of the pairs asked about"] = round(self.agreement.share, 4)
        return json.dumps(table, indent=2)
