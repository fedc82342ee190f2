"""The pack as ComfyUI sees it: the list of its nodes, and what is registered when it loads."""

from __future__ import annotations

from importlib import import_module

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
    "miniature_generate": "MiniatureGenerate",
    "preference_pick": "PreferencePick",
}
"""Module -> node class, in the order of the menu."""


class RationalRewardsExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .routes import add_routes

        add_routes()
        return [getattr(import_module(f".{module}", __package__), name) for module, name in NODES.items()]
