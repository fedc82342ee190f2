"""TRL's SFTTrainer on one of our exports, in a process of its own: its labels of every row, and two steps.

    python -m tests.training.sft.trl_steps EXPORT TORCHVISION_FOLDER OUT

TRL wants transformers' own processor, which for Qwen3-VL wants torchvision (see `tests.core.serve_checkpoint`).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from rationalrewards_core.miniature import scorer_folder
from tests.core.serve_checkpoint import DECLARED, OPERATORS, loads


def main() -> None:
    export, torchvision, out = (Path(word).resolve() for word in sys.argv[1:])
    torch.set_num_threads(1)
    sys.path.append(str(torchvision))
    if not loads(torchvision):
        for operator in OPERATORS:
            DECLARED.define(operator)
    from datasets import Image, List, load_dataset
    from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
    from trl import SFTConfig, SFTTrainer

    os.chdir(export)  # images are named from inside the export
    rows = load_dataset("json", data_files="train.jsonl", split="train", cache_dir=str(out / "cache"))
    rows = rows.select_columns(["prompt", "completion", "images"]).cast_column("images", List(Image()))
    trainer = SFTTrainer(
        model=Qwen3VLForConditionalGeneration.from_pretrained(scorer_folder(), dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(out), max_steps=2, per_device_train_batch_size=2, use_cpu=True, bf16=False, report_to=[],
            max_length=None, logging_steps=1, save_strategy="no", gradient_checkpointing=False,
        ),
        train_dataset=rows,
        processing_class=AutoProcessor.from_pretrained(scorer_folder()),
    )  # fmt: skip
    batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
    learned = [[token for token in row if token != -100] for row in batch["labels"].tolist()]
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    texts = trainer.processing_class.tokenizer.batch_decode(learned)
    (out / "seen.json").write_text(json.dumps({"losses": losses, "learned": texts}))


if __name__ == "__main__":
    main()
