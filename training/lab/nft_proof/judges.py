"""How good the two rewards are before anything is trained: the same held-out pairs for both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from rationalrewards_core.critique import Critique
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ...nft.config import RewardsConfig
from ...nft.rewards import CaseScorer, make_judge
from ...rewards.rendered_preferences import Preference, drawn_preferences, rendered_preferences

SEED = 6
"""Of the pairs; the head's own held-out pairs come from another."""


def held_out_pairs(rendered: int = 300, requests: int = 64) -> dict[str, list[Preference]]:
    """Reserved requests: renderings, and pictures by the shipped generator (four of each request)."""
    generator = MiniatureGenerator.load(generator_folder())
    return {
        "rendered": rendered_preferences(np.random.default_rng([SEED, 13]), rendered, reserved=True),
        "drawn": drawn_preferences(generator, np.random.default_rng([SEED, 15]), requests, reserved=True),
    }


def accuracies(judges: Mapping[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """Arm -> kind of pairs -> accuracy, of each arm's judge."""
    pairs = held_out_pairs()
    table = {}
    for arm, name in judges.items():
        judge = make_judge(name, RewardsConfig())
        table[arm] = {kind: asyncio.run(accuracy(judge, some)) for kind, some in pairs.items()}
    return table


async def accuracy(judge: CaseScorer, preferences: Sequence[Preference]) -> dict[str, float]:
    """Share of pairs whose better picture gets the higher reward: a tie counts half, an unscored picture as wrong."""
    requests = [UserRequest(p.request) for p in preferences]
    cases = [Case(r, picture) for r, p in zip(requests, preferences, strict=True) for picture in p.pictures]
    outcomes = (await judge.score_many(cases, "score")).outcomes
    right, ties, unscored = 0.0, 0, 0
    for request, preference, first, second in zip(requests, preferences, outcomes[::2], outcomes[1::2], strict=True):
        if not (isinstance(first, Critique) and isinstance(second, Critique)):
            unscored += 1
            continue
        margin = judge.reward(first, request) - judge.reward(second, request)
        ties += margin == 0.0
        right += 0.5 if margin == 0.0 else float(margin * preference.gap > 0)
    count = len(preferences)
    shares = {"accuracy": right / count, "ties": ties / count, "unscored": unscored / count}
    return {"pairs": float(count), **{name: round(share, 4) for name, share in shares.items()}}
