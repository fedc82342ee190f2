"""Train the miniature scorer: `python -m training.lab.miniature.scorer` (about four hours on two cores).

Stage 1 teaches the vision tower with dense labels; stage 2 fine-tunes the rest to write critiques of
rendered pictures; stage 3 goes on with half the pictures drawn by the miniature generator and judged by
the oracle, because a judge that has seen clean renderings only is lenient with what a generator gets wrong.
Stage 4 is practice: the same two kinds of pictures for long enough to bind attributes to two things.
All are resumable; step `i` sees the same examples in every run. `--practise FOLDER` runs stage 4 alone on a
finished checkpoint, such as the shipped one.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from rationalrewards_core.backends.device import fast_autocast
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.flaws import Example, sample_edited, sample_generation
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ...run import RunDir
from .drawn import DrawnConfig, drawn_examples
from .optimiser import MuonAdamW
from .sft import BatchMaker, answer_loss
from .student import StudentConfig, build_student, build_tokeniser, rubrics, save_student
from .vision import DenseHeads, dense_labels, patches, tower

log = logging.getLogger("rationalrewards.training.miniature")


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    seed: int = 3
    steps: int = 1800
    batch: int = 64
    lr: float = 2e-3
    save_every: int = 200


@dataclass(frozen=True, kw_only=True)
class MiniatureSftConfig:
    seed: int = 3
    steps: int = 1900
    horizon: int = 4200
    """Steps of the learning rate's cosine; the run ends earlier, by cooling down."""
    cooldown: int = 300
    batch: int = 48
    lr: float = 2e-3
    edits: float = 0.35
    """Share of edit requests."""
    frozen_steps: int = 1900
    """Steps during which the vision tower stays as stage 1 left it (a third faster): here all of them."""
    dense_weight: float = 0.4
    """Weight of the dense vision loss once the tower trains again."""
    drawn: float = 0.0
    """Share of pictures that the generator drew."""
    warmup: int = 200
    chunk: int = 8
    """Batches whose examples are drawn and bucketed by length together."""
    save_every: int = 200


FINE_TUNING = MiniatureSftConfig(
    seed=5, steps=200, horizon=200, cooldown=0, warmup=40, lr=8e-4, edits=0.35, frozen_steps=0, drawn=0.5
)
"""Stage 3."""

PRACTICE = MiniatureSftConfig(
    seed=6, steps=1850, horizon=2200, cooldown=300, warmup=100, lr=1.4e-3, edits=0.35, frozen_steps=1450, drawn=0.3
)
"""Stage 4."""
PRACTICE_POOL = DrawnConfig(seed=6, pool=3072)


def train_vision(config: VisionConfig, model: Qwen3VLForConditionalGeneration, heads: DenseHeads, path: Path) -> None:
    """Stage 1: the vision tower alone learns what stands at every patch."""
    run = RunDir(path, config)
    visual = model.model.visual
    parameters = [(n, p) for n, p in visual.named_parameters() if "merger" not in n] + list(heads.named_parameters())
    optimiser = MuonAdamW(parameters, lr=config.lr, steps=config.steps)
    parts = {"visual": visual, "heads": heads, "optimiser": optimiser}
    for step in range(run.resume(parts), config.steps):
        rng = np.random.default_rng([config.seed, 1, step])
        examples = [sample_edited(rng) if rng.random() < 0.2 else sample_generation(rng) for _ in range(config.batch)]
        labels = dense_labels(examples)
        with fast_autocast("cpu"):
            hidden = tower(visual, patches(np.stack([e.picture for e in examples]))).hidden
        loss = heads.loss(hidden.float(), labels)
        loss.backward()
        optimiser.step(step)
        if (step + 1) % 50 == 0:
            run.log(step + 1, loss=loss.item(), **heads.accuracy(hidden.float(), labels))
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            run.save_parts(parts, step + 1)


