"""Two steps of TRL's SFTTrainer on one of our exports, in a process of its own.

    python -m tests.training.sft.trl_steps EXPORT TORCHVISION_FOLDER OUT

TRL wants transformers' own processor, which for Qwen3-VL wants torchvision (see `tests.core.serve_checkpoint`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from rationalrewards_core.miniature import scorer_folder
from tests.core.serve_checkpoint import DECLARED, OPERATORS, loads


def row(line: str, export: Path) -> dict[str, Any]:
    """One of our lines as TRL reads it: images beside the messages, places without paths."""
    table = json.loads(line)
    messages = [
        {
            "role": message["role"],
            "content": [
                {"type": "image", "text": None} if part["type"] == "image" else {"type": "text", "text": part["text"]}
                for part in message["content"]
            ],
        }
        for message in table["messages"]
    ]
    return {"messages": messages, "images": [str(export / name) for name in table["images"]]}


def main() -> None:
    export, torchvision, out = (Path(word) for word in sys.argv[1:])
    torch.set_num_threads(1)
    sys.path.append(str(torchvision))
    if not loads(torchvision):
        for operator in OPERATORS:
            DECLARED.define(operator)
    from datasets import Dataset, Image, Sequence
    from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
    from trl import SFTConfig, SFTTrainer

    lines = (export / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = Dataset.from_list([row(line, export) for line in lines]).cast_column("images", Sequence(Image()))
    trainer = SFTTrainer(
        model=Qwen3VLForConditionalGeneration.from_pretrained(scorer_folder(), dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(out), max_steps=2, per_device_train_batch_size=2, use_cpu=True, bf16=False, report_to=[],
            max_length=None, logging_steps=1, save_strategy="no", gradient_checkpointing=False,
        ),
        train_dataset=rows,
        processing_class=AutoProcessor.from_pretrained(scorer_folder()),
    )  # fmt: skip
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    (out / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
