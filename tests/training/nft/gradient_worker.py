"""One epoch of a small run in as many processes as launched it; the main one saves every optimiser step's gradients.

accelerate launch ... gradient_worker.py FILE [lora | full]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)

from rationalrewards_core.critique import Unscored  # noqa: E402
from rationalrewards_core.judged import Case, ScoreBatch  # noqa: E402
from rationalrewards_core.replies.parsing import Mode  # noqa: E402
from training.nft.config import changed  # noqa: E402
from training.nft.presets import miniature_cpu  # noqa: E402
from training.nft.train import train_epoch  # noqa: E402
from training.nft.trainer import NFTTrainer, make_trainer  # noqa: E402
from training.rewards.oracle import OracleJudge  # noqa: E402
from training.sharding import whole_tensor  # noqa: E402

SETTINGS: dict[str, Any] = {
    "model": {"precision": "fp32", "gradient_checkpointing": True},
    "rollout": {"prompts": 4, "group": 3, "steps": 2, "batch": 3},
    "rewards": {"judge": "oracle", "held_out_judge": "", "max_failure_rate": 0.9},
    "times": {"count": 1},
    "loss": {"kl_weight": 1e-4},
    "policy": {"rank": 2, "alpha": 4},
    "optimiser": {"updates": 2, "micro_batch": 2, "max_grad_norm": 1e9},
}


class Silent(OracleJudge):
    """Says nothing of one request, so that its group is dropped and the processes have unequally much to do."""

    text = ""

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        judged = (await super().score_many(cases, mode)).outcomes
        lost = Unscored(reason="timeout", message="The judge did not answer.")
        return ScoreBatch(tuple(lost if c.request.text == self.text else o for c, o in zip(cases, judged, strict=True)))


class Recorder(torch.optim.SGD):
    """Keeps the gradients of every step and moves nothing."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        super().__init__(parameters, lr=0.0)
        self.steps: list[list[torch.Tensor]] = []

    def step(self, closure: Any = None) -> None:
        self.steps.append([whole_tensor(p.grad).clone() for p in self.param_groups[0]["params"] if p.grad is not None])


def moved(trainer: NFTTrainer) -> None:
    """Away from the start, where half of the adapter's gradients are zero and three policies are one."""
    with torch.no_grad():
        for number, parameter in enumerate(trainer.policy.parameters):
            if trainer.config.policy.tuning == "lora":
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
            else:
                parameter.mul_(1.01)
    trainer.policy.old_is_current = trainer.policy.at_reference = False


def main() -> None:
    judge = Silent()
    tuning = {"policy": {"tuning": sys.argv[2] if len(sys.argv) > 2 else "lora"}}
    trainer = make_trainer(changed(changed(miniature_cpu(), SETTINGS), tuning), judge)
    judge.text = trainer.prompts.draw(0, 4)[0].request.text
    trainer.optimiser = recorder = Recorder(trainer.policy.parameters)
    moved(trainer)
    held = sum(
        p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in trainer.family.transformer.parameters()
    )
    figures = train_epoch(trainer, Path(sys.argv[1]).parent / "run")
    if trainer.accelerator.is_main_process:
        found = {"steps": recorder.steps, "processes": trainer.accelerator.num_processes, "held": held}
        torch.save(
            {**found, "unscored": figures["unscored_share"], "timeouts": figures["unscored_timeout"]}, sys.argv[1]
        )
    trainer.accelerator.wait_for_everyone()
    trainer.close()
    trainer.accelerator.end_training()


main()
