"""Schemas that older and newer ComfyUI both take: keywords that the running core does not know are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from comfy_api.latest import io

CATEGORY = "RationalRewards"


def schema(*, advanced: Collection[str] = (), **keywords: Any) -> io.Schema:
    """`io.Schema` in the pack's category, without the keywords that this ComfyUI is too old for.

    `advanced` names widgets that the page shows only when it is asked to (0.10 and newer). 0.8.0 knows no `search_aliases` (0.11), `essentials_category` (0.15), `has_intermediate_output` (0.19).
    """
    field_names = {field.name for field in dataclasses.fields(io.Schema)}
    keywords.setdefault("category", CATEGORY)
    for entry in _entries(keywords.get("inputs", ())):
        if entry.id in advanced and hasattr(entry, "advanced"):
            entry.advanced = True
    return io.Schema(**{name: value for name, value in keywords.items() if name in field_names})


def _entries(inputs: Sequence[Any]) -> Iterator[Any]:
    """Every input, those inside the options of a dynamic combo too."""
    for entry in inputs:
        yield entry
        for option in getattr(entry, "options", None) or ():
            yield from _entries(getattr(option, "inputs", ()))
