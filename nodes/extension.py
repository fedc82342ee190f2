"""The pack as ComfyUI sees it: the list of its nodes, and what is registered when it loads."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

NODES = {
    "load_scorer": "LoadScorer",
    "unload_scorer": "UnloadScorer",
    "rational_critique": "RationalCritique",
    "multi_dim_score": "MultiDimScore",
    "prompt_refine": "PromptRefine",
    "loop_start": "LoopStart",
    "loop_until_score": "LoopUntilScore",
    "pick_best": "PickBest",
    "compare_images": "CompareImages",
    "critique_to_text": "CritiqueToText",
    "custom_rubric": "CustomRubric",
    "write_rubric": "WriteRubric",
    "miniature_generate": "MiniatureGenerate",
    "preference_pick": "PreferencePick",
}
"""Module -> node class, in the order of the menu."""

log = logging.getLogger("rationalrewards.nodes")


class RationalRewardsExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .loop.routes import add_routes

        if not add_routes():
            folder = Path(__file__).parents[1]
            log.error("RationalRewards is installed twice: the copy in %s is not used; remove one of the two.", folder)
            return []
        return [getattr(import_module(f".{module}", __package__), name) for module, name in NODES.items()]
