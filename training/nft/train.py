"""The loop: sample with the old policy, judge, compare within groups, optimise the current policy, let the old follow.

epoch:  old policy -> rollouts -> critiques (while sampling goes on) -> advantages
        -> gradients of (rollout, time) pairs -> optimiser -> old <- eta old + (1 - eta) current
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from tqdm import tqdm

from rationalrewards_core.jsonl import LineWriter
from rationalrewards_core.judged import Case, Outcome, ScoreBatch

from ..pace import Pace
from ..run import RunDir
from ..sharding import launched_on_cpu
from .advantage import advantages
from .board import Board
from .config import LENGTH, NFTConfig
from .evaluation import FILE as EVALUATION
from .evaluation import evaluate, evaluation_figures, write_evaluation
from .lora_file import save_weights
from .loss import optimality
from .metrics import diversity, failure_figures, optimality_histogram, reward_figures
from .optimise import optimise
from .processes import counted, gathered, own
from .prompts import TrainingPrompt
from .records import EpochRecord, write_record
from .rewards import CaseScorer, check_failures, collected, failures, group_rewards
from .rollout import sample_groups
from .state import restore, run_state, seed_generators
from .trainer import NFTTrainer, make_trainer, place

log = logging.getLogger("rationalrewards.training.nft")


def train(
    config: NFTConfig,
    path: Path,
    *,
    judge: CaseScorer | None = None,
    held_out_judge: CaseScorer | None = None,
    stop_after: int | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train or resume; returns the folder of the averaged weights. `stop_after` ends early, at that many epochs."""
    config = config.resolved()
    # Before anything is loaded: another process may be training there, or with other settings.
    main = PartialState(cpu=launched_on_cpu()).is_main_process
    with closing(RunDir(path, config, writes=main, free=LENGTH)) as run:
        run.total = config.run.epochs
        trainer = make_trainer(config, judge, held_out_judge)
        trainer.accelerator.wait_for_everyone()
        _resume(trainer, run)
        board = Board(
            path / "tensorboard" if main and config.run.tensorboard else None, config.run.wandb if main else "", path
        )
        try:
            for figures in _epochs(trainer, run if main else None, path, board, stop_after):
                if on_epoch is not None:
                    on_epoch(trainer.epoch, figures)
        finally:
            board.close()
            trainer.close()
    return path / "weights"


def _epochs(
    trainer: NFTTrainer, run: RunDir | None, path: Path, board: Board, stop_after: int | None
) -> Iterator[dict[str, float]]:
    """The figures of every epoch once all of it is on the disk; `run` is the main process's."""
    config = trainer.config.run
    if trainer.epoch == 0 and config.evaluate_every:
        _evaluate(trainer, run, board)
    last = min(config.epochs, stop_after or config.epochs)
    for _ in tqdm(range(trainer.epoch, last), desc="epochs", disable=None if run is not None else True):
        figures = train_epoch(trainer, path)
        if run is not None:
            run.log(trainer.epoch, **figures)
            board.add(trainer.epoch, figures)
        _after_epoch(trainer, run, board)
        trainer.accelerator.wait_for_everyone()
        yield figures


def train_epoch(trainer: NFTTrainer, path: Path) -> dict[str, float]:
    """One turn of the loop; returns what to log."""
    config, accelerator = trainer.config, trainer.accelerator
    epoch = trainer.epoch
    seed_generators(config.run.seed, epoch)
    everywhere = trainer.prompts.draw(epoch, config.rollout.prompts)
    mine = own(len(everywhere), accelerator)
    prompts = [everywhere[i] for i in mine]
    x_0, images, outcomes = _rollouts(trainer, prompts, mine)
    rewards = group_rewards(
        outcomes,
        [p.request for p in prompts],
        config.rollout.group,
        trainer.queue.judge,
        expected=config.rewards.expected,
    )
    whole = gathered(rewards, accelerator)
    reasons = counted(failures(outcomes))
    check_failures(whole, reasons, config.rewards.max_failure_rate)
    epoch_advantages = advantages(whole, config.advantage)
    rubric = trainer.queue.judge.rubric_for(prompts[0].request)
    pictures = bool(config.run.audit_every) and epoch % config.run.audit_every == 0
    record = EpochRecord(epoch, prompts, images, outcomes, rewards, epoch_advantages.part(mine), rubric)
    write_record(path, record, rank=accelerator.process_index, pictures=pictures)
    figures = {**reward_figures(whole, epoch_advantages, rubric), **failure_figures(reasons)}
    figures |= optimality_histogram(
        optimality(epoch_advantages.values_P_G[epoch_advantages.used_P_G], config.advantage.clip)
    )
    if (spread := diversity(images, config.rollout.group)) is not None:
        figures["diversity"] = spread
    figures |= optimise(trainer, prompts, mine, x_0, epoch_advantages)
    trainer.epoch += 1
    return figures


