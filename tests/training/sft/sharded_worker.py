"""Runs of the miniature in as many processes as launched it: undisturbed ones, and one that is stopped and resumed.

accelerate launch ... sharded_worker.py EXPORT FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)

from training.sft.config import Method, SftConfig, miniature  # noqa: E402
from training.sft.trainer import SftTrainer  # noqa: E402


def settings(export: Path, method: Method) -> SftConfig:
    return replace(
        miniature(), export=str(export), method=method, batch=4, micro_batch=1, max_steps=2, evaluate_every=2,
        dev_pairs=2, dev_max_tokens=200, save_every=1, lora_rank=4, lr=1e-4, checkpointing=True,
    )  # fmt: skip


class Stopped(SftTrainer):
    """Ends after its first step."""

    def _after(self, done: int) -> bool:
        super()._after(done)
        return True


def main() -> None:
    export, folder = Path(sys.argv[1]), Path(sys.argv[2])
    SftTrainer(settings(export, "lora"), folder / "lora").train()
    SftTrainer(settings(export, "full"), folder / "full").train()
    Stopped(settings(export, "full"), folder / "resumed").train()
    SftTrainer(settings(export, "full"), folder / "resumed").train()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
