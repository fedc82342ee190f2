"""Unload Scorer: gives a judge's memory back at a chosen point of the graph."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .schema import schema
from .sockets import ScorerSocket


class UnloadScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        kind = io.MatchType.Template("passed")
        return schema(
            node_id="RR_UnloadScorer",
            display_name="Unload Scorer",
            description="Passes anything through and frees the judge's memory when it arrives.",
            search_aliases=["free memory", "vram", "release"],
            inputs=[
                io.MatchType.Input(
                    "anything",
                    template=kind,
                    tooltip="Whatever the judge has to be done with first, such as a critique or a refined prompt.",
                ),
                ScorerSocket.Input(
                    "scorer", optional=True, tooltip="The judge to unload; without it every judge of this pack is."
                ),
            ],
            outputs=[io.MatchType.Output(template=kind, display_name="anything", tooltip="What came in, unchanged.")],
            not_idempotent=True,
        )

    @classmethod
    def execute(cls, anything: Any, scorer: Any = None) -> io.NodeOutput:
        from .judge.engines import release_all
        from .judge.scorers import LoadedScorer

        if scorer is None:
            release_all()
        elif isinstance(scorer, LoadedScorer):
            scorer.unload()
        else:
            raise ConfigError("scorer takes the output of Load Rational Scorer.")
        return io.NodeOutput(anything)
