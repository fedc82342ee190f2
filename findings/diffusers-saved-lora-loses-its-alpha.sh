#!/bin/sh
# diffusers 0.42.1: a LoRA saved by a pipeline's `save_lora_weights` comes back with another strength.
#
# A transformer is given a LoRA of rank 4 and lora_alpha 16, so that it counts 16 / 4 = 4 times. It is saved as the
# method asks for it, its state by peft's `get_peft_model_state_dict`, and loaded into the same
# transformer. The file holds neither the alpha nor a word about it, and what loads takes alpha = rank: the LoRA counts once, a
# quarter of what was trained, and nothing is said. The weights are there to the bit; only an optional argument,
# `transformer_lora_adapter_metadata`, would have kept the alpha. `save_lora_adapter` of the model keeps it without being asked.
#
# Seen with Python 3.11.7, torch 2.13.0, peft 0.21.2, a tiny random SD3 transformer:
#     trained: scale 4.0, changes the output by 0.0276
#     saved and loaded: scale 1.0, changes the output by 0.0069
#
# Fails (1) if both scales are the same. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2

cat > "$folder/program.py" <<'PYTHON'
import tempfile
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from peft import LoraConfig, get_peft_model_state_dict


def transformer():
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=16, out_channels=4, pos_embed_max_size=8,
    )


def velocity(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return model(
            hidden_states=torch.randn(1, 4, 8, 8, generator=generator),
            encoder_hidden_states=torch.randn(1, 3, 32, generator=generator),
            pooled_projections=torch.randn(1, 16, generator=generator),
            timestep=torch.tensor([500.0]),
        ).sample


def strength(title, model):
    (scale,) = model.transformer_blocks[0].attn.to_q.scaling.values()
    change = (velocity(model) - velocity(transformer())).abs().mean().item()
    print(f"{title}: scale {scale}, changes the output by {change:.4f}")
    return scale


tuned = transformer()
tuned.add_adapter(LoraConfig(r=4, lora_alpha=16, target_modules=["to_q", "to_v"], init_lora_weights=False))
with tempfile.TemporaryDirectory() as folder:
    StableDiffusion3Pipeline.save_lora_weights(folder, transformer_lora_layers=get_peft_model_state_dict(tuned))
    state = StableDiffusion3Pipeline.lora_state_dict(folder)
again = transformer()
again.load_lora_adapter(state, prefix="transformer")
raise SystemExit(strength("trained", tuned) == strength("saved and loaded", again))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
