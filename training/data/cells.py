"""Cells of benchmark tables that come in several forms: lists of images, labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from rationalrewards_core.comparison import Verdict

from .importers.intake import Skip


def images_of(value: Any) -> list[Any]:
    """The images in a cell: a list, a numpy array (what pandas makes of a Parquet list), one image, or none."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def label_of(value: Any, first: str = "A", second: str = "B") -> Verdict:
    """A label in any of the forms in use: `A`, `A>B`, `B<A`, `A=B`, `tie`. Raises Skip for anything else."""
    word = str(value).strip().replace(" ", "").upper()
    a, b = first.upper(), second.upper()
    if word in (a, f"{a}>{b}", f"{b}<{a}"):
        return Verdict.A
    if word in (b, f"{b}>{a}", f"{a}<{b}"):
        return Verdict.B
    if word in ("TIE", f"{a}={b}", f"{b}={a}", f"{a}=={b}"):
        return Verdict.TIE
    raise Skip("unknown label", value)
