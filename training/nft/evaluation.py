"""The held-out view: requests never trained, images by the averaged policy, a judge that training never asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Case, Outcome
from training.miniature.flow import contact_sheet
from training.nft.config import NFTConfig
from training.nft.families.base import ModelFamily
from training.nft.metrics import diversity
from training.nft.prompts import PromptSource
from training.nft.rewards import Judge, RewardQueue, collected
from training.nft.rollout import Encoded, sample_groups

PERFECT = 0.999
"""Reward from which an image counts as fully right."""
FILE = "evaluation.jsonl"
NO_EPOCH = 2**31 - 1
"""In place of an epoch in the seeds: evaluation always starts from the same noise, and training never from it."""


def evaluate(
    family: ModelFamily, model: Any, encoded: Encoded, source: PromptSource, queue: RewardQueue, config: NFTConfig
) -> tuple[dict[str, float], list[float | None], list[Image.Image]]:
    """Figures, one reward per image (None where unscored) and the images; the same noise every time."""
    prompts = source.draw(0, config.run.evaluate_prompts)
    encoded.prepare([prompt.request for prompt in prompts])
    seeds = [(config.run.seed, NO_EPOCH, number) for number in range(len(prompts))]
    group = config.run.evaluate_group
    images: list[Image.Image] = []
    cases: list[Case] = []
    for chunk in sample_groups(family, model, encoded, prompts, seeds, config.rollout, group):
        images += chunk.images
        cases += [Case(request, image) for request, image in zip(chunk.requests, chunk.images, strict=True)]
    outcomes = collected([queue.submit(cases)])
    rewards = [
        reward_or_none(outcome, case.request, queue.judge) for outcome, case in zip(outcomes, cases, strict=True)
    ]
    return _figures(outcomes, rewards, images, group), rewards, images


def reward_or_none(outcome: Outcome, request: UserRequest, judge: Judge) -> float | None:
    return judge.reward(outcome, request) if isinstance(outcome, Critique) else None


def _figures(
    outcomes: Sequence[Outcome], rewards: Sequence[float | None], images: Sequence[Image.Image], group: int
) -> dict[str, float]:
    scored = [reward for reward in rewards if reward is not None]
    found = {"held_out_unscored": float(len(rewards) - len(scored))}
    if scored:
        found["held_out_reward"] = float(np.mean(scored))
        found["held_out_perfect"] = float(np.mean([reward >= PERFECT for reward in scored]))
    for key in {j.key for o in outcomes if isinstance(o, Critique) for j in o.judgements}:
        scores = [o.judgement(key).score for o in outcomes if isinstance(o, Critique)]
        applicable = [score for score in scores if score is not None]
        if applicable:
            found[f"held_out_{key}"] = float(np.mean(applicable))
    spread = diversity(images, group)
    return dict(sorted(found.items())) | ({} if spread is None else {"held_out_diversity": spread})


def write_evaluation(run: Path, epoch: int, rewards: Sequence[float | None], images: Sequence[Image.Image]) -> None:
    """Every reward, so that two epochs can be compared request by request, and a sheet of pictures."""
    with (run / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"epoch": epoch, "rewards": list(rewards)}) + "\n")
    shown = list(images[:32])
    small = [i if i.width <= 128 else i.resize((128, round(128 * i.height / i.width))) for i in shown]
    contact_sheet(small, 8, scale=2 if shown[0].width <= 128 else 1).save(run / "samples" / f"{epoch:06d}.png")
