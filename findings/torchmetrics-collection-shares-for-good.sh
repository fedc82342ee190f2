#!/bin/sh
# torchmetrics 1.9.0: two thresholds that agree on the first batch are one threshold for the rest of the evaluation.
#
# A MetricCollection counts once for metrics that need the same counts, accuracy and precision, say. One would expect it to
# tell by what they are set to. It tells by their counts after the first update: whatever is equal then shares one state from
# there on, and only one of them is updated. An accuracy at 0.3 and one at 0.7 are so joined as soon as the first batch holds no
# score between, which is usual for a judge that is mostly sure. From the second batch on both report the same, one of them
# wrong, and which one is right is a matter of order. `compute_groups=False`, or calling instead of `update`, gives the truth.
#
# Seen with Python 3.11.7, torch 2.13.0, a first batch of 0.1 and 0.9, then eight wrong answers at 0.5:
#     as it comes: at 0.3 1.00, at 0.7 1.00
#     compute_groups=False: at 0.3 0.20, at 0.7 1.00
#
# Fails (1) if both give the same. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy torchmetrics==1.9.0

cat > "$folder/program.py" <<'PYTHON'
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy


def accuracies(name, **settings):
    collection = MetricCollection({"low": BinaryAccuracy(threshold=0.3), "high": BinaryAccuracy(threshold=0.7)}, **settings)
    collection.update(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))
    collection.update(torch.full((8,), 0.5), torch.zeros(8, dtype=torch.long))
    reached = {threshold: accuracy.item() for threshold, accuracy in collection.compute().items()}
    print(f"{name}: at 0.3 {reached['low']:.2f}, at 0.7 {reached['high']:.2f}")
    return reached


raise SystemExit(accuracies("as it comes") == accuracies("compute_groups=False", compute_groups=False))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
