#!/bin/sh
# diffusers 0.42.1: DDPM's `add_noise` adds nothing to bf16 latents at the first two times, and too much at the third.
#
# How much noise belongs to a time follows from a table in fp32 that the scheduler keeps. It casts the table to the latents'
# type before it takes 1 minus an entry and the root of that. Near 1 a bf16 number is 0.004 from the next: entries of little noise
# become 1, and nothing is left. Of the 50 first times of Stable Diffusion's schedule a trainer with bf16 latents meets few
# amounts, at two of them none, where the model is still asked which noise it was. One would expect the rounding to cost the
# product its last bits. Euler's `add_noise` keeps what it needs as sigmas, where small numbers are as exact as large ones.
#
# Seen with Python 3.11.7, torch 2.13.0, latents of zeros and noise of ones, times 0, 1, 2, 5, 10, 20:
#     DDPMScheduler, float32: 0.0292 0.0413 0.0506 0.0718 0.0978 0.1367; 50 amounts in the first 50 times
#     DDPMScheduler, bfloat16: 0.0000 0.0000 0.0625 0.0625 0.0884 0.1396; 13 amounts in the first 50 times
#     EulerDiscreteScheduler, bfloat16: 0.0292 0.0413 0.0508 0.0718 0.0981 0.1377; 50 amounts in the first 50 times
#
# Fails (1) if DDPM adds noise at time 0 in bf16. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy diffusers==0.42.1

cat > "$folder/program.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler


def amounts(kind, dtype):
    scheduler = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    times = torch.arange(50)
    noisy = scheduler.add_noise(torch.zeros(50, 1, dtype=dtype), torch.ones(50, 1, dtype=dtype), times).flatten().tolist()
    few = " ".join(f"{noisy[time]:.4f}" for time in (0, 1, 2, 5, 10, 20))
    print(f"{kind.__name__}, {str(dtype)[6:]}: {few}; {len(set(noisy))} amounts in the first 50 times")
    return noisy


exact = amounts(DDPMScheduler, torch.float32)
coarse = amounts(DDPMScheduler, torch.bfloat16)
amounts(EulerDiscreteScheduler, torch.bfloat16)
raise SystemExit(not (exact[0] > 0 and coarse[0] == 0))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
