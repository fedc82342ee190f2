#!/bin/sh
# diffusers 0.42.1: `load_lora_adapter` does not find what `save_lora_adapter` has just written.
#
# The two methods of a model are made for each other: save to a folder, load from that folder. Saved with the defaults, the
# folder holds pytorch_lora_weights.safetensors. Loaded with the defaults, the same folder is an error that names a file of the
# older kind, pytorch_lora_weights.bin, for the loader looks for safetensors only if it is told `use_safetensors=True`. Pipelines
# default to that, models do not. Whoever wraps the call and takes the error for "no LoRA here" goes on with the untuned model.
#
# Seen with Python 3.11.7, torch 2.13.0, peft 0.21.2:
#     saved: pytorch_lora_weights.safetensors
#     loaded with the defaults: OSError, no file named pytorch_lora_weights.bin
#     loaded with use_safetensors=True: scale 4.0
#
# Fails (1) if the defaults load it. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2

cat > "$folder/program.py" <<'PYTHON'
import os
import re
import tempfile
import warnings

warnings.filterwarnings("ignore")
from diffusers import SD3Transformer2DModel
from peft import LoraConfig


def transformer():
    return SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=16, out_channels=4, pos_embed_max_size=8,
    )


tuned = transformer()
tuned.add_adapter(LoraConfig(r=4, lora_alpha=16, target_modules=["to_q"]))
loads = False
with tempfile.TemporaryDirectory() as folder:
    tuned.save_lora_adapter(folder)
    print("saved: " + ", ".join(os.listdir(folder)))
    try:
        transformer().load_lora_adapter(folder, prefix=None)
        loads = True
        print("loaded with the defaults")
    except OSError as error:
        print(f"loaded with the defaults: OSError, {re.search('no file named [^ ]+', str(error))[0]}")
    again = transformer()
    again.load_lora_adapter(folder, prefix=None, use_safetensors=True)
    (scale,) = again.transformer_blocks[0].attn.to_q.scaling.values()
    print(f"loaded with use_safetensors=True: scale {scale}")
raise SystemExit(loads)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
