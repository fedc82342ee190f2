#!/bin/sh
# bitsandbytes 0.50.2 on a CPU: a NaN that is stored in 8 bits comes back as an ordinary number, the block's lowest.
#
# Whoever stores a tensor in blocks of 8 bits (optimiser states, gradients on their way, scales of 4-bit weights) counts on what is
# broken staying broken: 4-bit blocks do, one NaN makes a NaN of all 64 values of its block, and a check afterwards finds it.
# The 8-bit blocks leave the NaN out when they look for the block's largest value and give it the first code of their table, which
# stands for about minus that value. So the neighbours are as they were, the NaN is gone, in its place is the most negative
# number that the block can hold, and isnan() or isfinite() after a round trip says that all is well.
#
# Seen with Python 3.11.7 and torch 2.13.0 (CPU), 256 normal values, the eighth a NaN:
#     4 bits (nf4): 64 NaN
#     8 bits: 0 NaN, the eighth is -3.39, the largest of the others 3.41
#
# Fails (1) if the NaN comes back from 8 bits. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy bitsandbytes==0.50.2

cat > "$folder/program.py" <<'PYTHON'
import torch
from bitsandbytes import functional

values = torch.randn(256, generator=torch.Generator().manual_seed(0))
values[7] = float("nan")
four = functional.dequantize_4bit(*functional.quantize_4bit(values, quant_type="nf4"))
eight = functional.dequantize_blockwise(*functional.quantize_blockwise(values, blocksize=256))
largest = values[~values.isnan()].abs().max().item()
print(f"4 bits (nf4): {four.isnan().sum().item()} NaN")
print(f"8 bits: {eight.isnan().sum().item()} NaN, the eighth is {eight[7].item():.2f}, the largest of the others {largest:.2f}")
raise SystemExit(not (four.isnan().sum() == 64 and eight.isfinite().all() and -largest <= eight[7] < -0.98 * largest))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
