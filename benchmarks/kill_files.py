"""What a run left in its folder, in a form in which two runs can be compared: everything but clock times.

Two things are named here and no others: fields that hold clock times or memory, and those that hold probabilities of
tokens.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

CLOCK_FIELDS = {
    "seconds", "generate_seconds", "judge_seconds", "cost", "critique_seconds", "pass_seconds", "peak_gib"
}  # fmt: skip
"""Fields of JSON that tell how long something took, or how much memory; `cost` is per pair of an evaluation's last start."""
ROUNDED = {"expected", "spread"}
"""Fields taken from the probabilities of tokens, which round by what else was in the judge's batch at that moment."""
ROUNDING = 1e-4
_CLOCK_TEXT = re.compile(rb"\d+\.\d s\b")
"""How reports show it."""

Settled: TypeAlias = dict[str, Any]
"""Path below the run's folder -> content."""


def settled(folder: Path, unordered: Collection[str] = (), apart: Collection[str] = ()) -> Settled:
    """Every file but locks and those named in `apart`. Lines of files named in `unordered` are compared as a set."""
    left = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}
    files = sorted(path for path in left if path.name not in apart)
    return {path.relative_to(folder).as_posix(): _content(path, path.name in unordered) for path in files}


def differences(expected: Settled, actual: Settled) -> list[str]:
    """One line for each file that is missing, is too much, or holds something else."""
    lines = [f"{name} is missing" for name in expected.keys() - actual.keys()]
    lines += [f"{name} is too much" for name in actual.keys() - expected.keys()]
    lines += [
        f"{name} differs{_where(expected[name], actual[name])}"
        for name in expected.keys() & actual.keys()
        if not _same(expected[name], actual[name])
    ]
    return sorted(lines)


def _same(expected: Any, actual: Any, field: str = "") -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_same(expected[key], actual[key], str(key)) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(_same(*pair, field) for pair in zip(expected, actual, strict=True))
    if field in ROUNDED and isinstance(expected, float) and isinstance(actual, float):
        return math.isclose(expected, actual, rel_tol=0.0, abs_tol=ROUNDING)
    return bool(expected == actual)


def _content(path: Path, unordered: bool) -> Any:
    if path.suffix == ".jsonl":
        rows = json_lines(path.read_bytes())
        return sorted(rows, key=json.dumps) if unordered else rows
    if path.suffix == ".json":
        return _without_clock(json.loads(path.read_bytes()))
    if path.suffix == ".html":
        return _CLOCK_TEXT.sub(b"", path.read_bytes())
    return _tensors(path) if path.suffix == ".pt" else path.read_bytes()


def json_lines(content: bytes) -> list[Any]:
    """The objects of whole lines, without clock times."""
    return [_without_clock(json.loads(line)) for line in content.split(b"\n")[:-1]]


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clock(part) for key, part in value.items() if key not in CLOCK_FIELDS}
    return [_without_clock(part) for part in value] if isinstance(value, list) else value


def _tensors(path: Path) -> Any:
    """A checkpoint by its values: equal ones are not always pickled to equal bytes."""
    import torch

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return str(value.dtype), tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list | tuple) else value

    return plain(torch.load(path, weights_only=True))


def _where(expected: Any, actual: Any) -> str:
    if not isinstance(expected, list) or not isinstance(actual, list):
        return ""
    if len(expected) != len(actual):
        return f": {len(actual)} lines instead of {len(expected)}"
    place = next(place for place, pair in enumerate(zip(expected, actual, strict=True)) if not _same(*pair))
    return f" from line {place + 1}: {str(actual[place])[:120]} instead of {str(expected[place])[:120]}"
