"""The held-out view: requests never trained, images by the averaged policy, a judge that training never asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.images import png_bytes
from rationalrewards_core.jsonl import LineWriter
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.storage import replace_file

from ..contact_sheet import contact_sheet
from .config import NFTConfig
from .families.base import ModelFamily
from .metrics import diversity
from .processes import evaluated
from .prompts import PromptSource
from .rewards import CaseScorer, RewardQueue, collected
from .rollout import ConditioningCache, sample_groups

PERFECT = 0.999
"""Reward from which an image counts as fully right."""
FILE = "evaluation.jsonl"
SMALL = 128
"""Widest picture that is kept of an evaluation."""
NO_EPOCH = 2**31 - 1
"""In place of an epoch in the seeds: evaluation always starts from the same noise, and training never from it."""


@dataclass(frozen=True)
class HeldOut:
    """One held-out picture and what was said of it."""

    outcome: Outcome
    reward: float | None
    """None where it is unscored."""
    image: Image.Image
    """At most `SMALL` pixels wide."""


def evaluate(
    family: ModelFamily,
    model: Any,
    encoded: ConditioningCache,
    source: PromptSource,
    queue: RewardQueue,
    config: NFTConfig,
    accelerator: Accelerator,
) -> list[HeldOut]:
    """Pictures of the held-out requests, in their order, from the same noise every time; the processes share them."""
    everything = source.draw(0, config.run.evaluate_prompts)
    mine, counting = evaluated(len(everything), accelerator)
    prompts = [everything[number] for number in mine]
    encoded.prepare([prompt.request for prompt in prompts])
    seeds = [(config.run.seed, NO_EPOCH, number) for number in mine]
    images: list[Image.Image] = []
    cases: list[Case] = []
    for chunk in sample_groups(family, model, encoded, prompts, seeds, config.rollout, config.run.evaluate_group):
        images += chunk.images
        cases += [Case(request, image) for request, image in zip(chunk.requests, chunk.images, strict=True)]
    cases = cases[: counting * config.run.evaluate_group]
    outcomes = collected([queue.submit(cases)]) if cases else []
    pictures = [
        HeldOut(outcome, reward_or_none(outcome, case.request, queue.judge), _small(image))
        for outcome, case, image in zip(outcomes, cases, images, strict=False)
    ]
    whole: list[HeldOut] = gather_object(pictures)
    return whole


def reward_or_none(outcome: Outcome, request: UserRequest, judge: CaseScorer) -> float | None:
    return judge.reward(outcome, request) if isinstance(outcome, Critique) else None


def evaluation_figures(samples: Sequence[HeldOut], group: int) -> dict[str, float]:
    """What to log; pictures of a request stand together, `group` of them."""
    rewards = [one.reward for one in samples if one.reward is not None]
    figures = {"held_out_unscored": float(len(samples) - len(rewards))}
    if rewards:
        figures["held_out_reward"] = float(np.mean(rewards))
        figures["held_out_perfect"] = float(np.mean([reward >= PERFECT for reward in rewards]))
    critiques = [one.outcome for one in samples if isinstance(one.outcome, Critique)]
    for key in {j.key for critique in critiques for j in critique.judgements}:
        scores = [critique.judgement(key).score for critique in critiques]
        applicable = [score for score in scores if score is not None]
        if applicable:
            figures[f"held_out_{key}"] = float(np.mean(applicable))
    spread = diversity([one.image for one in samples], group)
    return dict(sorted(figures.items())) | ({} if spread is None else {"held_out_diversity": spread})


def write_evaluation(run: Path, epoch: int, samples: Sequence[HeldOut]) -> None:
    """Every reward, so that two epochs can be compared request by request, and a sheet of pictures."""
    with LineWriter(run / FILE) as lines:
        lines.append({"epoch": epoch, "rewards": [one.reward for one in samples]})
    pictures = [one.image for one in samples[:32]]
    sheet = contact_sheet(pictures, 8, scale=2 if pictures[0].width < SMALL else 1)
    replace_file(run / "samples" / f"{epoch:06d}.png", [png_bytes(sheet)], lasting=False)


def _small(image: Image.Image) -> Image.Image:
    return image if image.width <= SMALL else image.resize((SMALL, round(SMALL * image.height / image.width)))
