"""Limits that hold everywhere; apart, so that nothing else is imported for them."""

from __future__ import annotations

from typing import Final

MAX_REQUEST_CHARACTERS: Final = 20_000
"""A request longer than this is refused: no judge reads it with care, and it would crowd out the rubric."""
