"""Rollouts -> critiques -> rewards, while the next rollouts are being sampled.

One thread with one event loop asks the judge for the whole run, so that a server's connections and its limit of
concurrent calls live as long as the run does. What could not be judged stays `Unscored`: it is counted, and masked.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import torch

from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.engine_kinds import ENGINES, engine_names
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case, FailureRateError, Outcome, ScoreBatch
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.scorer_settings import ScorerSettings

from .advantage import GroupRewards
from .config import RewardsConfig

OTHER_JUDGES = ("reward-server:URL", "oracle", "head:FOLDER", "scalar:FOLDER", "scalar:NAME")
"""Judges that are no engines."""


class CaseScorer(Protocol):
    """What the trainer needs of a judge; the core's `Scorer` is one."""

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch: ...

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float: ...

    def rubric_for(self, request: UserRequest) -> Rubric: ...

    async def close(self) -> None: ...


def make_judge(name: str, config: RewardsConfig) -> CaseScorer:
    """A judge by its name in the configuration."""
    kind, _, target = name.partition(":")
    adapter = config.adapter if name == config.judge else ""  # another held-out judge is asked as it is
    if adapter and kind not in ("miniature", "local"):
        raise ConfigError(
            f"rewards.adapter belongs to a judge in this process (miniature or local:FOLDER), not to {name!r}."
        )
    if name == "oracle":
        from ..rewards.oracle import OracleJudge

        return OracleJudge()
    if kind in ("scalar", "head") and target:
        return _scalar(kind, target, config)
    if kind == "reward-server" and target:
        from ..rewards.reward_server import RemoteJudge

        return RemoteJudge(target)
    if kind not in ENGINES:
        raise ConfigError(f"Unknown judge {name!r}; use {engine_names(*OTHER_JUDGES)}.")
    options = EngineOptions(precision=config.precision, batch_size=config.batch, adapter=adapter or None)
    # Rollouts never repeat, so a memo would only grow.
    return make_scorer(name, options, settings=ScorerSettings(), memo=Memo(limit=0))  # type: ignore[return-value]


def _scalar(kind: str, target: str, config: RewardsConfig) -> CaseScorer:
    """A reward without words."""
    from ..rewards.scalar_judge import USUAL, head_judge, published_judge, remote_judge

    if kind == "head":
        return head_judge(Path(target).expanduser(), config.batch)
    if target.startswith(("http://", "https://")):
        return remote_judge(target, config.batch)
    if target in USUAL:
        return published_judge(target, config.batch)
    from ..rewards.picture_head import scalar_judge

    return scalar_judge(Path(target).expanduser())


class RewardQueue:
    """Asks one judge, in the background."""

    def __init__(self, judge: CaseScorer, mode: Mode) -> None:
        self.judge, self._mode = judge, mode
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rewards", daemon=True)
        self._thread.start()

    def submit(self, cases: Sequence[Case]) -> Future[ScoreBatch]:
        """Start judging; the caller goes on sampling."""
        return asyncio.run_coroutine_threadsafe(self.judge.score_many(cases, self._mode), self._loop)

    def close(self) -> None:
        """Close the judge and end the thread."""
        asyncio.run_coroutine_threadsafe(self.judge.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def collected(
    pending: Sequence[Future[ScoreBatch]], on_images: Callable[[int], None] = lambda _: None
) -> list[Outcome]:
    """Wait for everything that was submitted, in order; `on_images` is told how many more have been judged."""
    outcomes_so_far: list[Outcome] = []
    for future in pending:
        outcomes = future.result().outcomes
        on_images(len(outcomes))
        outcomes_so_far += outcomes
    return outcomes_so_far


def failures(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each reason occurred."""
    return Counter(o.reason for o in outcomes if isinstance(o, Unscored))


def check_failures(rewards: GroupRewards, reasons: Counter[str], most: float) -> None:
    """Stop the run when too many of an epoch's rollouts are unscored: it would train on what happens to be judged.

    Both are those of all processes, so that all of them stop together.
    """
    total, failed = rewards.scored_P_G.numel(), int((~rewards.scored_P_G).sum())
    if failed > most * total:
        listed = ", ".join(f"{reason} {count}x" for reason, count in reasons.most_common(3))
        raise FailureRateError(
            f"{failed} of {total} rollouts are unscored ({listed}), more than rewards.max_failure_rate "
            f"{most:g}; fix the judge, then start the same command again: it resumes.",
            (),
        )


def group_rewards(outcomes: Sequence[Outcome], requests: Sequence[UserRequest], group: int, judge: CaseScorer, *,
                  expected: bool = False) -> GroupRewards:  # fmt: skip
    """Outcomes in rollout order (prompt by prompt) as tables; the requests are one per group."""
    rubric = judge.rubric_for(requests[0])
    shape = (len(requests), group)
    rewards, mask = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    scores = torch.zeros(*shape, len(rubric.dimensions))
    applicable = torch.zeros_like(scores, dtype=torch.bool)
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Unscored):
            continue
        p, g = divmod(index, group)
        rewards[p, g] = judge.reward(outcome, requests[p], expected=expected)
        mask[p, g] = True
        for d, dimension in enumerate(rubric.dimensions):
            score = outcome.judgement(dimension.key).score
            if score is not None:
                scores[p, g, d], applicable[p, g, d] = rubric.scale.normalise(score), True
    weights = torch.tensor([d.weight for d in rubric.dimensions])
    return GroupRewards(rewards, mask, scores, applicable, weights)
