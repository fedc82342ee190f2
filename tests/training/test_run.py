"""The run directory: a run is never continued with another configuration, and its checkpoint is never torn."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from training.run import RunDir


@dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = 10
    lr: float = 1e-3
    channels: tuple[int, ...] = (8, 16)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise OSError("disk full")


def test_the_configuration_is_kept_where_a_person_can_read_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a" / "run", Config())
    assert json.loads((tmp_path / "a" / "run" / "config.json").read_text()) == {
        "steps": 10, "lr": 0.001, "channels": [8, 16],
    }  # fmt: skip
    assert run.samples.is_dir()


@pytest.mark.parametrize("change", [{"steps": 11}, {"lr": 1e-4}, {"channels": (8, 16, 16)}])
def test_another_configuration_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    RunDir(tmp_path, Config()).save_state({"step": 3})
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(SystemExit, match=r"holds a run with another configuration; choose another --run or delete it"):
        RunDir(tmp_path, replace(Config(), **change))
    assert (tmp_path / "config.json").read_text() == before
    assert RunDir(tmp_path, Config()).load_state() == {"step": 3}


def test_a_field_that_is_new_is_another_configuration(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown(Config):
        warmup: int = 5

    RunDir(tmp_path, Config())
    with pytest.raises(SystemExit):
        RunDir(tmp_path, Grown())


class TestState:
    def test_there_is_none_at_the_start(self, tmp_path: Path) -> None:
        assert RunDir(tmp_path, Config()).load_state() is None

    def test_the_newest_one_is_kept(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path, Config())
        run.save_state({"weights": torch.arange(3.0), "step": 1})
        run.save_state({"weights": torch.arange(4.0), "step": 2})
        state = RunDir(tmp_path, Config()).load_state()
        assert state is not None
        assert state["step"] == 2
        assert torch.equal(state["weights"], torch.arange(4.0))
        assert sorted(os.listdir(tmp_path)) == ["config.json", "samples", "state.pt"]

    def test_a_crash_while_writing_leaves_the_old_one(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path, Config())
        run.save_state({"step": 1})
        with pytest.raises(OSError, match="disk full"):
            run.save_state({"step": 2, "more": Unpicklable()})
        assert RunDir(tmp_path, Config()).load_state() == {"step": 1}
        run.save_state({"step": 3})
        assert run.load_state() == {"step": 3}

    def test_the_old_one_is_whole_until_the_new_one_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = RunDir(tmp_path, Config())
        run.save_state({"step": 1})
        seen: list[Any] = []
        replace_file = os.replace

        def watched(source: Path, target: Path) -> None:
            seen.append((torch.load(target, weights_only=True), torch.load(source, weights_only=True)))
            replace_file(source, target)

        monkeypatch.setattr("training.run.os.replace", watched)
        run.save_state({"step": 2})
        assert seen == [({"step": 1}, {"step": 2})]

    def test_a_checkpoint_cannot_run_code(self, tmp_path: Path) -> None:
        run = RunDir(tmp_path, Config())
        torch.save({"step": Path("x")}, tmp_path / "state.pt")
        with pytest.raises(Exception, match=r"[Ww]eights.only"):
            run.load_state()


def test_metrics_are_appended_across_processes(tmp_path: Path) -> None:
    RunDir(tmp_path, Config()).log(50, loss=1.5, note="a")
    run = RunDir(tmp_path, Config())
    run.log(100, loss=0.25)
    run.log(150, loss=float("nan"))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]
    assert (lines[0]["loss"], lines[0]["note"], lines[1]["loss"]) == (1.5, "a", 0.25)
    assert all(line["seconds"] >= 0 for line in lines)
