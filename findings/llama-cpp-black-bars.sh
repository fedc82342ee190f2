#!/bin/sh
# llama.cpp b11549 (PyPI xllamacpp 2026.10.11549): a Qwen3-VL sees a picture of 1280 x 720 between black bars.
#
# Qwen's towers see pictures in squares of 32 x 32 pixels, and 720 is 22.5 squares. The model's own image processor
# (transformers) scales to 22 and leaves no margin, as it was trained. llama.cpp rounds up to 23 and does not scale at all: it
# puts the picture in the middle of 1280 x 736 and paints what is left black. So one picture has 880 tokens in one program and
# 920 in the other, and the same weights look at a film still with bars. It holds for every size that is no multiple of 32: what
# they miss is scaled away here and black there. The reply tells: it is the one to a picture that has those bars already.
#
# Seen with Python 3.11.7, tiny random weights:
#     transformers 5.23.0: 1280 x 704, 880 tokens
#     llama.cpp: 920 tokens
#     the reply is the one to the picture scaled to 1280 x 736: False
#     the reply is the one to the picture with 8 black rows above and below: True
#
# Fails (1) if any of that changes. Needs python3 and pip's package index; takes two minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    xllamacpp==2026.10.11549 gguf==0.19.0 transformers==5.23.0 pillow==13.0.0

cat > "$folder/program.py" <<'PYTHON'
import base64
import io
import json
import logging
import sys
import urllib.request
from pathlib import Path

logging.disable(logging.WARNING)
import gguf
import numpy as np
import transformers
import xllamacpp
from PIL import Image

WIDTH, PATCH = 64, 16
MODEL, TOWER = Path(sys.argv[1], "model.gguf"), Path(sys.argv[1], "mmproj.gguf")
TOKENS = [chr(n) if 33 <= n <= 126 else chr(0x100 + n) for n in range(256)]  # close enough to GPT-2's table for ASCII
TOKENS += ["qz", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<end>"]
TEMPLATE = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
draw = np.random.default_rng(0)


def finish(writer, shapes):
    for name, shape in shapes.items():
        is_norm = name.endswith(".weight") and len(shape) == 1
        writer.add_tensor(name, (np.ones(shape) if is_norm else draw.normal(0, 0.2, shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model():
    writer = gguf.GGUFWriter(MODEL, "qwen3vl")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_key_length(WIDTH // 2)
    writer.add_value_length(WIDTH // 2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_sections([6, 5, 5, 0])
    writer.add_num_deepstack_layers(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(TOKENS) - 4) + [gguf.TokenType.CONTROL] * 4)
    writer.add_token_merges(["q z"])
    writer.add_eos_token_id(len(TOKENS) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    shapes = {"token_embd.weight": (len(TOKENS), WIDTH), "output.weight": (len(TOKENS), WIDTH), "output_norm.weight": (WIDTH,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}.weight"] = (WIDTH, WIDTH)
    for name, size in {"attn_norm": WIDTH, "ffn_norm": WIDTH, "attn_q_norm": WIDTH // 2, "attn_k_norm": WIDTH // 2}.items():
        shapes[f"blk.0.{name}.weight"] = (size,)
    finish(writer, shapes)


def write_tower():
    writer = gguf.GGUFWriter(TOWER, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN3VL)
    writer.add_vision_image_size(8 * PATCH)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(WIDTH)
    writer.add_vision_feed_forward_length(WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(2)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_spatial_merge_size(2)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_use_gelu(True)
    writer.add_vision_is_deepstack_layers([False])
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    patch = (WIDTH, 3, PATCH, PATCH)
    shapes = {"v.patch_embd.weight": patch, "v.patch_embd.weight.1": patch, "v.position_embd.weight": (64, WIDTH)}
    rows = {"v.blk.0.attn_qkv": 3 * WIDTH, "v.blk.0.attn_out": WIDTH, "v.blk.0.ffn_up": WIDTH, "v.blk.0.ffn_down": WIDTH}
    shapes |= {f"{name}.weight": (size, WIDTH) for name, size in rows.items()}
    shapes |= {"mm.0.weight": (4 * WIDTH, 4 * WIDTH), "mm.2.weight": (WIDTH, 4 * WIDTH)}
    norms = ("v.blk.0.ln1", "v.blk.0.ln2", "v.post_ln")
    shapes |= {f"{name}.weight": (WIDTH,) for name in norms}
    rows |= {"v.patch_embd": WIDTH, "mm.0": 4 * WIDTH, "mm.2": WIDTH} | {name: WIDTH for name in norms}
    shapes |= {f"{name}.bias": (size,) for name, size in rows.items()}
    finish(writer, shapes)


def ask(server, content):
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 1, "logprobs": True}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{server.listening_address}/v1/chat/completions", json.dumps({**body, "top_logprobs": 5}).encode(), headers
    )
    reply = json.load(urllib.request.urlopen(request))
    (token,) = reply["choices"][0]["logprobs"]["content"]
    return reply["usage"]["prompt_tokens"], [(top["id"], round(top["logprob"], 4)) for top in token["top_logprobs"]]


def look(server, picture):
    held = io.BytesIO()
    picture.save(held, "PNG")
    url = "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()
    return ask(server, [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "x"}])


coarse = Image.fromarray(draw.integers(0, 256, (24, 40, 3), dtype=np.uint8))
picture = coarse.resize((1280, 720), Image.Resampling.BICUBIC)
processor = transformers.Qwen2VLImageProcessorPil(
    patch_size=PATCH, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 65536, "longest_edge": 16777216},
)
_, high, wide = processor([picture], return_tensors="np")["image_grid_thw"][0]
print(f"transformers {transformers.__version__}: {wide * PATCH} x {high * PATCH}, {wide * high // 4} tokens")

write_model()
write_tower()
params = xllamacpp.CommonParams()
params.model.path, params.mmproj.path, params.n_ctx, params.n_parallel, params.port = str(MODEL), str(TOWER), 4096, 1, 0
server = xllamacpp.Server(params)
markers = 3  # the start, the end and the text's one letter
tokens, reply = look(server, picture)
print(f"llama.cpp: {tokens - markers} tokens")
scaled = look(server, picture.resize((1280, 736), Image.Resampling.BICUBIC))[1] == reply
print(f"the reply is the one to the picture scaled to 1280 x 736: {scaled}")
between = Image.new("RGB", (1280, 736))
between.paste(picture, (0, 8))
barred = look(server, between)[1] == reply
print(f"the reply is the one to the picture with 8 black rows above and below: {barred}")
raise SystemExit(not ((wide * high // 4, tokens - markers) == (880, 920) and barred and not scaled))
PYTHON

export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" "$folder/program.py" "$folder" 2> /dev/null
