"""Write Rubric: the dimensions that one request calls for, written by the judge's model and open to changes."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .context import executing_node
from .schema import schema
from .sockets import RubricSocket, ScorerSocket

MAX_CHARACTERS = 50_000


class WriteRubric(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_WriteRubric",
            display_name="Write Rubric",
            description="A model writes what matters for this prompt: dimensions, weights and what each score means.",
            search_aliases=["adaptive rubric", "checklist", "criteria", "dimensions", "rationalrewards"],
            inputs=[
                ScorerSocket.Input(
                    "scorer",
                    tooltip="Whose model writes. Needs one that follows instructions; the miniature writes no rubric.",
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What the images will be asked to show; for an edit, the instruction.",
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    default="",
                    tooltip="Empty: the model writes. Otherwise this rubric is used as it stands, and nothing is asked: put the "
                    "toml output here to change its weights and words.",
                ),
                io.Image.Input("source_image", optional=True, tooltip="For edits: the image before them."),
            ],
            outputs=[
                RubricSocket.Output("rubric", tooltip="For the rubric input of the nodes that judge."),
                io.String.Output("toml", tooltip="The rubric as text: show it, save it as a rubric file, or edit it."),
            ],
        )

    @classmethod
    async def execute(cls, scorer: Any, prompt: str, text: str = "", source_image: Any = None) -> io.NodeOutput:
        from ..rationalrewards_core.rubric_file import parse_rubric, rubric_to_toml
        from .judge.judging import requests_of

        if len(text) > MAX_CHARACTERS:
            raise ConfigError(f"text has {len(text)} characters; at most {MAX_CHARACTERS} are read.")
        if text.strip():
            rubric = parse_rubric(text, "text")
        else:
            request = requests_of(prompt, 1, source_image)[0]
            rubric = await scorer.write_rubric(request, executing_node())
        toml = rubric_to_toml(rubric)
        return io.NodeOutput(rubric, toml, ui={"text": [toml]})
