"""Schemas that older and newer ComfyUI both take: keywords that the running core does not know are left out."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "RationalRewards"


def schema(**keywords: Any) -> io.Schema:
    """`io.Schema` in the pack's category, without the keywords that this ComfyUI is too old for.

    0.8.0 knows no `search_aliases` (0.11), `essentials_category` (0.15), `has_intermediate_output` (0.19).
    """
    known = {field.name for field in dataclasses.fields(io.Schema)}
    keywords.setdefault("category", CATEGORY)
    return io.Schema(**{name: value for name, value in keywords.items() if name in known})
