#!/bin/sh
# bitsandbytes 0.50.2: on a CPU the outlier threshold of int8 layers does nothing.
#
# LLM.int8() keeps columns with activations above the threshold (6.0 by default, in transformers' configuration too) in 16
# bits, because one large value in a row makes all others of the row too small for 8 bits. A layer on the CPU takes the
# threshold and gives bit for bit what it gives without one: the large column is quantised with the rest. With one activation
# of 200 beside 127 ordinary ones, what the ordinary ones add to the result is off by a tenth; kept apart it would be off by a
# hundredth. Scores of an int8 judge on a CPU are so no measure of the same judge on a GPU, where the column is kept apart.
#
# Seen with Python 3.11.7, torch 2.13.0:
#     threshold 0.0: error 0.119 of what the ordinary activations add
#     threshold 6.0: error 0.119 of what the ordinary activations add
#     the large column multiplied apart by hand: error 0.007
#
# Fails (1) if the threshold changes the result. Needs python3, a machine without a GPU and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy bitsandbytes==0.50.2

cat > "$folder/program.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import bitsandbytes
import torch

torch.manual_seed(0)
weight = torch.randn(64, 128)
ordinary = torch.randn(16, 128)
ordinary[:, 5] = 0.0
large = torch.zeros(16, 128)
large[:, 5] = 200.0


def layer(threshold):
    made = bitsandbytes.nn.Linear8bitLt(128, 64, bias=False, has_fp16_weights=False, threshold=threshold)
    made.weight = bitsandbytes.nn.Int8Params(weight.clone(), requires_grad=False, has_fp16_weights=False)
    return made.to("cpu")


def error(output):
    right = ordinary @ weight.T
    return ((output - large @ weight.T - right).norm() / right.norm()).item()


without, with_threshold = (layer(threshold)(ordinary + large) for threshold in (0.0, 6.0))
apart = layer(0.0)(ordinary) + large @ weight.T
print(f"threshold 0.0: error {error(without):.3f} of what the ordinary activations add")
print(f"threshold 6.0: error {error(with_threshold):.3f} of what the ordinary activations add")
print(f"the large column multiplied apart by hand: error {error(apart):.3f}")
raise SystemExit(not torch.equal(without, with_threshold))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
