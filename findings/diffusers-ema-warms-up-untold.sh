#!/bin/sh
# diffusers 0.42.1: `EMAModel(decay=0.9999, use_ema_warmup=False)` warms up all the same: its decay is 0.9999 after 90,000 steps.
#
# With the warm-up off one expects the decay that was given, from the first step to the last. Off means another warm-up: the
# decay of a step is (1 + step) / (10 + step) until that exceeds what was given. The argument chooses between two curves, and no
# value of it gives a constant. A fine-tuning of 1,000 steps is averaged over its last hundred or so, not over all of them, and
# 0.999, 0.9999 and 0.99999 give it the same average to the bit, so that a search for the best decay compares equals. With the
# argument on, the default curve is slower still. Only `min_decay=0.9999` beside `decay` gives what was asked, from the second step on.
#
# Seen with Python 3.11.7, torch 2.13.0, a weight that is 0 at first and 1 from then on, its average after 1,000 steps:
#     decay 0.999: last decay used 0.9911, average 1.0000; a constant decay gives 0.6323
#     decay 0.9999: last decay used 0.9911, average 1.0000; a constant decay gives 0.0952
#     decay 0.99999: last decay used 0.9911, average 1.0000; a constant decay gives 0.0100
#
# Fails (1) if a decay that was given is used. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy diffusers==0.42.1

cat > "$folder/program.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers.training_utils import EMAModel

STEPS = 1000
obeyed = False
for decay in (0.999, 0.9999, 0.99999):
    weight = torch.nn.Parameter(torch.zeros(1))
    average = EMAModel([weight], decay=decay, use_ema_warmup=False)
    weight.data.fill_(1.0)
    for _ in range(STEPS):
        average.step([weight])
    used, (shadow,) = average.cur_decay_value, average.shadow_params
    obeyed = obeyed or abs(used - decay) < 1e-6
    constant = 1 - decay**STEPS
    print(f"decay {decay}: last decay used {used:.4f}, average {shadow.item():.4f}; a constant decay gives {constant:.4f}")
raise SystemExit(obeyed)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
