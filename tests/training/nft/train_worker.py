"""Whole runs of the miniature in as many processes as launched it: one undisturbed, one stopped half-way and resumed.

accelerate launch ... train_worker.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)

from training.nft.config import NFTConfig, changed  # noqa: E402
from training.nft.presets import miniature_cpu  # noqa: E402
from training.nft.train import train  # noqa: E402

SETTINGS: dict[str, Any] = {
    "model": {"precision": "fp32"},
    "rollout": {"prompts": 2, "group": 4, "steps": 2, "batch": 4},
    "rewards": {"judge": "oracle", "held_out_judge": ""},
    "times": {"count": 1},
    "policy": {"rank": 2, "alpha": 4, "old_decay": "slow"},
    "optimiser": {"updates": 2, "micro_batch": 4},
    "run": {"epochs": 2, "evaluate_every": 2, "evaluate_prompts": 3, "save_every": 1, "audit_every": 0},
}


def settings(tuning: str) -> NFTConfig:
    return changed(changed(miniature_cpu(), SETTINGS), {"policy": {"tuning": tuning}})


def main() -> None:
    for tuning in ("lora", "full"):
        folder, config = Path(sys.argv[1]) / tuning, settings(tuning)
        train(config, folder / "undisturbed")
        train(config, folder / "resumed", stop_after=1)
        train(config, folder / "resumed")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
