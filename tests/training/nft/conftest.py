"""Runs of the miniature small enough for a test, and judges that fail on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from rationalrewards_core.critique import Unscored
from rationalrewards_core.judged import Case, ScoreBatch
from rationalrewards_core.replies.parsing import Mode
from training.nft.config import NFTConfig, changed
from training.nft.presets import miniature_cpu
from training.rewards.oracle import OracleJudge

SMALL: dict[str, Any] = {
    "model": {"precision": "fp32"},
    "rollout": {"prompts": 2, "group": 4, "steps": 3, "batch": 8},
    "rewards": {"judge": "oracle", "held_out_judge": ""},
    "times": {"count": 1},
    "loss": {"kl_weight": 1e-4},
    "policy": {"rank": 4, "alpha": 8},
    "optimiser": {"updates": 2, "micro_batch": 8},
    "run": {"epochs": 4, "evaluate_every": 0, "save_every": 2, "audit_every": 1},
}


class FlakyJudge(OracleJudge):
    """Leaves about this share of the pictures unscored: which ones depends on their pixels alone."""

    def __init__(self, share: float) -> None:
        self._share = share

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        judged = (await super().score_many(cases, mode)).outcomes
        lost = Unscored(reason="timeout", message="The judge did not answer.")
        return ScoreBatch(tuple(lost if self.loses(c) else o for c, o in zip(cases, judged, strict=True)))

    def loses(self, case: Case) -> bool:
        digest = hashlib.sha256(case.candidate.tobytes()).digest()
        return int.from_bytes(digest[:2], "big") < self._share * 65536


class DyingJudge(OracleJudge):
    """Works for this many calls; then the power goes."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        self._left -= 1
        if self._left < 0:
            raise KeyError("power")
        return await super().score_many(cases, mode)


@pytest.fixture(scope="session")
def small() -> Callable[..., NFTConfig]:
    """A small configuration, with nested changes."""

    def make(**changes: Any) -> NFTConfig:
        return changed(changed(miniature_cpu(), SMALL), changes)

    return make


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """A run's metrics without the seconds, which no resume can repeat."""

    def read(run: Path) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    return read


@pytest.fixture
def records() -> Callable[[Path, int], list[dict[str, Any]]]:
    def read(run: Path, epoch: int) -> list[dict[str, Any]]:
        file = run / "epochs" / f"{epoch:06d}" / "rollouts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    return read


@pytest.fixture
def flaky() -> type[FlakyJudge]:
    return FlakyJudge


@pytest.fixture
def dying() -> type[DyingJudge]:
    return DyingJudge
