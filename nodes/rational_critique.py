"""Rational Critique: a judge's words and scores about every image of a batch."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from .schema import schema
from .sockets import CritiqueSocket, RubricSocket, ScorerSocket


class RationalCritique(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_RationalCritique",
            display_name="Rational Critique",
            description="Critiques every image before it scores it: evidence, scores per dimension, a summary and a "
            "better prompt.",
            search_aliases=[
                "reward",
                "judge",
                "critique",
                "image score",
                "rationalrewards",
                "vlm",
                "quality",
                "aesthetic",
                "evaluate",
                "qwen",
            ],
            is_output_node=True,
            has_intermediate_output=True,
            hidden=[io.Hidden.extra_pnginfo],
            inputs=[
                ScorerSocket.Input("scorer", tooltip="The judge, from Load Rational Scorer."),
                io.Image.Input("image", tooltip="The image to judge; every image of a batch is judged by itself."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What the image was asked to show; for an edit, the instruction. In a loop connect the "
                    "original prompt, not the refined one.",
                ),
                io.Image.Input(
                    "source_image",
                    optional=True,
                    tooltip="For an edit: the image before it. One for the whole batch, or one for each image.",
                ),
                RubricSocket.Input(
                    "rubric", optional=True, tooltip="Judge by this rubric (Custom Rubric) instead of the scorer's own."
                ),
            ],
            outputs=[
                CritiqueSocket.Output("critique", tooltip="The critiques of all images, for Prompt Refine and others."),
                io.Float.Output(
                    "reward",
                    is_output_list=True,
                    tooltip="Reward of each image, 0 to 1; not a number (NaN) where an image could not be judged.",
                ),
                io.String.Output("report", tooltip="The critiques as Markdown, for Preview as Text."),
                io.String.Output("json", tooltip="The critiques as JSON, for scripts."),
            ],
        )

    @classmethod
    async def execute(
        cls, scorer: Any, image: Any, prompt: str, source_image: Any = None, rubric: Any = None
    ) -> io.NodeOutput:
        from .judge.judging import judged, requests_of
        from .show.cards import critique_cards
        from .show.markdown import markdown
        from .show.origin import queued_from, with_origin
        from .show.previews import saved_batch, start_saving
        from .tensors import pictures_and_flaws

        pictures, flaws = pictures_and_flaws(image)
        requests = requests_of(prompt, len(pictures), source_image)
        saving = start_saving(pictures)
        critiques = await judged(scorer, requests, pictures, "critique", flaws=flaws, rubric=rubric)
        saved = saved_batch(image, saving)
        return io.NodeOutput(
            replace(critiques, saved=saved),
            [math.nan if reward is None else reward for reward in critiques.rewards],
            markdown(critiques),
            json.dumps(critiques.to_json(), ensure_ascii=False, indent=1),
            ui=with_origin({"rr_critique": critique_cards(critiques, saved.pictures)}, queued_from(cls.hidden)),
        )