def _rollouts(
    trainer: NFTTrainer, prompts: list[TrainingPrompt], numbers: range
) -> tuple[Tensor, list[Any], list[Outcome]]:
    """Sample this process's groups with the old policy; the judge works on the batches as they come."""
    config, family, main = trainer.config, trainer.family, trainer.accelerator.is_main_process
    trainer.encoded.prepare([r for p in prompts for r in (p.request, p.sampled)])
    seeds = [(config.run.seed, trainer.epoch, number) for number in numbers]
    latents: list[Tensor] = []
    images: list[Any] = []
    waiting: list[list[Case]] = []
    pending: list[Future[ScoreBatch]] = []
    pace = Pace(f"epoch {trainer.epoch + 1}, images", len(prompts) * config.rollout.group, main=main, leave=False)
    with pace, trainer.policy.old() as model:
        chunks = sample_groups(family, model, trainer.encoded, prompts, seeds, config.rollout, config.rollout.group)
        for chunk in chunks:
            latents.append(chunk.x_0_B)
            pace.update(len(chunk.images))
            images += chunk.images
            cases = [Case(request, image) for request, image in zip(chunk.requests, chunk.images, strict=True)]
            if config.rewards.time_share:
                waiting.append(cases)
            else:
                pending.append(trainer.queue.submit(cases))
    with Pace(f"epoch {trainer.epoch + 1}, images judged", len(images), main=main, leave=False) as pace:
        outcomes = _judged_in_turn(trainer, waiting, pace.update) if waiting else collected(pending, pace.update)
    x_0 = torch.cat(latents)
    return x_0.reshape(len(prompts), config.rollout.group, *x_0.shape[1:]), images, outcomes


def _judged_in_turn(trainer: NFTTrainer, waiting: list[list[Case]], on_images: Callable[[int], None]) -> list[Outcome]:
    """The generator makes room, the judge loads, works and unloads, the generator comes back."""
    device = trainer.family.device
    trainer.family.to("cpu", parts=tuple(trainer.family.pipeline.components))
    outcomes = collected([trainer.queue.submit(cases) for cases in waiting], on_images)
    unload = getattr(getattr(trainer.queue.judge, "backend", None), "unload", None)
    if unload is not None:
        unload()
    place(trainer.family, device)
    return outcomes


def _resume(trainer: NFTTrainer, run: RunDir) -> None:
    state = run.load_state()
    if state is not None:
        trainer.epoch, trainer.step = restore(state, trainer.policy, trainer.average, trainer.optimiser)
        log.info("resumed after epoch %d", trainer.epoch)
    if trainer.accelerator.is_main_process:
        last = -1 if state is None else trainer.epoch  # without a checkpoint the run begins anew
        run.forget_after(last)
        if (run.path / EVALUATION).exists():
            with LineWriter(run.path / EVALUATION) as lines:
                lines.keep(lambda row: bool(row["epoch"] <= last))


def _after_epoch(trainer: NFTTrainer, run: RunDir | None, board: Board) -> None:
    """Evaluate and save when it is time; all processes evaluate, the one with a `run` writes."""
    config, last = trainer.config.run, trainer.epoch == trainer.config.run.epochs
    if config.evaluate_every and (trainer.epoch % config.evaluate_every == 0 or last):
        _evaluate(trainer, run, board)
    if trainer.epoch % config.save_every == 0 or last:
        _save(trainer, run)


def _save(trainer: NFTTrainer, run: RunDir | None) -> None:
    """Write weights and state; of sharded ones every process gives its part."""
    if run is None and trainer.sharding is None:
        return
    with trainer.average.applied(trainer.policy.parameters):
        save_weights(trainer.policy, trainer.family, run and run.path / "weights", _purpose(trainer, run))
    state = run_state(trainer.epoch, trainer.step, trainer.policy, trainer.average, trainer.optimiser)
    if run is not None:
        run.save_state(state)


def _purpose(trainer: NFTTrainer, run: RunDir | None) -> dict[str, Any]:
    """What the file says it was trained for, and its newest held-out pictures."""
    rewards, name = trainer.config.rewards, "" if run is None else run.path.name
    judge = rewards.judge + (f" + {'/'.join(Path(rewards.adapter).parts[-3:])}" if rewards.adapter else "")
    return {"name": name, "judge": judge, "epochs": trainer.epoch, "alpha": trainer.config.policy.alpha}


def _evaluate(trainer: NFTTrainer, run: RunDir | None, board: Board) -> None:
    if trainer.held_out is None:
        return
    with trainer.average.applied(trainer.policy.parameters), trainer.policy.current() as model:
        pictures = evaluate(
            trainer.family,
            model,
            trainer.encoded,
            trainer.held_out,
            trainer.held_out_queue,
            trainer.config,
            trainer.accelerator,
        )
    if run is not None:
        figures = evaluation_figures(pictures, trainer.config.run.evaluate_group)
        write_evaluation(run.path, trainer.epoch, pictures)
        run.log(trainer.epoch, **figures)
        board.add(trainer.epoch, figures)
