"""Miniature Generate: the demo generator, so that a whole loop runs where no other model is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comfy_api.latest import io
from PIL import Image

from ..rationalrewards_core.errors import ConfigError, RequestError
from ..rationalrewards_core.miniature import EXAMPLE
from .schema import schema

if TYPE_CHECKING:
    from .models.miniature import Tuning

DRAW, RENDER, EDIT = "draw", "render", "render an edit"
SHIPPED = "none"
"""In place of a LoRA."""
LARGEST_SEED = 2**64 - 1


class MiniatureGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_MiniatureGenerate",
            display_name="Miniature Generate",
            advanced=("lora", "strength"),
            description="Draws 48 x 48 pictures of coloured shapes with a tiny diffusion model that comes with the pack: "
            "a loop to try without any download.",
            search_aliases=["demo", "tiny diffusion", "shapes", "rationalrewards"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip="Up to two shapes (circle, square, triangle), colours, sizes, where they stand, and a word.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    tooltip="The same prompt and seed give the same picture; a batch uses seed, seed + 1, ...",
                ),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="How many pictures."),
                io.Int.Input(
                    "scale",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Enlarge each pixel to a square this wide, to see the picture better (8 gives 384 x 384).",
                ),
                io.Combo.Input(
                    "method",
                    options=[DRAW, RENDER, EDIT],
                    default=DRAW,
                    tooltip="draw: the diffusion model. render: exactly what the prompt says, by a program. render an edit: "
                    "the picture of the prompt after an edit that goes wrong for some seeds, by a program too.",
                ),
                io.String.Input(
                    "edit",
                    default="",
                    tooltip="For 'render an edit': what to change, such as make the circle green.",
                ),
                io.Combo.Input(
                    "lora",
                    optional=True,
                    options=[SHIPPED, *lora_files()],
                    default=SHIPPED,
                    tooltip="For 'draw': a LoRA of this generator from models/loras, such as `python -m training.nft` "
                    "writes. none: the generator as shipped.",
                ),
                io.Float.Input(
                    "strength",
                    optional=True,
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the LoRA acts; 0 is the generator as shipped.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The pictures."),
                io.Image.Output("source_image", tooltip="For 'render an edit': the picture before it."),
            ],
        )

    @classmethod
    def execute(
        cls,
        prompt: str,
        seed: int,
        batch_size: int,
        scale: int,
        method: str,
        edit: str,
        lora: str = SHIPPED,
        strength: float = 1.0,
    ) -> io.NodeOutput:
        # Its world's tables are a fifth of what importing the pack would take.
        from ..rationalrewards_core.messages import UserRequest
        from ..rationalrewards_core.miniature.scope import check_drawable
        from .judge.ranking import blocked
        from .models.miniature import generate
        from .tensors import to_images

        UserRequest(prompt)  # refuses, in a sentence, what no tokenizer takes
        if lora == SHIPPED:
            check_drawable(prompt)  # a LoRA may have taught it anything
        seeds = [(seed + index) % (LARGEST_SEED + 1) for index in range(batch_size)]
        if method == EDIT:
            source, pictures = edited(prompt, edit, seeds)
            return io.NodeOutput(to_images(enlarged(pictures, scale)), to_images(enlarged([source], scale)))
        pictures = generate(prompt, seeds, tuning(lora, strength)) if method == DRAW else rendered(prompt, seeds)
        no_source = blocked(f"Miniature Generate has a source image only with the method '{EDIT}'.")
        return io.NodeOutput(to_images(enlarged(pictures, scale)), no_source)


def lora_files() -> list[str]:
    """What is in models/loras, as ComfyUI's own LoRA loader lists it."""
    import folder_paths

    return list(folder_paths.get_filename_list("loras"))


def tuning(lora: str, strength: float) -> Tuning | None:
    """The file behind a combo's value; ConfigError if it is gone."""
    import folder_paths

    if lora == SHIPPED:
        return None
    path = folder_paths.get_full_path("loras", lora)
    if path is None:
        raise ConfigError(f"There is no LoRA {lora!r} in models/loras; choose another, or none.")
    return Path(path), strength


def rendered(prompt: str, seeds: Sequence[int]) -> list[Image.Image]:
    from ..rationalrewards_core.miniature.drawings import draw_request

    return [draw_request(prompt, seed) for seed in seeds]


def edited(prompt: str, edit: str, seeds: Sequence[int]) -> tuple[Image.Image, list[Image.Image]]:
    """(source, one edited picture per seed)."""
    from ..rationalrewards_core.miniature.drawings import draw_edit

    if not edit.strip():
        raise RequestError(f"The method '{EDIT}' needs an edit, such as: make the circle green.")
    pairs = [draw_edit(prompt, edit, seed) for seed in seeds]
    return pairs[0][0], [after for _, after in pairs]


def enlarged(pictures: Sequence[Image.Image], scale: int) -> list[Image.Image]:
    """Every pixel as a square of `scale` pixels."""
    return [p.resize((p.width * scale, p.height * scale), Image.Resampling.NEAREST) for p in pictures]
