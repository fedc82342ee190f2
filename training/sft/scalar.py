"""The rival: a scalar Bradley-Terry head on the same backbone, trained on the same pairs, without a word of rationale.

P(A is preferred) = sigmoid(r(A) - r(B)), Bradley and Terry 1952; the loss is its negative log-likelihood over pairs with
a winner. r is linear in the last hidden state at the end of the prompt that our judge would be asked, so both
students see the same tokens. The language model trains through the same kind of adapter. One process.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from rationalrewards_core.backends.device import choose_device
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.storage import copy_folder, replacing_folder

from ..data.labelled_pairs import LabelledPair, PairFolder, with_winner
from ..rewards.head import Head, ScalarReward
from ..rewards.student_rubrics import student_rubrics
from ..run import RunDir
from .artefacts import save_student
from .batches import batch_at
from .config import LENGTH, SftConfig
from .development import development_pairs
from .examples import interval, planned_steps
from .loss import lr_factor
from .weights import load_trainee

log = logging.getLogger("rationalrewards.training.scalar")


@dataclass(frozen=True, kw_only=True)
class ScalarConfig:
    """A run of the head: the settings of a fine-tuning run, in which an example is a pair."""

    sft: SftConfig
    pairs: int = 0
    """Use only the first so many decided training pairs; 0 uses all."""

    def __post_init__(self) -> None:
        if self.sft.method != "lora":
            raise ConfigError("The scalar head trains beside an adapter; set method=lora.")
        if self.pairs < 0:
            raise ConfigError(f"pairs must not be negative, not {self.pairs}.")


def bradley_terry_loss(first: Tensor, second: Tensor, first_wins: Tensor) -> Tensor:
    """Mean of -log sigmoid(r_winner - r_loser); all arguments are [B], the last one boolean."""
    gap = torch.where(first_wins, first - second, second - first)
    return -F.logsigmoid(gap).mean()


class ScalarTrainer:
    """One run of the head from its configuration to its finished folder."""

    def __init__(self, config: ScalarConfig, path: Path) -> None:
        config = replace(config, sft=config.sft.resolved())
        self.config, self.path, self._sft = config, path, config.sft
        self.run = RunDir(path, config, free=[f"sft.{name}" for name in LENGTH])
        self.trainee = load_trainee(self._sft, choose_device(self._sft.device))
        text = self.trainee.model.config.get_text_config()
        head = Head(text.hidden_size).to(self.trainee.checkpoint.device)
        rubrics = student_rubrics(self._sft.model, Path(self._sft.export))
        self.reward = ScalarReward(self.trainee.checkpoint, head, rubrics, self._sft.autocast)
        self.folder = PairFolder(Path(self._sft.export))
        self.pairs = with_winner(self.folder.pairs("train"), f"{self.folder.path}, split train")[: config.pairs or None]
        self.dev = development_pairs(self.folder, self._sft) if self._sft.evaluate_every != 0 else []
        self.steps = self.run.total = planned_steps(self._sft, len(self.pairs))
        self._evaluate_every = interval(self._sft.evaluate_every, self.steps)
        self._save_every = interval(self._sft.save_every, self.steps)
        self._parameters = {**self.trainee.trainable, **{f"head.{n}": p for n, p in head.named_parameters()}}
        parameters = list(self._parameters.values())
        self.optimiser = torch.optim.AdamW(parameters, lr=self._sft.lr, weight_decay=self._sft.weight_decay)
        self.progress: dict[str, Any] = {"step": 0, "best": -1.0, "stale": 0}

    def train(self) -> Path:
        """Run to the end, or to where development stops it. Returns the folder of the finished head."""
        with closing(self.run):
            self._resume()
            return self._train()

    def _train(self) -> Path:
        self.trainee.model.train()
        while not self._finished():
            step = self.progress["step"]
            loss = self._step(step)
            self.progress["step"] = step + 1
            if (step + 1) % self._sft.log_every == 0:
                self.run.log(step + 1, loss=loss)
            last = step + 1 == self.steps
            if self.dev and ((step + 1) % self._evaluate_every == 0 or last):
                self._measure(step + 1)
            if last or (step + 1) % self._save_every == 0 or self._finished():
                self._save_state()
        return self._finish()

    def _step(self, step: int) -> float:
        torch.manual_seed(hash((self._sft.seed, step, 0)) % 2**63)
        pairs = [self.pairs[i] for i in batch_at([1] * len(self.pairs), self._sft.batch, self._sft.seed, step)]
        total = 0.0
        for part in _parts(pairs, self._sft.micro_batch):
            loss = self._loss(part) * (len(part) / len(pairs))
            loss.backward()
            total += float(loss.detach())
        for group in self.optimiser.param_groups:
            group["lr"] = self._sft.lr * lr_factor(step, self.steps, self._sft.warmup)
        nn.utils.clip_grad_norm_(list(self._parameters.values()), self._sft.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if not math.isfinite(total):
            raise ConfigError(f"The loss is {total} at step {step + 1}; lower lr, or look at the data.")
        return total

    def _loss(self, part: Sequence[LabelledPair]) -> Tensor:
        questions = [question for one in part for question in self._questions(one)]
        rewards = self.reward.rewards(questions)
        wins = torch.tensor([one.pair.preference is Verdict.A for one in part], device=rewards.device)
        return bradley_terry_loss(rewards[0::2], rewards[1::2], wins)

    def _questions(self, one: LabelledPair) -> list[tuple[UserRequest, Image.Image]]:
        request = self.folder.request(one.pair)
        return [(request, candidate) for candidate in self.folder.candidates(one.pair)]

    def _measure(self, step: int) -> None:
        right = []
        self.trainee.model.eval()
        with torch.inference_mode():
            for part in _parts(self.dev, self._sft.dev_batch):
                rewards = self.reward.rewards([q for one in part for q in self._questions(one)])
                gaps = (rewards[0::2] - rewards[1::2]).tolist()
                wins = [one.pair.preference is Verdict.A for one in part]
                right += [gap > 0 if win else gap < 0 for gap, win in zip(gaps, wins, strict=True)]
        self.trainee.model.train()
        accuracy = sum(right) / len(right)
        better = accuracy > self.progress["best"]
        self.progress["stale"] = 0 if better else self.progress["stale"] + 1
        if better:
            self.progress["best"] = accuracy
            self._save_head("best")
        self.run.log(step, pair_accuracy=accuracy, pairs=len(right))

    def _finished(self) -> bool:
        stopped = self._sft.patience and self.progress["stale"] >= self._sft.patience
        return bool(stopped) or self.progress["step"] >= self.steps

    def _save_head(self, name: str) -> None:
        weights = {name: p.detach().cpu().clone() for name, p in self.trainee.trainable.items()}
        note = {"config": asdict(self.config), "pairs": len(self.pairs), **self.progress}
        head = {name: p.detach().cpu().contiguous() for name, p in self.reward.head.named_parameters()}
        with replacing_folder(self.path / name) as folder:
            save_student(self.trainee, weights, folder, self._sft, note)
            save_file(head, folder / "head.safetensors", metadata={"format": "pt"})

    def _save_state(self) -> None:
        trained = {name: p.detach().cpu() for name, p in self._parameters.items()}
        self.run.save_state({"trained": trained, "optimiser": self.optimiser.state_dict(), "progress": self.progress})

    def _resume(self) -> None:
        state = self.run.load_state()
        self.run.forget_after(-1 if state is None else state["progress"]["step"])
        if state is None:
            return
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state["trained"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = state["progress"]

    def _finish(self) -> Path:
        if self.progress["best"] < 0:
            self._save_head("head")
        else:
            copy_folder(self.path / "best", self.path / "head")
        return self.path / "head"


def _parts(pairs: Sequence[LabelledPair], size: int) -> Iterator[Sequence[LabelledPair]]:
    return (pairs[i : i + size] for i in range(0, len(pairs), size))
