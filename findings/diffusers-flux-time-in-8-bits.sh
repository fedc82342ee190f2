#!/bin/sh
# diffusers 0.42.1: a FLUX transformer in bf16 can't tell neighbouring noise levels apart.
#
# The time of a step, 0 to 1, is given in fp32. SD3's transformer embeds it in fp32 and casts the embedding. FLUX's, like
# FLUX.2's and Qwen-Image's, first casts the time itself to the weights' type: bf16 has 8 bits, so between 0.5 and 1 there are
# 128 times, 0.0039 apart, and a step is computed for the nearest. Schedules that are shifted towards noise put their steps just
# there: of 50 times between 0.900 and 0.998 a bf16 FLUX sees 25. Trainers that draw times continuously train on those alone,
# and other programs that embed the time in fp32 ask the same weights at times that they were never trained on.
#
# Seen with Python 3.11.7, torch 2.13.0, tiny random models, 50 times from 0.900 to 0.998:
#     FluxTransformer2DModel, float32: 50 outputs
#     FluxTransformer2DModel, bfloat16: 25 outputs
#     SD3Transformer2DModel, bfloat16: 50 outputs
#
# Fails (1) if the bf16 FLUX tells all 50 apart. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.23.0

cat > "$folder/program.py" <<'PYTHON'
import logging
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

TIMES = [0.9 + 0.002 * step for step in range(50)]


def flux():
    return FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    ), {"hidden_states": (1, 16, 4), "img_ids": (16, 3), "txt_ids": (4, 3)}, 1.0


def sd3():
    return SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, out_channels=4, pos_embed_max_size=8,
    ), {"hidden_states": (1, 4, 8, 8)}, 1000.0


def outputs(make, dtype):
    torch.manual_seed(0)
    model, shapes, scale = make()
    model = model.to(dtype).eval()
    shapes = {"encoder_hidden_states": (1, 4, 32), "pooled_projections": (1, 32), **shapes}
    given = {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}
    with torch.no_grad():
        seen = {tuple(model(timestep=torch.tensor([scale * t]), **given).sample.flatten().tolist()) for t in TIMES}
    print(f"{type(model).__name__}, {str(dtype)[6:]}: {len(seen)} outputs")
    return len(seen)


outputs(flux, torch.float32)
coarse = outputs(flux, torch.bfloat16)
outputs(sd3, torch.bfloat16)
raise SystemExit(coarse == len(TIMES))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
