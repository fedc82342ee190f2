"""The example workflows, a module each. Ours alone is exact; the others' model files go by their usual names."""

from __future__ import annotations

from . import (
    best_of_batch,
    blueprint,
    comfy_clip_loop,
    critique_one_image,
    flux_loop,
    img2img_loop,
    kontext_loop,
    miniature_edit,
    miniature_loop,
    preference_pick,
    sdxl_loop,
)

GRAPHS = (
    miniature_loop.GRAPH,
    miniature_edit.GRAPH,
    critique_one_image.GRAPH,
    best_of_batch.GRAPH,
    sdxl_loop.GRAPH,
    flux_loop.GRAPH,
    kontext_loop.GRAPH,
    comfy_clip_loop.GRAPH,
    preference_pick.GRAPH,
    img2img_loop.GRAPH,
)
BLUEPRINT, INSIDE = blueprint.GRAPH, blueprint.INSIDE
DESCRIPTION, SEARCH_ALIASES = blueprint.DESCRIPTION, blueprint.SEARCH_ALIASES
