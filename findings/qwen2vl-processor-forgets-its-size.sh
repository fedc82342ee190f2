#!/bin/sh
# transformers 4.57.6: the image processor of Qwen2-VL and Qwen3-VL, in the form that is used without torchvision, throws a
# valid `size` of its config away.
#
# A processor saved with size {"shortest_edge": 2304, "longest_edge": 2304} has to make every picture 2304 pixels large, and
# with torchvision it does. Without torchvision AutoImageProcessor takes the older class, which keeps a given size only if
# a key of it is missing (and then raises): otherwise it falls back to 56 * 56 and 28 * 28 * 1280. A 48 x 48 picture becomes
# 196 patches of 4 x 4 instead of 144, so a model sees other pixels than it was trained with, without a word. Setting
# `.size` afterwards changes nothing, because `min_pixels` and `max_pixels` are what is used.
#
# Seen with Python 3.11.7, torch 2.13.0+cpu, no torchvision:
#     transformers 4.57.6: size in the file 2304 to 2304, in use 3136 to 1003520; 196 patches, 144 expected
#
# Fails (1) if that changes. Needs python3 and pip's package index; takes a few minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==4.57.6 pillow

cat > "$folder/program.py" <<'PYTHON'
import json
import logging
import sys
from pathlib import Path

import numpy
import transformers
from PIL import Image

logging.disable(logging.WARNING)
folder = Path(sys.argv[1])
config = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "patch_size": 4,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 2304, "longest_edge": 2304},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
folder.mkdir()
(folder / "preprocessor_config.json").write_text(json.dumps(config))
processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
picture = Image.fromarray(numpy.zeros((48, 48, 3), dtype=numpy.uint8))
patches = len(processor([picture], return_tensors="np")["pixel_values"])
used = processor.size
print(
    f"transformers {transformers.__version__}: size in the file 2304 to 2304, in use {used['shortest_edge']} to "
    f"{used['longest_edge']}; {patches} patches, 144 expected"
)
raise SystemExit(patches != 196)
PYTHON

export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" "$folder/program.py" "$folder/processor"
