#!/bin/sh
# diffusers 0.42.1: `VaeImageProcessor(resample="lanczos")` scales a PIL image so, and a tensor by leaving pixels out.
#
# Pipelines take a picture as a PIL image, an array or a tensor, and their image processor makes the same of it; its `resample`,
# lanczos by default, says how pictures are scaled. It is read for PIL images alone. Arrays and tensors go through `interpolate`
# with its own default, the nearest pixel, and no argument changes that. One picture of fine stripes, halved, is grey as a PIL
# image and black as a tensor: textures and text of a source picture come to the encoder in another form, by how they were held.
#
# Seen with Python 3.11.7, torch 2.13.0, pillow 13.0.0, stripes of one black and one white pixel, 64 pixels scaled to 32:
#     PIL image: mean 0.50
#     numpy array: mean 0.00
#     torch tensor: mean 0.00
#
# Fails (1) if all three are the same. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 pillow==13.0.0

cat > "$folder/program.py" <<'PYTHON'
import numpy
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

stripes = numpy.zeros((64, 64, 3), dtype=numpy.uint8)
stripes[:, 1::2] = 255
numbers = stripes.astype(numpy.float32)[None] / 255
pictures = {
    "PIL image": Image.fromarray(stripes),
    "numpy array": numbers,
    "torch tensor": torch.from_numpy(numbers).permute(0, 3, 1, 2),
}
processor = VaeImageProcessor(vae_scale_factor=8, resample="lanczos", do_normalize=False)
means = []
for name, picture in pictures.items():
    means.append(round(processor.preprocess(picture, height=32, width=32).mean().item(), 2))
    print(f"{name}: mean {means[-1]:.2f}")
raise SystemExit(len(set(means)) == 1)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
