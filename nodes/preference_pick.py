"""Preference Pick: ask a person which of the candidates is better, without holding up the queue."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError, RequestError
from .schema import schema
from .sockets import Critiques, CritiqueSocket


class PreferencePick(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_PreferencePick",
            display_name="Preference Pick",
            description="Click the better image, whenever you like: your picks are kept, and can train a judge of "
            "your own.",
            search_aliases=["preference", "vote", "label", "human feedback", "dataset", "rlhf", "rationalrewards"],
            is_output_node=True,
            hidden=[io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="A batch of 2 to 8 candidates for one prompt."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What the images were asked to show; for an edit, the instruction.",
                ),
                io.String.Input(
                    "dataset",
                    default="mine",
                    tooltip="Name of the collection: a folder in output/rationalrewards/preferences. Letters, digits, "
                    "- and _.",
                ),
                io.Image.Input("source_image", optional=True, tooltip="For edits: the one image before them."),
                CritiqueSocket.Input(
                    "critique",
                    optional=True,
                    tooltip="What a judge said of these images: it is kept beside your pick, and not shown before it.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The candidates, unchanged."),
                io.String.Output("summary", tooltip="How much the collection holds, as of this run."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> str:
        """The same graph asks another person anew."""
        from .preferences.users import user_of_prompt

        return user_of_prompt() or ""

    @classmethod
    def execute(
        cls, images: Any, prompt: str, dataset: str, source_image: Any = None, critique: Critiques | None = None
    ) -> io.NodeOutput:
        from ..rationalrewards_core.messages import UserRequest
        from .preferences.export import summary, tally
        from .preferences.store import preference_store
        from .preferences.users import user_of_prompt
        from .show.origin import queued_from, with_origin
        from .tensors import sound_pictures

        sources = () if source_image is None else tuple(sound_pictures(source_image))
        if len(sources) > 1:
            raise RequestError(f"There are {len(sources)} source images; all candidates must be edits of one.")
        if critique is not None and len(critique.outcomes) != len(images):
            raise ConfigError(
                f"There are {len(images)} images and {len(critique.outcomes)} critiques; connect those of these images."
            )
        store = preference_store(dataset.strip(), user_of_prompt())
        judge, rewards = (None, ()) if critique is None else (critique.to_json(), critique.rewards)
        question = store.ask(UserRequest(prompt, sources), sound_pictures(images), judge, rewards)
        card = {"dataset": store.name, "question": question.key}
        ui = with_origin({"rr_preference": [card]}, queued_from(cls.hidden))
        return io.NodeOutput(images, summary(store.name, tally(store.book())), ui=ui)
