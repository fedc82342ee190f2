#!/bin/sh
# accelerate 1.15.0: `accelerate launch --multi_gpu --num_processes 2` on a machine without a GPU runs two trainings that
# know nothing of each other, and ends with 0.
#
# The launcher starts two processes and sets RANK and WORLD_SIZE for both. Without a GPU one would expect an error, or a
# group of two on the CPU, as `--cpu` gives. Each process takes itself for the only one instead: num_processes is 1, both
# are the main process, gradients are never averaged, and both write to the same places.
#
# Seen with Python 3.11.7, torch 2.13.0+cpu:
#     accelerate 1.15.0: RANK 0 of WORLD_SIZE 2 says process 0 of 1, main True
#     accelerate 1.15.0: RANK 1 of WORLD_SIZE 2 says process 0 of 1, main True
#     exit 0
#
# Fails (1) if that changes. Needs a machine without a GPU, python3 and pip's package index; takes a few minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 accelerate==1.15.0

cat > "$folder/program.py" <<'PYTHON'
import os

import accelerate

state = accelerate.Accelerator()
print(
    f"accelerate {accelerate.__version__}: RANK {os.environ['RANK']} of WORLD_SIZE {os.environ['WORLD_SIZE']} says "
    f"process {state.process_index} of {state.num_processes}, main {state.is_main_process}"
)
PYTHON

export HF_HOME="$folder/cache"
code=0
"$folder/venv/bin/accelerate" launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no \
    --dynamo_backend no --main_process_port 0 "$folder/program.py" > "$folder/output" 2> "$folder/errors" || code=$?
sort "$folder/output"
echo "exit $code"
test "$code" = 0
test "$(grep -c 'of WORLD_SIZE 2 says process 0 of 1, main True' "$folder/output")" = 2
