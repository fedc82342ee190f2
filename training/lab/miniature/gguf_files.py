"""The miniature scorer as llama.cpp reads it: a language model and a picture tower, both as GGUF, in 32-bit floats or quantised.

    python -m training.lab.miniature.gguf_files rationalrewards_core/miniature/weights/scorer runs/gguf

needs the package `gguf` and nothing of the training environment, so that an environment with llama.cpp alone can run it.
The tokeniser's own pattern has no name in llama.cpp, so Qwen's stands for it: texts are cut alike, but for rare runs of
capitals and white space.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.float32]

WHOLE_NAMES = {
    "model.language_model.embed_tokens": "token_embd",
    "model.language_model.norm": "output_norm",
    "model.visual.pos_embed": "v.position_embd",
    "model.visual.patch_embed.proj": "v.patch_embd",
    "model.visual.merger.norm": "v.post_ln",
    "model.visual.merger.linear_fc1": "mm.0",
    "model.visual.merger.linear_fc2": "mm.2",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
BLOCK_NAMES = {
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv": "attn_qkv",
    "attn.proj": "attn_out",
    "mlp.linear_fc1": "ffn_up",
    "mlp.linear_fc2": "ffn_down",
}
MERGER_NAMES = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}
NUMBERED = re.compile(r"model\.(language_model\.layers|visual\.blocks|visual\.deepstack_merger_list)\.(\d+)\.(.+)")


Form = Literal["f32", "q8_0", "q5_1", "q4_k_m", "q4_0"]
FALLBACKS = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}
"""What stands for a k-quant, which is written in blocks of 256 numbers, where rows are no multiple of that."""


class GgufPaths(NamedTuple):
    """The two files that llama.cpp loads: `--model` and `--mmproj`."""

    model: Path
    mmproj: Path


def write_gguf(scorer: Path, folder: Path, form: Form = "f32") -> GgufPaths:
    """Convert a miniature scorer's folder; `folder` is made. The weights must be one safetensors file.

    `form` is how the language model's matrices are stored; its norms and the whole tower stay in 32-bit floats, as the
    files that are published keep them (or in 16). `q4_k_m` is llama.cpp's mixture, and needs the package `xllamacpp`: most
    of the miniature's rows have 192 numbers, so only its `ffn_down` (512) is written in k-quants and the rest falls back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = GgufPaths(folder / f"miniature-{form}.gguf", folder / "mmproj-miniature-f32.gguf")
    config = _read_json(scorer / "config.json")
    language, tower = {}, {}
    for name, tensor in read_safetensors(scorer / "model.safetensors"):
        part = tower if name.startswith("model.visual.") else language
        part.update(gguf_tensors(name, tensor, config["vision_config"]["deepstack_visual_indexes"]))
    _write_language_model(paths.model, config, scorer, language, form)
    _write_tower(paths.mmproj, config, _read_json(scorer / "preprocessor_config.json"), tower)
    return paths


def read_safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a file in bfloat16 or float32, by name, as float32."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        raw = content[start + first : start + last]
        if entry["dtype"] == "BF16":  # the upper half of a float32
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F32":
            flat = np.frombuffer(raw, "<f4")
        else:
            raise ValueError(f"{path.name}: {name} is {entry['dtype']}; only BF16 and F32 are read.")
        yield name, flat.reshape(entry["shape"])


def gguf_tensors(name: str, tensor: Tensor, tapped: list[int]) -> dict[str, Tensor]:
    """One tensor of transformers' Qwen3-VL under llama.cpp's name for it.

    `tapped` are the tower's blocks whose output also enters the language model (deepstack). The patch embedding becomes
    two: one for each of the two frames that a still picture is doubled to.
    """
    stem, _, ending = name.rpartition(".")
    if stem == "model.visual.patch_embed.proj" and ending == "weight":
        return {"v.patch_embd.weight": tensor[:, :, 0], "v.patch_embd.weight.1": tensor[:, :, 1]}
    if stem in WHOLE_NAMES:
        return {f"{WHOLE_NAMES[stem]}.{ending}": tensor}
    numbered = NUMBERED.fullmatch(stem)
    if numbered is None:
        raise ValueError(f"{name} has no name in GGUF.")
    part, number, rest = numbered[1], int(numbered[2]), numbered[3]
    if part == "language_model.layers":
        return {f"blk.{number}.{LAYER_NAMES[rest]}.{ending}": tensor}
    if part == "visual.blocks":
        return {f"v.blk.{number}.{BLOCK_NAMES[rest]}.{ending}": tensor}
    return {f"v.deepstack.{tapped[number]}.{MERGER_NAMES[rest]}.{ending}": tensor}


