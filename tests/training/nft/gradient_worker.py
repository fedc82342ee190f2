"""One epoch of a small run in as many processes as launched it; the main one saves every optimiser step's gradients.

accelerate launch ... gradient_worker.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)

from training.nft.config import changed  # noqa: E402
from training.nft.presets import miniature_cpu  # noqa: E402
from training.nft.train import train_epoch  # noqa: E402
from training.nft.trainer import make_trainer  # noqa: E402

SETTINGS: dict[str, Any] = {
    "model": {"precision": "fp32"},
    "rollout": {"prompts": 4, "group": 3, "steps": 2, "batch": 3},
    "rewards": {"judge": "oracle", "held_out_judge": ""},
    "times": {"count": 1},
    "policy": {"rank": 2, "alpha": 4},
    "optimiser": {"updates": 2, "micro_batch": 2, "max_grad_norm": 1e9},
}


class Recorder(torch.optim.SGD):
    """Keeps the gradients of every step and moves nothing."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        super().__init__(parameters, lr=0.0)
        self.steps: list[list[torch.Tensor]] = []

    def step(self, closure: Any = None) -> None:
        self.steps.append([p.grad.clone() for p in self.param_groups[0]["params"]])


def main() -> None:
    trainer = make_trainer(changed(miniature_cpu(), SETTINGS))
    trainer.optimiser = recorder = Recorder(trainer.policy.parameters)
    with torch.no_grad():  # away from the start, where half of the adapter's gradients are zero
        for number, parameter in enumerate(trainer.policy.parameters):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    trainer.policy.old_is_current = trainer.policy.at_reference = False
    train_epoch(trainer, Path(sys.argv[1]).parent / "run")
    if trainer.accelerator.is_main_process:
        torch.save({"steps": recorder.steps, "processes": trainer.accelerator.num_processes}, sys.argv[1])
    trainer.accelerator.wait_for_everyone()
    trainer.close()
    trainer.accelerator.end_training()


main()
