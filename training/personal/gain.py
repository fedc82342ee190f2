"""The judge before and after, on picks that neither training nor its early stopping has seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.storage import replace_file

from ..data.labelled_pairs import LabelledPair, PairFolder, with_winner
from ..evaluate.running import JudgeSettings, judge_pairs
from ..rewards.figures import Share, accuracy, difference
from ..rewards.ties import PROTOCOLS
from ..sft.development import DEV_PROTOCOL
from .job import JudgeJob

EXAMPLES: Final = 6
"""Test pairs whose critiques are shown."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Share of the test pairs ordered as you did; ties and failures count as wrong. 95 % intervals."""

    before: Share
    after: Share
    gain: Share

    @property
    def sentence(self) -> str:
        text = (
            f"of {self.after.counted} held-out pairs the judge orders {100 * self.after.value:.0f} % as you did, "
            f"{100 * self.before.value:.0f} % before: {100 * self.gain.value:+.0f} points "
            f"(95 % interval {100 * self.gain.low:+.0f} to {100 * self.gain.high:+.0f})"
        )
        if self.gain.low > 0:
            return text
        return f"{text}; that is NO CLEAR GAIN: pick more, or give it a better teacher, before you use it"


def measured_gain(job: JudgeJob) -> Gain:
    """Judge the test pairs with both; goes on where it stopped."""
    folder = PairFolder(job.export)
    pairs = with_winner(folder.pairs("test"), f"{job.export}, split test")
    before, after = (
        judge_pairs(_settings(job, adapter), folder, pairs, job.run / "test") for adapter in (None, job.adapter)
    )
    rule = PROTOCOLS[DEV_PROTOCOL]
    return Gain(before=accuracy(before, rule), after=accuracy(after, rule), gain=difference(after, before, rule))


def _settings(job: JudgeJob, adapter: Path | None) -> JudgeSettings:
    sft = job.sft(0)
    return JudgeSettings(
        judge=job.engine, adapter=None if adapter is None else str(adapter), precision=sft.precision,
        device=job.device, batch_size=sft.dev_batch,
    )  # fmt: skip


def example_critiques(job: JudgeJob) -> list[dict[str, Any]]:
    """Critiques of a few test pairs before and after, as JSON: kept in `examples.json`, made once."""
    file = job.run / "examples.json"
    if file.is_file():
        return _examples(file)
    folder = PairFolder(job.export)
    pairs = with_winner(folder.pairs("test"), "test")[:EXAMPLES]
    cases = [Case(folder.request(one.pair), picture) for one in pairs for picture in folder.candidates(one.pair)]
    before, after = (_outcomes(job, adapter, cases) for adapter in (None, job.adapter))
    rows = [_row(one, before[2 * i : 2 * i + 2], after[2 * i : 2 * i + 2]) for i, one in enumerate(pairs)]
    replace_file(file, [json.dumps(rows, ensure_ascii=False).encode()])
    return rows


def _examples(file: Path) -> list[dict[str, Any]]:
    wanted = {"request", "kind", "images", "preference", "before", "after"}
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        whole = isinstance(rows, list) and all(isinstance(row, dict) and wanted <= row.keys() for row in rows)
    except (OSError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise ConfigError(f"{file} holds no critiques of this version; remove it, and they are asked for again.")
    return list(rows)


def _outcomes(job: JudgeJob, adapter: Path | None, cases: Sequence[Case]) -> Sequence[dict[str, Any]]:
    scorer = job.scorer(adapter=adapter)

    async def work() -> Sequence[Outcome]:
        try:
            return (await scorer.score_many(cases)).outcomes
        finally:
            await scorer.close()

    outcomes = asyncio.run(work())
    return [
        {"critique": outcome.to_json(), "reward": scorer.reward(outcome, case.request)}
        if isinstance(outcome, Critique)
        else {"unscored": outcome.message}
        for outcome, case in zip(outcomes, cases, strict=True)
    ]


def _row(one: LabelledPair, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    pair = one.pair
    images = [pair.first, pair.second]
    return {
        "request": pair.request, "kind": pair.kind, "images": images, "preference": pair.preference.value,
        "before": list(before), "after": list(after),
    }  # fmt: skip
