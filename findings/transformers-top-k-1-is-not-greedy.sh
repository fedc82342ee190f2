#!/bin/sh
# transformers 5.23.0: sampling with top_k=1 is not greedy; a bf16 model writes another text at every seed.
#
# `do_sample=True, top_k=1` is the usual way to ask for the likeliest token where a program always samples. The filter keeps
# every token whose score is not below the best, and in bf16, with its 8 bits of mantissa, the best score is often shared: with
# 151,936 random scores at a spread of 3, in about one step of twenty. Between equals it is drawn by chance, so one request is
# answered in several ways, though nothing but the likeliest token was allowed. Greedy decoding takes the first of them.
#
# Seen with Python 3.11.7, torch 2.13.0, a random Qwen3 with 151,936 tokens in bf16, 48 tokens a text:
#     greedy: 1 text in 8 seeds
#     top_k=1: 5 texts in 8 seeds
#
# Fails (1) if top_k=1 gives one text, or greedy more. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

cat > "$folder/program.py" <<'PYTHON'
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

torch.manual_seed(0)
config = Qwen3Config(
    vocab_size=151936, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, initializer_range=0.4, tie_word_embeddings=False, bos_token_id=0, eos_token_id=None,
)
model = Qwen3ForCausalLM(config).to(torch.bfloat16).eval()
request = torch.arange(10, 20)[None]


def texts(**settings):
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        reply = model.generate(request, attention_mask=torch.ones_like(request), max_new_tokens=48, pad_token_id=0, **settings)
        seen.add(tuple(reply[0].tolist()))
    return len(seen)


greedy = texts(do_sample=False)
print(f"greedy: {greedy} text in 8 seeds")
likeliest = texts(do_sample=True, top_k=1)
print(f"top_k=1: {likeliest} texts in 8 seeds")
raise SystemExit(not (greedy == 1 and likeliest > 1))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
