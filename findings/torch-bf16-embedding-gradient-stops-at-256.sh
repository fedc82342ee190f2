#!/bin/sh
# torch 2.13.0 on a CPU: an embedding's gradient in bf16 stops growing at 256, whatever the token's number.
#
# The backward pass of `Embedding`, and of indexing (`table[ids]`), adds one position after the other in the gradient's own type.
# bf16 has 8 bits of precision: 256 + 1 is 256, so a token that stands 1,000 or 10,000 times in a batch gets the gradient of 256 of its
# places; fp16 stops at 2,048. `table.index_select(0, ids)`, which looks up the same rows, sums in fp32 and is right up to rounding, and so
# are sums over a batch by broadcasting. In a vision-language model the token that stands for image patches, and padding, occur that
# often; whoever trains input embeddings in bf16 on a CPU trains the commonest tokens least, and no number is out of range.
#
# Seen with Python 3.11.7:
#     bfloat16, 10000 times: embedding 256.0, indexing 256.0, index_select 9984.0
#     float16, 10000 times: embedding 2048.0, indexing 2048.0, index_select 10000.0
#     float32, 10000 times: embedding 10000.0, indexing 10000.0, index_select 10000.0
#
# Fails (1) if embedding and indexing sum as index_select does. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy

cat > "$folder/program.py" <<'PYTHON'
import torch
import torch.nn.functional as F

TIMES = 10_000
ids = torch.zeros(TIMES, dtype=torch.long)
lookups = {
    "embedding": lambda table: F.embedding(ids, table),
    "indexing": lambda table: table[ids],
    "index_select": lambda table: table.index_select(0, ids),
}
gradients = {}
for dtype in (torch.bfloat16, torch.float16, torch.float32):
    row = {}
    for name, lookup in lookups.items():
        table = torch.ones(2, 4, dtype=dtype, requires_grad=True)
        lookup(table).sum().backward()
        row[name] = table.grad[0, 0].item()
    gradients[dtype] = list(row.values())
    print(f"{str(dtype).removeprefix('torch.')}, {TIMES} times: " + ", ".join(f"{n} {g}" for n, g in row.items()))
expected = {torch.bfloat16: [256.0, 256.0, 9984.0], torch.float16: [2048.0, 2048.0, 10000.0], torch.float32: [10000.0] * 3}
raise SystemExit(gradients != expected)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
