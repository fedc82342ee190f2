"""Numbers of JSON and TOML: their whole numbers have no end, floats do."""

from __future__ import annotations

import math
from typing import Any


def finite_number(value: Any) -> float | None:
    """The value as a finite float; None for a truth value, a text, NaN, infinity, or more than a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def number_pair(values: Any) -> tuple[float, float]:
    """Two finite numbers in a list. ValueError for anything else."""
    numbers = [finite_number(value) for value in values] if isinstance(values, list | tuple) else []
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        raise ValueError(f"{values!r:.60} are not two finite numbers")
    return numbers[0], numbers[1]
