#!/bin/sh
# diffusers 0.42.1: `unfuse_lora()` does not undo `fuse_lora(lora_scale=0.5)`: the LoRA stays at half its strength.
#
# Fusing writes the LoRA into the weights, at the scale that is given; unfusing takes it out again, and the weights are what
# they were. The LoRA beside them is not: the scale was multiplied into its own strength and is left there. Fused with 0.5 a
# second time it is in the weights with a quarter, then with an eighth. Whoever fuses for speed, unfuses to change something
# and fuses again has less of the LoRA with every round, and nothing is said.
#
# Seen with Python 3.11.7, torch 2.13.0, peft 0.21.2, a tiny random SD3 transformer:
#     the LoRA, never fused: strength 1.0, changes the output by 0.0097
#     fused with 0.5: changes the output by 0.0049
#     unfused: strength 0.5, changes the output by 0.0049
#     fused with 0.5 again: changes the output by 0.0025
#
# Fails (1) if the strength is 1.0 after unfusing. Needs python3 and pip's package index; takes a minute.
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
given = {
    "hidden_states": torch.randn(1, 4, 8, 8), "encoder_hidden_states": torch.randn(1, 4, 32),
    "pooled_projections": torch.randn(1, 16), "timestep": torch.tensor([500.0]),
}


@torch.no_grad()
def output():
    return model(**given).sample


untuned = output()
model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights=False))


def change():
    return f"changes the output by {(output() - untuned).abs().max():.4f}"


def strength():
    (scaling,) = model.transformer_blocks[0].attn.to_q.scaling.values()
    return scaling


print(f"the LoRA, never fused: strength {strength()}, {change()}")
model.fuse_lora(lora_scale=0.5)
print(f"fused with 0.5: {change()}")
model.unfuse_lora()
left = strength()
print(f"unfused: strength {left}, {change()}")
model.fuse_lora(lora_scale=0.5)
print(f"fused with 0.5 again: {change()}")
raise SystemExit(left == 1.0)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
