"""Custom Rubric: the built-in dimensions with other weights and words, and dimensions of the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.rubric_file import BUILT_IN, load_rubric, with_dimensions
from .schema import schema
from .sockets import RubricSocket, ScorerSocket

if TYPE_CHECKING:
    from ..rationalrewards_core.rubric import Rubric
    from .judge.scorers import LoadedScorer

MAX_CHARACTERS = 50_000
EXAMPLE = """\
# [[dimensions]]
# key = "mood"
# title = "Mood"
# question = "Does the picture feel the way the prompt asks for?"
# weight = 1.0
# optional = false
# [dimensions.anchors]
# 4 = "Exactly the mood that was asked for."
# 1 = "The opposite mood."
"""


class CustomRubric(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_CustomRubric",
            display_name="Custom Rubric",
            description="What the judge looks at: the built-in dimensions with your weights and words, and your own.",
            search_aliases=["rubric", "criteria", "dimensions", "weights", "rationalrewards"],
            inputs=[
                io.Combo.Input(
                    "base",
                    options=list(BUILT_IN),
                    default=BUILT_IN[0],
                    tooltip="generation judges an image by its prompt; edit judges it against its source image too.",
                ),
                io.String.Input(
                    "weights",
                    multiline=True,
                    default="",
                    tooltip="Weights in the reward, such as text_faithfulness=2, text_rendering=0; empty keeps them.",
                ),
                io.String.Input(
                    "dimensions",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip="TOML tables: a known key changes its title, question, anchors or weight; a new key adds a "
                    "dimension. Needs an engine that follows instructions; the miniature only knows its own dimensions.",
                ),
                io.String.Input("name", default="custom", tooltip="What reports call this rubric."),
                ScorerSocket.Input(
                    "scorer",
                    optional=True,
                    tooltip="Start from this scorer's own rubric instead of the built-in one: its wording and layout, "
                    "which a model trained on them (such as the miniature) needs.",
                ),
            ],
            outputs=[RubricSocket.Output("rubric", tooltip="For the rubric input of the nodes that judge.")],
        )

    @classmethod
    def execute(cls, base: str, weights: str, dimensions: str, name: str, scorer: Any = None) -> io.NodeOutput:
        from .judge.thresholds import parse_weights

        if base not in BUILT_IN:
            raise ConfigError(f"base must be one of {', '.join(BUILT_IN)}, not {base[:60]!r}.")
        if len(dimensions) > MAX_CHARACTERS:
            raise ConfigError(f"dimensions has {len(dimensions)} characters; at most {MAX_CHARACTERS} are read.")
        start = load_rubric(base) if scorer is None else own_rubric(scorer, base)
        rubric = with_dimensions(start, dimensions, "dimensions")
        rubric = rubric.with_weights(parse_weights(weights, rubric))
        return io.NodeOutput(replace(rubric, name=name.strip()[:80] or "custom"))


def own_rubric(scorer: LoadedScorer, kind: str) -> Rubric:
    """The rubric under which a scorer judges requests of this kind."""
    from PIL import Image

    from ..rationalrewards_core.messages import UserRequest

    sources = (Image.new("RGB", (1, 1)),) if kind == "edit" else ()
    rubric = scorer.rubric_for(UserRequest("any", sources))
    if rubric.kind != kind:
        raise ConfigError(f"The scorer has the {rubric.kind} rubric {rubric.name!r}; choose {rubric.kind} as the base.")
    return rubric
