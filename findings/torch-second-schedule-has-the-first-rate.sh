#!/bin/sh
# torch 2.13.0: a second LambdaLR on an optimiser trains at the rate that the first one had, whatever was set in between.
#
# A second phase of training goes on with the same optimiser, for its moments: the rate of every group is set to a hundredth and
# a new schedule is made. A schedule takes the rate that it meets, one would think. The first one has left `initial_lr` in
# the groups, though, and every later one starts from that: LambdaLR, on which all of transformers' schedules stand, puts the
# old rate back at once. CosineAnnealingLR and StepLR go from the rate in the group, and obey. So the same two lines give a
# rate that is right with one class and a hundred times too high with another; nothing is said. `initial_lr` has to be set too.
#
# Seen with Python 3.11.7, a first phase at 1e-3, then 1e-5 set for the second:
#     LambdaLR: 1e-03
#     CosineAnnealingLR: 1e-05
#     StepLR: 1e-05
#
# Fails (1) if LambdaLR trains at 1e-5. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy

cat > "$folder/program.py" <<'PYTHON'
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR


def constant(step):
    return 1.0


rates = {}
for schedule, argument in ((LambdaLR, constant), (CosineAnnealingLR, 1000), (StepLR, 1000)):
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    first = LambdaLR(optimiser, constant)
    optimiser.step()
    first.step()
    for group in optimiser.param_groups:
        group["lr"] = 1e-5
    schedule(optimiser, argument)
    rates[schedule.__name__] = optimiser.param_groups[0]["lr"]
    print(f"{schedule.__name__}: {rates[schedule.__name__]:.0e}")
raise SystemExit(not (rates["LambdaLR"] == 1e-3 and rates["CosineAnnealingLR"] == 1e-5))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
