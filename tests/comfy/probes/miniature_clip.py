"""The miniature's own weights as a CLIP of ComfyUI: the core's Qwen3-VL at the miniature's size, with its tokeniser.

Only sizes and token numbers are changed, which the core fixes for the released checkpoints; its code path, from
`CLIP.tokenize` to `CLIP.decode`, is the one that an 8B file takes.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

IMAGE_PAD, PAD = 151655, 151643
"""Token numbers that the core looks for."""


def miniature_clip(folder: Path) -> Any:
    """Load a checkpoint folder of the miniature by ComfyUI's own text encoder loader."""
    import comfy.sd
    import comfy.utils

    config = json.loads((folder / "config.json").read_text())
    _shrink(config, folder)
    text = config["text_config"]
    fields = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = {name: text[name] for name in (*fields, "num_key_value_heads", "max_position_embeddings")}
    sizes |= {"lm_head": not text["tie_word_embeddings"], "rope_theta": text["rope_parameters"]["rope_theta"]}
    weights = comfy.utils.load_torch_file(str(folder / "model.safetensors"))
    return comfy.sd.load_text_encoder_state_dicts(
        [weights], clip_type=comfy.sd.CLIPType.QWEN_IMAGE, model_options={"qwen3vl_8b_model_config": sizes}
    )


def _shrink(config: dict[str, Any], folder: Path) -> None:
    import comfy.text_encoders.llama as llama
    import comfy.text_encoders.qwen3vl as qwen3vl
    import comfy.text_encoders.qwen_vl as qwen_vl

    text, vision = config["text_config"], config["vision_config"]
    llama.Qwen3VL_8BConfig.head_dim = text["head_dim"]
    llama.Qwen3VL_8BConfig.rope_dims = text["rope_parameters"]["mrope_section"]
    llama.Qwen3VL_8BConfig.stop_tokens = [text["eos_token_id"]]
    names = ("hidden_size", "intermediate_size", "depth", "deepstack_visual_indexes")
    qwen3vl.QWEN3VL_VISION["qwen3vl_8b"] = {name: vision[name] for name in names}
    common = ("num_heads", "patch_size", "num_position_embeddings")
    qwen3vl.QWEN3VL_VISION_COMMON.update({name: vision[name] for name in common})
    patches = qwen_vl.process_qwen2vl_images
    # Like the core's own least of 3136, below the size of any picture that reaches it.
    sizes = {"patch_size": vision["patch_size"], "min_pixels": vision["patch_size"] ** 2}

    @functools.wraps(patches)
    def small_patches(images: Any, **keywords: Any) -> Any:
        return patches(images, **{**keywords, **sizes})

    qwen_vl.process_qwen2vl_images = small_patches
    qwen3vl.Qwen3VLSDTokenizer = _tokeniser(qwen3vl.Qwen3VLSDTokenizer, folder, config["image_token_id"])


def _tokeniser(base: Any, folder: Path, image_token: int) -> Any:
    from transformers import AutoTokenizer

    class MiniatureTokenizer(base):
        def __init__(self, *positional: Any, **keywords: Any) -> None:
            super().__init__(*positional, **keywords)
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder))

        def tokenize_with_weights(self, *positional: Any, **keywords: Any) -> Any:
            rows = super().tokenize_with_weights(*positional, **keywords)
            return [[(IMAGE_PAD if e[0] == image_token else e[0], *e[1:]) for e in row] for row in rows]

    return MiniatureTokenizer
