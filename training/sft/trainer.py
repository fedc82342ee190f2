"""The loop. A step's randomness is a function of (seed, step, process), so a stopped run goes on bit for bit.

One step sees `batch` examples over all processes; its loss is the mean over all their answer tokens, so a run means
the same on one device as on eight.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.utils.data import DataLoader

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.storage import copy_folder, replacing_folder

from ..pace import Pace
from ..run import RunDir
from ..sharding import (
    average_gradients,
    check_launch,
    gathered_weights,
    launched_on_cpu,
    shard,
    unsynced,
    wanted_sharding,
    whole_tensor,
)
from .artefacts import save_student
from .batches import micro_batches
from .config import LENGTH, SftConfig
from .development import Development, dev_accuracy
from .encoding import Encoder, ExampleBatch
from .examples import Examples, Order, interval, planned_steps
from .loss import AnswerLoss, lr_factor
from .records import ChatFile
from .tower import TowerMemory
from .weights import load_trainee

log = logging.getLogger("rationalrewards.training.sft")

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


UNMEASURED: Final = "not measured: its weights are sharded over processes (judge it with `training.evaluate`)"


@dataclass
class Progress:
    """What a run remembers between steps, beside its weights."""

    step: int = 0
    best: float = -1.0
    """Best development accuracy so far; -1 before the first measurement."""
    best_step: int = 0
    stale: int = 0
    """Measurements since the best one."""
    base: str = ""
    """Why there is no accuracy of the base; empty where it was measured, or nothing is."""
    history: list[dict[str, Any]] = field(default_factory=list)


class SftTrainer:
    """One run from its configuration to its finished adapter."""

    def __init__(self, config: SftConfig, path: Path) -> None:
        config = config.resolved()
        self.config, self.path = config, path
        self.accelerator = Accelerator(
            mixed_precision="bf16" if config.autocast else "no", cpu=config.device == "cpu" or launched_on_cpu()
        )
        check_launch(self.accelerator)
        self.sharding = wanted_sharding(self.accelerator)
        self._check_processes()
        # Before anything is loaded: what cannot be measured is said at once.
        self.development = Development(config) if config.evaluate_every != 0 else None
        with self.accelerator.main_process_first():
            self.run = RunDir(path, config, writes=self.accelerator.is_main_process, free=LENGTH)
        self.trainee = load_trainee(config, str(self.accelerator.device))
        self.examples = Examples(ChatFile(Path(config.export) / "train.jsonl"), self._encoder(), config.max_length)
        unreadable = self.examples.unreadable.sentence(len(self.examples.file), "examples")
        self.steps = self.run.total = planned_steps(config, len(self.examples), self.examples.too_long, unreadable)
        self.evaluate_every = interval(config.evaluate_every, self.steps)
        self.save_every = interval(config.save_every, self.steps)
        self.progress = Progress()
        self._prepare()

    def train(self) -> Path:
        """Run to the end, or to where development stops it. Returns the folder of the finished weights."""
        with closing(self.run):
            self._resume()
            self._note_data()
            if self.development is not None and not self.progress.step:
                self._measure_base()
            if not self._finished():
                self._steps()
            return self._finish()

    def _steps(self) -> None:
        main = self.accelerator.is_main_process
        with Pace("steps", self.steps, initial=self.progress.step, main=main) as pace:
            for step, parts in zip(range(self.progress.step, self.steps), self._batches(), strict=True):
                self._step(step, parts)
                ends = self._after(step + 1)
                pace.update()
                if ends:
                    break

    def _check_processes(self) -> None:
        accelerator, config = self.accelerator, self.config
        micro_batches(range(config.batch), config.micro_batch, 0, accelerator.num_processes)
        if self.sharding is not None and config.precision in ("nf4", "int8"):
            raise ConfigError("Quantised weights cannot be sharded by FSDP2; launch with DDP, or use bf16.")

    def _encoder(self) -> Encoder:
        return Encoder(self.trainee.checkpoint)

    def _prepare(self) -> None:
        config, module = self.config, AnswerLoss(self.trainee.model)
        if self.sharding is None:
            self.module: Any = self.accelerator.prepare(module)
        else:
            whole = list(self.trainee.trainable.values()) if config.method == "lora" else ()
            compute = torch.bfloat16 if config.autocast else None
            shard(module, self.sharding, self.trainee.model._no_split_modules, whole=whole, compute=compute)
            self.module = module
        self.tower = self._tower_memory()
        self.trained = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, lr=config.lr, weight_decay=config.weight_decay)
        self.module.train()

    def _tower_memory(self) -> TowerMemory | None:
        """What the tower says of a picture is kept if it never changes, is asked again, and its weights are here."""
        config, tower = self.config, getattr(self.trainee.model.model, "visual", None)
        changes = config.train_tower or config.train_projector
        once = self.steps * config.batch <= len(self.examples)
        if tower is None or changes or once or self.sharding is not None or not config.tower_memory:
            return None
        memory = TowerMemory(tower, config.tower_memory)
        if config.workers == 0:
            self.examples.memory = memory  # workers are processes of their own: they read ahead whatever is known here
        return memory

    def _batches(self) -> Iterator[list[ExampleBatch]]:
        """The micro-batches of every step to come, encoded ahead by the workers."""
        accelerator, config = self.accelerator, self.config
        place = (accelerator.process_index, accelerator.num_processes)
        loader = DataLoader(
            self.examples,
            batch_sampler=Order(self.examples.lengths, config, self.progress.step, self.steps, *place),  # type: ignore[arg-type]
            collate_fn=self._encoder().collate,
            num_workers=config.workers,
            generator=torch.Generator(),  # its own, so that a resumed loader draws nothing from torch's
        )
        share = config.batch // config.micro_batch // accelerator.num_processes
        waiting: list[ExampleBatch] = []
        for batch in loader:
            waiting.append(batch)
            if len(waiting) == share:
                yield waiting
                waiting = []

    def _step(self, step: int, parts: list[ExampleBatch]) -> None:
        accelerator = self.accelerator
        torch.manual_seed(hash((self.config.seed, step, accelerator.process_index)) % 2**63)
        tokens = float(accelerator.reduce(_number(sum(p.answer_tokens for p in parts), accelerator.device), "sum"))
        total = _number(0.0, accelerator.device)
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            with unsynced(self.module, accelerator) if not last else nullcontext():
                batch = part.to(accelerator.device)
                with accelerator.autocast(), nullcontext() if self.tower is None else self.tower.of(batch):
                    loss = self.module(batch.inputs, batch.labels)
                # Processes average their gradients; the step's loss is a sum over all of them.
                accelerator.backward(loss * (accelerator.num_processes / tokens))
                total += loss.detach()
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * lr_factor(step, self.steps, self.config.warmup)
        if self.sharding is not None and self.config.method == "lora":
            average_gradients(self.trained, accelerator)
        norm = whole_tensor(nn.utils.clip_grad_norm_(self.trained, self.config.clip))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        mean = float(accelerator.reduce(total, "sum")) / tokens
        if not math.isfinite(mean):
            raise ConfigError(f"The loss is {mean} at step {step + 1}; lower lr, or look at the data.")
        if accelerator.is_main_process and (step + 1) % self.config.log_every == 0:
            rate = self.optimiser.param_groups[0]["lr"]
            self.run.log(step + 1, loss=mean, lr=rate, gradient=float(norm), answer_tokens=tokens)

    def _after(self, step: int) -> bool:
        """Measure and save where it is due; whether to stop."""
        self.progress.step = step
        last = step == self.steps
        if self.development is not None and (step % self.evaluate_every == 0 or last):
            self._measure(step)
        if step % self.save_every == 0 or last or self._finished():
            self._save_state()
        return self._finished()

    def _finished(self) -> bool:
        stopped = self.config.patience and self.progress.stale >= self.config.patience
        return bool(stopped) or self.progress.step >= self.steps

    def _accuracy(self, step: int) -> float:
        """Of the student as it is now, on the development pairs; every process judges its part."""
        assert self.development is not None
        accelerator = self.accelerator
        mine = self.development.pairs[accelerator.process_index :: accelerator.num_processes]
        # Critiques end when they end: with whole weights no process waits for another's.
        with nullcontext() if self.sharding is None else gathered_weights(self.module, self.sharding):
            own = self.development.opinions(self.trainee.checkpoint, mine)
        share = dev_accuracy(gather_object(own))
        self.progress.history.append({"step": step, "pair_accuracy": share.value, "failures": share.failures})
        if accelerator.is_main_process:
            self.run.log(step, pair_accuracy=share.value, low=share.low, high=share.high, failures=share.failures)
        return share.value

    def _measure_base(self) -> None:
        """What there is to improve on, and never the best."""
        if self.sharding is None:
            self._accuracy(0)
            return
        # FSDP must see a forward of the whole before one of its parts.
        self.progress.base = UNMEASURED
        if self.accelerator.is_main_process:
            self.run.log(0, base=UNMEASURED)

    def _measure(self, step: int) -> None:
        value = self._accuracy(step)
        better = value > self.progress.best
        self.progress.stale = 0 if better else self.progress.stale + 1
        if better:
            self.progress.best, self.progress.best_step = value, step
            self._save_weights("best")

    def _trained(self, *, frozen: bool = False) -> dict[str, Tensor]:
        """Whole tensors by their name in the model, on the CPU: the trained ones, or all. Every process must ask.

        Only the main process gets them.
        """
        parameters = dict(self.trainee.model.named_parameters()) if frozen else self.trainee.trainable
        table = {}
        for name, parameter in parameters.items():
            whole = whole_tensor(parameter.detach())
            if self.accelerator.is_main_process:
                table[name] = whole.cpu()
        return table

    def _save_weights(self, name: str) -> None:
        weights = self._trained(frozen=self.config.method == "full")
        note = {"config": asdict(self.config), "step": self.progress.step, "development": self.progress.history}
        if self.progress.base:
            note["base"] = self.progress.base
        if self.accelerator.is_main_process:
            with replacing_folder(self.path / name) as folder:
                save_student(self.trainee, weights, folder, self.config, note)
        self.accelerator.wait_for_everyone()

    def _save_state(self) -> None:
        state = {
            "trained": self._trained(),
            "optimiser": get_optimizer_state_dict(self.module, self.optimiser, options=_WHOLE),
            "progress": asdict(self.progress),
            "examples": len(self.examples),
        }
        if self.accelerator.is_main_process:
            self.run.save_state(state)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        state = self.run.load_state()
        self.run.forget_after(-1 if state is None else state["progress"]["step"])
        if state is None:
            return
        if state["examples"] != len(self.examples):
            raise ConfigError(
                f"{self.path} was trained on {state['examples']} examples and {self.config.export} now has "
                f"{len(self.examples)}; choose another --run."
            )
        weights = {f"model.{name}": value for name, value in state["trained"].items()}
        partial = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self.module, weights, options=partial)
        whole = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(self.module, self.optimiser, state["optimiser"], options=whole)
        self.progress = Progress(**state["progress"])
        log.info("going on from step %d", self.progress.step)

    def _note_data(self) -> None:
        if self.accelerator.is_main_process and self.progress.step == 0:
            kind = f"{self.accelerator.num_processes} x {self.accelerator.distributed_type.value}"
            kind += " sharded" if self.sharding is not None else ""
            left_out = {"left_out": len(self.examples.too_long), "unreadable": len(self.examples.unreadable)}
            self.run.log(0, examples=len(self.examples), **left_out, steps=self.steps, processes=kind)

    def _finish(self) -> Path:
        """The best weights by development, or the last ones where it was not measured."""
        name = "adapter" if self.config.method == "lora" else "checkpoint"
        if self.accelerator.is_main_process and self.progress.history:
            log.info("%s", comparison(self.progress))
        if self.progress.best < 0:
            self._save_weights(name)
        elif self.accelerator.is_main_process:
            copy_folder(self.path / "best", self.path / name)
        self.accelerator.wait_for_everyone()
        return self.path / name


def comparison(progress: Progress) -> str:
    """What a run gained over its base, as a sentence."""
    base = next((row["pair_accuracy"] for row in progress.history if row["step"] == 0), None)
    if base is None or progress.best < 0:
        why = f"; the base was {progress.base}" if progress.base else ""
        return f"best pair accuracy {progress.best:.3f} (step {progress.best_step}){why}"
    sentence = f"pair accuracy: {base:.3f} before training, {progress.best:.3f} at best (step {progress.best_step})"
    return (
        sentence if progress.best > base else f"{sentence}: NO BETTER than the base; look at the data before you use it"
    )


def _number(value: float, device: Any) -> Tensor:
    return torch.tensor(float(value), device=device)
