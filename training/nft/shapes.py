"""What a generator consists of, known without its files: the presets' transformers, and every family's other parts.

The figures are those of the published `config.json` files; a test builds the real classes on the meta device and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CLIP_L: Final = 123_650_304
CLIP_BIG_G: Final = 694_659_840
T5_XXL: Final = 4_762_310_656
"""Its encoder alone, which is what the pipelines load."""
QWEN25_VL_7B: Final = 8_292_166_656
QWEN3_4B: Final = 4_022_468_096
MISTRAL_24B: Final = 23_340_272_640
"""Mistral Small 3.2 without its head."""
SD3_VAE: Final = 83_819_683
"""Of SD3, FLUX and Z-Image."""
FLUX2_VAE: Final = 84_046_115
QWEN_VAE: Final = 126_892_531

TEXT_ENCODERS: Final[Mapping[str, int]] = {
    "miniature": 0,
    "sd3": CLIP_L + CLIP_BIG_G + T5_XXL,
    "flux": CLIP_L + T5_XXL,
    "flux_kontext": CLIP_L + T5_XXL,
    "flux2": MISTRAL_24B,
    "flux2_klein": QWEN3_4B,
    "qwen_image": QWEN25_VL_7B,
    "qwen_image_edit": QWEN25_VL_7B,
    "z_image": QWEN3_4B,
}
"""Family -> weights of all its text encoders; the miniature's are too small to count, and klein's are those of 4B."""
VAE: Final[Mapping[str, int]] = {
    "miniature": 0, "sd3": SD3_VAE, "flux": SD3_VAE, "flux_kontext": SD3_VAE, "flux2": FLUX2_VAE,
    "flux2_klein": FLUX2_VAE, "qwen_image": QWEN_VAE, "qwen_image_edit": QWEN_VAE, "z_image": SD3_VAE,
}  # fmt: skip

_SD35_MEDIUM: Final = {
    "attention_head_dim": 64, "num_attention_heads": 24, "num_layers": 24, "caption_projection_dim": 1536,
    "dual_attention_layers": tuple(range(13)), "pos_embed_max_size": 384, "qk_norm": "rms_norm",
}  # fmt: skip
_KLEIN_4B: Final = {
    "num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680,
    "guidance_embeds": False,
}  # fmt: skip
TRANSFORMERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stabilityai/stable-diffusion-3.5-medium": _SD35_MEDIUM,
    "black-forest-labs/FLUX.1-dev": {"guidance_embeds": True},
    "black-forest-labs/FLUX.1-Kontext-dev": {"guidance_embeds": True},
    "black-forest-labs/FLUX.2-dev": {},
    "black-forest-labs/FLUX.2-klein-4B": _KLEIN_4B,
    "black-forest-labs/FLUX.2-klein-base-4B": _KLEIN_4B,
    "Qwen/Qwen-Image-Edit-2509": {"num_layers": 60},
}
"""Pipeline of a preset -> what differs from the defaults of its transformer's class."""