def train_critiques(
    config: MiniatureSftConfig,
    model: Qwen3VLForConditionalGeneration,
    heads: DenseHeads,
    tokeniser: PreTrainedTokenizerFast,
    path: Path,
    drawings: Sequence[Example] = (),
) -> None:
    """Stages 2 and 3: the whole model learns to write critiques."""
    run = RunDir(path, config)
    maker = BatchMaker(model, tokeniser, rubrics(), config.batch)
    optimiser = MuonAdamW(
        [*model.named_parameters(), *heads.named_parameters()],
        lr=config.lr,
        steps=config.steps,
        warmup=config.warmup,
        horizon=config.horizon,
        cooldown=config.cooldown,
    )
    parts = {"model": model, "heads": heads, "optimiser": optimiser}
    span = range(run.resume(parts), config.steps)
    draw = partial(maker.sample, edits=config.edits, drawings=drawings, drawn_share=config.drawn)
    losses: list[float] = []
    for step, batch in maker.steps(draw, (config.seed, 2), span, config.chunk):
        with fast_autocast("cpu"):
            loss, tokens = answer_loss(model, batch, frozen_tower=step < config.frozen_steps)
        total = loss
        # While the tower is frozen this trains the heads alone, so that they are ready when it is not.
        hidden, rendered = rendered_only(tokens.hidden[batch.candidates].float(), batch.examples)
        if rendered:
            total = loss + config.dense_weight * heads.loss(hidden, dense_labels(rendered))
        total.backward()
        optimiser.step(step)
        losses.append(loss.item())
        finished = step + 1
        if finished % 50 == 0:
            accuracy = heads.accuracy(hidden, dense_labels(rendered)) if rendered else {}
            run.log(
                finished, loss=float(np.mean(losses)), **{k: accuracy[k] for k in ("things", "letters") if accuracy}
            )
            losses.clear()
        if finished % config.save_every == 0 or finished == config.steps:
            run.save_parts(parts, finished)


def rendered_only(hidden: Tensor, examples: list[Example]) -> tuple[Tensor, list[Example]]:
    """The rows [B', patches, width] of pictures whose masks are known, and those examples."""
    rows = [row for row, example in enumerate(examples) if example.masks_known]
    return hidden[rows], [examples[row] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/miniature-scorer"), help="run directory")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vision-steps", type=int, default=VisionConfig().steps)
    parser.add_argument("--steps", type=int, default=MiniatureSftConfig().steps)
    parser.add_argument("--fine-tuning-steps", type=int, default=FINE_TUNING.steps)
    parser.add_argument("--practice-steps", type=int, default=PRACTICE.steps)
    parser.add_argument("--practise", type=Path, help="run stage 4 alone, starting from this checkpoint folder")
    parser.add_argument(
        "--generator", type=Path, help="diffusers folder that draws for stages 3 and 4 (default: the shipped one)"
    )
    parser.add_argument("--ship", type=Path, help="write the finished checkpoint to this folder, in bfloat16")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config = StudentConfig()
    heads = DenseHeads(config.vision_width)
    if arguments.practise:
        tokeniser = AutoTokenizer.from_pretrained(arguments.practise)
        model = Qwen3VLForConditionalGeneration.from_pretrained(arguments.practise, dtype=torch.float32)
    else:
        tokeniser = build_tokeniser(config.seed, config.vocabulary)
        model = build_student(config, tokeniser)
        train_vision(VisionConfig(steps=arguments.vision_steps), model, heads, arguments.run / "vision")
        train_critiques(MiniatureSftConfig(steps=arguments.steps), model, heads, tokeniser, arguments.run / "critiques")
    stages = [("practice", PRACTICE, PRACTICE_POOL, arguments.practice_steps)]
    if not arguments.practise:
        stages.insert(0, ("fine-tuning", FINE_TUNING, DrawnConfig(), arguments.fine_tuning_steps))
    for name, stage, pool, steps in stages:
        if steps:
            generator = MiniatureGenerator.load(arguments.generator or generator_folder())
            drawn_set = drawn_examples(pool, generator, arguments.run / f"{name}-drawn")
            # Fewer steps than planned are a trial, with a schedule of their own.
            tuned = stage if steps == stage.steps else replace(stage, steps=steps, horizon=steps, cooldown=0)
            train_critiques(tuned, model, heads, tokeniser, arguments.run / name, drawn_set)
    if arguments.ship:
        save_student(model, tokeniser, arguments.ship, torch.bfloat16)


if __name__ == "__main__":
    main()
