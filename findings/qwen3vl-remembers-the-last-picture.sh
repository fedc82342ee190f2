#!/bin/sh
# transformers 5.23.0: what a Qwen3-VL computes for a text depends on the picture that it saw in the call before.
#
# A text of four tokens is read into a cache of its own, then one more token is given with that cache, by plain calls of the
# model. Between two such rounds the same model reads another prompt, with a picture, into nothing. The second round gives
# other scores for the same tokens: the model keeps the shift of positions that a picture causes (`rope_deltas`) on itself, not
# in the cache, and a prompt without a picture does not take it back. Programs that decode by hand, keep several
# conversations, or interleave requests get wrong positions without a word. `generate()` prepares its positions and is right.
#
# Seen with Python 3.11.7, torch 2.13.0, a tiny random model:
#     the same text again: scores differ by 0.00
#     the same text after a picture: scores differ by 0.92
#
# Fails (1) if a picture changes nothing. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > "$folder/program.py" <<'PYTHON'
import torch
from transformers import DynamicCache, Qwen3VLConfig, Qwen3VLForConditionalGeneration

IMAGE, START, END = 190, 192, 193
torch.manual_seed(0)
config = Qwen3VLConfig(
    text_config={
        "vocab_size": 200, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.2,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
        },
    },
    vision_config={
        "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 4, "out_hidden_size": 32,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
    },
    image_token_id=IMAGE, vision_start_token_id=START, vision_end_token_id=END,
)
model = Qwen3VLForConditionalGeneration(config).eval()
with torch.no_grad():
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.copy_(torch.randn(weights.shape) * 0.2)


@torch.no_grad()
def scores():
    cache = DynamicCache(config=model.config.text_config)
    model(input_ids=torch.tensor([[5, 6, 7, 8]]), past_key_values=cache, use_cache=True)
    return model(input_ids=torch.tensor([[9]]), past_key_values=cache, use_cache=True).logits


@torch.no_grad()
def look():
    prompt = torch.tensor([[5, START] + [IMAGE] * 16 + [END, 6]])
    model(
        input_ids=prompt, pixel_values=torch.randn(64, 3 * 2 * 4 * 4), image_grid_thw=torch.tensor([[1, 8, 8]]),
        mm_token_type_ids=(prompt == IMAGE).long(),
    )


first = scores()
print(f"the same text again: scores differ by {(scores() - first).abs().max():.2f}")
look()
change = (scores() - first).abs().max().item()
print(f"the same text after a picture: scores differ by {change:.2f}")
raise SystemExit(change < 1e-3)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
