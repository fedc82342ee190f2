"""The labels that ms-swift's own loader, template and collator make of one of our exports, in an environment of its own.

    python -m tests.training.sft.swift_labels EXPORT TORCHVISION_FOLDER OUT

Writes what is learned of every row, as text, to OUT/seen.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from rationalrewards_core.miniature import scorer_folder
from tests.core.serve_checkpoint import DECLARED, OPERATORS, loads

IGNORED = -100


def main() -> None:
    export, torchvision, out = (Path(word).resolve() for word in sys.argv[1:])
    sys.path.append(str(torchvision))
    if not loads(torchvision):
        for operator in OPERATORS:
            DECLARED.define(operator)
    os.environ["ROOT_IMAGE_DIR"] = str(export)  # images are named from inside the export
    os.environ["MODELSCOPE_CACHE"] = str(out / "cache")
    from swift import get_model_processor, get_template, load_dataset

    model, processor = get_model_processor(str(scorer_folder()), model_type="qwen3_vl", torch_dtype=torch.float32)
    template = get_template(processor, max_length=4096)
    template.model = model  # its collator asks the model for positions
    template.set_mode("train")
    rows, _ = load_dataset([str(export / "train.jsonl")], load_from_cache_file=False)
    labels = template.data_collator([template.encode(dict(row)) for row in rows])["labels"].tolist()
    learned = [template.tokenizer.decode([token for token in row if token != IGNORED]) for row in labels]
    (out / "seen.json").write_text(json.dumps({"learned": learned}))


if __name__ == "__main__":
    main()