def _write_language_model(
    path: Path, config: Mapping[str, Any], scorer: Path, tensors: Mapping[str, Tensor], form: Form
) -> None:
    import gguf

    text = config["text_config"]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3VL])
    writer.add_name("RationalRewards miniature scorer")
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if form == "f32" else f"MOSTLY_{form.upper()}"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(text["rope_theta"])
    writer.add_rope_dimension_sections([*text["rope_scaling"]["mrope_section"], 0])
    writer.add_num_deepstack_layers(len(config["vision_config"]["deepstack_visual_indexes"]))
    _add_tokeniser(writer, scorer, text)
    _finish(writer, tensors, form)


def _add_tokeniser(writer: Any, scorer: Path, text: Mapping[str, Any]) -> None:
    import gguf

    described = _read_json(scorer / "tokenizer.json")
    tokens = [f"[unused {number}]" for number in range(text["vocab_size"])]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for token, number in described["model"]["vocab"].items():
        tokens[number], kinds[number] = token, gguf.TokenType.NORMAL
    for added in described["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in described["model"]["merges"]])
    writer.add_eos_token_id(text["eos_token_id"])
    writer.add_pad_token_id(text["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((scorer / "chat_template.jinja").read_text(encoding="utf-8"))


def _write_tower(
    path: Path, config: Mapping[str, Any], pictures: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    import gguf

    vision = config["vision_config"]
    side = int(vision["num_position_embeddings"] ** 0.5) * vision["patch_size"]
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN3VL)
    writer.add_vision_image_size(side)
    writer.add_vision_patch_size(vision["patch_size"])
    writer.add_vision_embedding_length(vision["hidden_size"])
    writer.add_vision_feed_forward_length(vision["intermediate_size"])
    writer.add_vision_block_count(vision["depth"])
    writer.add_vision_head_count(vision["num_heads"])
    writer.add_vision_projection_dim(vision["out_hidden_size"])
    writer.add_vision_spatial_merge_size(vision["spatial_merge_size"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_use_gelu(True)
    writer.add_vision_is_deepstack_layers([n in vision["deepstack_visual_indexes"] for n in range(vision["depth"])])
    writer.add_vision_image_mean(pictures["image_mean"])
    writer.add_vision_image_std(pictures["image_std"])
    writer.add_vision_min_pixels(pictures["size"]["shortest_edge"])
    writer.add_vision_max_pixels(pictures["size"]["longest_edge"])
    _finish(writer, tensors)


def _finish(writer: Any, tensors: Mapping[str, Tensor], form: Form = "f32") -> None:
    import gguf

    layers = sum(name.endswith(".ffn_down.weight") for name in tensors)
    for name, tensor in tensors.items():
        whole = np.ascontiguousarray(tensor)
        if form == "f32" or tensor.ndim != 2:
            writer.add_tensor(name, whole)
        else:
            kind = mixed_form(name, whole.shape[1], layers) if form == "q4_k_m" else form.upper()
            stored = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, _quantised(whole, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def mixed_form(name: str, width: int, layers: int) -> str:
    """How llama.cpp's Q4_K_M stores one matrix with rows of `width` numbers: two of its kinds have more bits in some layers."""
    layer = re.match(r"blk\.(\d+)\.(attn_v|ffn_down)\.", name)
    number = int(layer[1]) if layer else 0
    eighth = layers // 8
    finer = layer is not None and (number < eighth or number >= 7 * layers // 8 or (number - eighth) % 3 == 2)
    kind = "Q6_K" if finer or name == "token_embd.weight" else "Q4_K"  # the embedding is the output matrix too
    return kind if width % 256 == 0 else FALLBACKS[kind]


def _quantised(tensor: Tensor, stored: Any) -> npt.NDArray[np.uint8]:
    """The rows in one of llama.cpp's forms; those that the package `gguf` cannot write are written by llama.cpp's own code."""
    import gguf

    if not stored.name.endswith("_K"):
        quantised: npt.NDArray[np.uint8] = gguf.quants.quantize(tensor, stored)
        return quantised
    from xllamacpp import xllamacpp

    block, size = gguf.GGML_QUANT_SIZES[stored]
    rows, width = tensor.shape
    blocks = np.zeros((rows, width // block * size), np.uint8)
    chunk = ctypes.CDLL(xllamacpp.__file__).ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    source, target = ctypes.c_void_p(tensor.ctypes.data), ctypes.c_void_p(blocks.ctypes.data)
    numbers = [ctypes.c_int64(number) for number in (0, rows, width)]
    assert chunk(ctypes.c_int(stored), source, target, *numbers, None) == blocks.nbytes
    return blocks


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a miniature scorer as GGUF for llama.cpp.")
    parser.add_argument("scorer", type=Path, help="the scorer's folder")
    parser.add_argument("folder", type=Path, help="where the two files go")
    parser.add_argument("--form", choices=get_args(Form), default="f32", help="how matrices are stored (default: f32)")
    arguments = parser.parse_args()
    for path in write_gguf(arguments.scorer, arguments.folder, arguments.form):
        print(path)


if __name__ == "__main__":
    main()
