"""Critique to Text: critiques for text boxes, files and other nodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .schema import schema
from .sockets import Critiques, CritiqueSocket

FORMATS = ("markdown", "plain", "json", "scores only")


class CritiqueToText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_CritiqueToText",
            display_name="Critique to Text",
            advanced=("index",),
            description="Writes critiques as Markdown, plain text, JSON, or their scores only.",
            search_aliases=["report", "json", "markdown", "rationalrewards"],
            inputs=[
                CritiqueSocket.Input("critique", tooltip="From Rational Critique or Multi-Dim Score."),
                io.Int.Input(
                    "index", default=-1, min=-1, max=4095, tooltip="Which image of the batch, from 0; -1 writes all."
                ),
                io.Combo.Input(
                    "format", options=list(FORMATS), default="markdown", tooltip="How the critique is written."
                ),
            ],
            outputs=[io.String.Output("text", tooltip="The critique.")],
        )

    @classmethod
    def execute(cls, critique: Critiques, index: int, format: str) -> io.NodeOutput:
        count = len(critique.outcomes)
        if index >= count:
            raise ConfigError(f"index is {index}, and there are {count} critiques: 0 to {count - 1}, or -1 for all.")
        return io.NodeOutput(text_of(critique, format, None if index < 0 else [index]))


def text_of(critiques: Critiques, format: str, indices: Sequence[int] | None = None) -> str:
    """All critiques, or those at `indices`, in one of `FORMATS`."""
    from .show.markdown import markdown, plain, scores_only

    writers = dict(zip(FORMATS, (markdown, plain, as_json, scores_only), strict=True))
    return writers[format](critiques, indices)


def as_json(critiques: Critiques, indices: Sequence[int] | None = None) -> str:
    """All critiques as one table, or those at `indices` as a list."""
    table: Any = critiques.to_json() if indices is None else [critiques.outcomes[index].to_json() for index in indices]
    return json.dumps(table, ensure_ascii=False, indent=1)
