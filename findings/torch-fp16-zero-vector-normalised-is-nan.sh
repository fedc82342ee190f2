#!/bin/sh
# torch 2.13.0: in half precision the guard against dividing by zero is itself zero.
#
# `normalize` and `cosine_similarity` divide by the length, but by no less than `eps`, so that a vector of zeros stays one and
# is like nothing (0). Their defaults are 1e-12 and 1e-8, and the smallest number above zero that fp16 knows is 6e-8: converted to the
# tensor's type both are 0, and 0 / 0 is NaN. bf16 has fp32's range and is as one expects. An embedding of zeros is not
# made up: a masked or padded row, a picture that gave no tokens. One such row makes the mean similarity of a batch NaN in fp16, and
# neither function says that the `eps` it was given means nothing.
#
# Seen with Python 3.11.7 on a CPU:
#     float32: normalised 0.0, similarity 0.0
#     bfloat16: normalised 0.0, similarity 0.0
#     float16: normalised nan, similarity nan
#
# Fails (1) if fp16 gives numbers. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy

cat > "$folder/program.py" <<'PYTHON'
import torch
import torch.nn.functional as F

numbers = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    nothing, something = torch.zeros(1, 8, dtype=dtype), torch.ones(1, 8, dtype=dtype)
    numbers[dtype] = F.normalize(nothing)[0, 0].item(), F.cosine_similarity(nothing, something).item()
    print(f"{str(dtype).removeprefix('torch.')}: normalised {numbers[dtype][0]}, similarity {numbers[dtype][1]}")
broken = numbers.pop(torch.float16)
raise SystemExit(not (all(value != value for value in broken) and all(pair == (0.0, 0.0) for pair in numbers.values())))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
