#!/bin/sh
# torch 2.13.0: `antialias=True` changes a bicubic enlargement, where there is nothing to smooth.
#
# Antialiasing widens the filter where a picture is made smaller. Made larger, the filter stays as it is, so that one expects the
# same picture with and without; for bilinear it is. Of cubics, though, `interpolate` has two: one with a = -0.75, and with
# `antialias=True` the one with a = -0.5 that Pillow has. The first overshoots an edge by half as much again. A program that
# enlarges with the flag and one that does without it, for it does nothing there, show a model different edges.
#
# Seen with Python 3.11.7, an edge from 0 to 1 enlarged 4 times, pillow 13.0.0:
#     bilinear: largest value 1.000, with antialias 1.000, differ by 0.000
#     bicubic: largest value 1.110, with antialias 1.073, differ by 0.037
#     bicubic of Pillow: largest value 1.073
#
# Fails (1) if both bicubic enlargements are the same. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy pillow==13.0.0

cat > "$folder/program.py" <<'PYTHON'
import numpy
import torch
from PIL import Image

edge = torch.zeros(1, 1, 16, 16)
edge[..., 8:] = 1.0
differ = {}
for mode in ("bilinear", "bicubic"):
    plain, smooth = (
        torch.nn.functional.interpolate(edge, size=(64, 64), mode=mode, antialias=antialias) for antialias in (False, True)
    )
    differ[mode] = (plain - smooth).abs().max().item()
    print(f"{mode}: largest value {plain.max():.3f}, with antialias {smooth.max():.3f}, differ by {differ[mode]:.3f}")
enlarged = numpy.asarray(Image.fromarray(edge[0, 0].numpy()).resize((64, 64), Image.Resampling.BICUBIC))
print(f"bicubic of Pillow: largest value {enlarged.max():.3f}")
raise SystemExit(not differ["bilinear"] < 1e-5 < 0.01 < differ["bicubic"])
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
