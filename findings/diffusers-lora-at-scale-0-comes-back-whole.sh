#!/bin/sh
# diffusers 0.42.1: one call with the LoRA scaled to 0 sets its weight to 1 for all later calls.
#
# A LoRA is set to a weight of 0.3 with `set_adapters`. A call may scale it further for itself alone: `{"scale": 0.5}` in the
# attention's arguments halves it there, and the next call has 0.3 again. To compare with the untuned model one gives 0. That
# call is right, but the way back divides by the scale, and where it is 0 sets the weight to 1 instead: from then on the LoRA
# counts more than three times what was set. A script that shows pictures with and without makes each picture but the first
# with another strength, and nothing is said.
#
# Seen with Python 3.11.7, torch 2.13.0, peft 0.21.2, a tiny random SD3 transformer:
#     set to 0.3: the LoRA changes the output by 0.0058
#     after a call with scale 0.5: by 0.0058, weight 0.3
#     after a call with scale 0.0: by 0.0197, weight 1.0
#
# Fails (1) if the weight is 0.3 in the end. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2

cat > "$folder/program.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers import SD3Transformer2DModel
from peft import LoraConfig

torch.manual_seed(0)
model = SD3Transformer2DModel(
    sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
    joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=16, out_channels=4, pos_embed_max_size=8,
).eval()
model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights=False), "tuned")
model.set_adapters("tuned", 0.3)
given = {
    "hidden_states": torch.randn(1, 4, 8, 8), "encoder_hidden_states": torch.randn(1, 4, 32),
    "pooled_projections": torch.randn(1, 16), "timestep": torch.tensor([500.0]),
}


@torch.no_grad()
def output(scale=1.0):
    return model(**given, joint_attention_kwargs={"scale": scale}).sample


model.disable_lora()
untuned = output()
model.enable_lora()
print(f"set to 0.3: the LoRA changes the output by {(output() - untuned).abs().max():.4f}")
for scale in (0.5, 0.0):
    output(scale)
    (weight,) = model.transformer_blocks[0].attn.to_q.scaling.values()
    print(f"after a call with scale {scale}: by {(output() - untuned).abs().max():.4f}, weight {weight:.1f}")
raise SystemExit(abs(weight - 0.3) < 1e-6)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
