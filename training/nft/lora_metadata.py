"""What a LoRA file says of itself, in the words that ComfyUI's and other LoRA managers read.

Two vocabularies are in use: `modelspec.*` (Stability's ModelSpec 1.0) and kohya's `ss_*`. Both are plain texts in the
header of the safetensors file. The scale is folded into the weights, so the network's alpha is its rank.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from PIL import Image

from rationalrewards_core import __version__
from rationalrewards_core.pixels import to_rgb

ARCHITECTURES: Final[Mapping[str, tuple[str, str]]] = {
    "miniature": ("rationalrewards-miniature", "rationalrewards_miniature"),
    "sd3": ("stable-diffusion-3", "sd3"),
    "flux": ("flux-1-dev", "flux1"),
    "flux_kontext": ("flux-1-dev", "flux1"),
    "flux2": ("Flux.2-dev", "flux2"),
    "flux2_klein": ("Flux.2-klein", "flux2_klein"),
    "qwen_image": ("Qwen-Image", "qwen_image"),
    "qwen_image_edit": ("Qwen-Image-Edit-Plus", "qwen_image_edit_plus"),
    "z_image": ("Z-Image", "zimage"),
}
"""Family -> `modelspec.architecture` and `ss_base_model_version`, as kohya's tools and ai-toolkit write them."""
USE: Final = "Acts on every prompt; there are no trigger words. Strength 1 is what was trained."
THUMBNAIL_SIDE: Final = 256
"""Longest side of the thumbnail, pixels: managers read whole headers."""


def lora_metadata(
    family: str, base: str, rank: int, size: tuple[int, int], purpose: Mapping[str, Any], preview: Image.Image | None
) -> dict[str, str]:
    """The header. `size` is width and height of the rollouts, `purpose` the judge and what else it was trained with."""
    architecture, version = ARCHITECTURES[family]
    judge = purpose.get("judge", "")
    description = f"Tuned by DiffusionNFT (arXiv 2509.16117){f' for the judge {judge}' if judge else ''}. {USE}"
    header = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": str(purpose.get("name", "tuned")),
        "modelspec.description": description,
        "modelspec.usage_hint": USE,
        "modelspec.resolution": f"{size[0]}x{size[1]}",
        "modelspec.tags": "rationalrewards, diffusionnft, preference",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_base_model_version": version,
        "ss_sd_model_name": base,
        "ss_output_name": str(purpose.get("name", "tuned")),
        "ss_training_comment": description,
        "ss_tag_frequency": "{}",
        "rationalrewards": json.dumps({"version": __version__, "family": family, **purpose}, sort_keys=True),
    }
    return header if preview is None else {**header, "modelspec.thumbnail": _thumbnail(preview)}


def _thumbnail(picture: Image.Image) -> str:
    small = to_rgb(picture)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    content = BytesIO()
    small.save(content, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
