"""Own critiques: a pair is drawn again until two of its critiques bear the pick out, and no oftener than asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.messages import UserRequest
from training.parrot.own_critiques import OwnCritic, OwnSettings, own_tasks
from training.parrot.records import Projection
from training.parrot.run import ParrotRun
from training.personal.example_picks import write_picks
from training.personal.picks import read_picks


class Slipping:
    """A judge that finds everything perfect, except one picture in its eleventh critique."""

    def __init__(self, disliked: Image.Image) -> None:
        self._disliked = disliked.tobytes()
        self.seeds: list[int] = []
        self.rubrics = {"generation": SimpleNamespace(name="any")}

    async def sample(self, request: UserRequest, picture: Image.Image, *, temperature: float, seed: int) -> Critique:
        self.seeds.append(seed)
        score = 3.0 if seed == 11 and picture.tobytes() == self._disliked else 4.0
        judgement = Judgement(key="a", justification="", score=score)
        return Critique(rubric="generation", analysis="", judgements=(judgement,), summary="", raw=f"{score}")

    def reward(self, critique: Critique, request: UserRequest) -> float:
        return (float(critique.judgements[0].score or 0.0) - 1.0) / 3.0


@pytest.fixture
def run(tmp_path: Path) -> ParrotRun:
    run = ParrotRun(tmp_path / "run")
    read_picks(write_picks(tmp_path / "picks", 40, 1), run, "words")
    return run


def both_sides(run: ParrotRun, settings: OwnSettings) -> tuple[list[Projection], Slipping]:
    pair = next(run.pairs())
    disliked = pair.second if pair.preference is Verdict.A else pair.first
    judge = Slipping(run.store.open(disliked))
    critic = OwnCritic(run, judge, "slipping", settings)  # type: ignore[arg-type]

    async def work() -> list[Projection]:
        return [await critic(task) for task in own_tasks([pair])]

    return asyncio.run(work()), judge


def test_critiques_are_drawn_until_two_agree_with_the_pick(run: ParrotRun) -> None:
    records, judge = both_sides(run, OwnSettings(samples=64, at_once=8))
    assert all(record.kept and record.usage.requests == 16 for record in records)
    liked = [record.critique for record in records if record.side == records[0].pair.preference.value]
    assert liked[0] is not None
    assert liked[0].judgements[0].score == 4.0
    assert sorted(judge.seeds) == sorted([*range(1, 17)] * 2), (
        "every critique has a seed of its own, and none is asked twice"
    )


@pytest.mark.parametrize("samples", [8, 10])
def test_a_pair_that_never_agrees_is_dropped_after_as_many_as_were_asked_for(run: ParrotRun, samples: int) -> None:
    records, judge = both_sides(run, OwnSettings(samples=samples, at_once=8))
    assert [record.reason for record in records] == ["disagrees"] * 2
    assert f"In {samples} critiques" in records[0].message
    assert max(judge.seeds) == samples
