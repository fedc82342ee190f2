#!/bin/sh
# peft 0.21.2: `add_weighted_adapter(..., combination_type="linear")` does not give the linear combination of two LoRAs.
#
# The mean of two adapters, weights 0.5 and 0.5, ought to change the model by the mean of their changes. "linear" averages the
# two A matrices and the two B matrices apart instead, so that the product holds half of each adapter's change, mixed with
# products of one's A and the other's B, which belong to neither. For two adapters that were trained apart the difference is
# as large as the mean itself; adapters of one origin show it less. "cat" gives the combination exactly, at the sum of the
# ranks. Nothing is said in either case.
#
# Seen with Python 3.11.7, torch 2.13.0, two random adapters of rank 4:
#     linear: rank 4, differs from the mean of both by 1.00 of its size
#     cat: rank 8, differs from the mean of both by 0.00 of its size
#
# Fails (1) if "linear" is within a tenth. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 peft==0.21.2

cat > "$folder/program.py" <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model

torch.manual_seed(0)
config = {"r": 4, "lora_alpha": 8, "target_modules": ["0"], "init_lora_weights": False}
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(64, 64)), LoraConfig(**config), adapter_name="red")
model.add_adapter("blue", LoraConfig(**config))
layer = model.base_model.model[0]
mean = (layer.get_delta_weight("red") + layer.get_delta_weight("blue")) / 2
errors = {}
for way in ("linear", "cat"):
    model.add_weighted_adapter(["red", "blue"], [0.5, 0.5], way, combination_type=way)
    errors[way] = ((layer.get_delta_weight(way) - mean).norm() / mean.norm()).item()
    print(f"{way}: rank {layer.r[way]}, differs from the mean of both by {errors[way]:.2f} of its size")
raise SystemExit(errors["linear"] < 0.1)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
