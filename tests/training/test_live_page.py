"""The page of a run: what it shows while the run goes on, after it has ended, and of runs that log something else."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from PIL import Image

from rationalrewards_core.errors import ConfigError
from training.live_page import FILE, write_live_page
from training.run import RunDir


@dataclass(frozen=True)
class AnyConfig:
    value: int = 1


def page(folder: Path) -> str:
    return (folder / FILE).read_text(encoding="utf-8")


def test_a_running_run_refreshes_and_says_how_long(tmp_path: Path) -> None:
    rows = [{"step": step, "seconds": 10.0 * step, "loss": 1.0 / (step + 1)} for step in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_live_page(tmp_path, tmp_path / "metrics.jsonl", tmp_path / "samples", 20)
    assert 'http-equiv="refresh"' in page(tmp_path)
    assert "At step 5 of 20, about 2 min to go" in page(tmp_path), "15 steps of ten seconds"
    assert "<h3>Loss</h3>" in page(tmp_path)


def test_the_pace_is_that_of_this_start(tmp_path: Path) -> None:
    """A run that went on after a kill counts its seconds anew."""
    rows = [{"step": 1, "seconds": 900.0, "loss": 1.0}, {"step": 2, "seconds": 5.0, "loss": 1.0},
            {"step": 3, "seconds": 7.0, "loss": 1.0}]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_live_page(tmp_path, tmp_path / "metrics.jsonl", tmp_path / "samples", 13)
    assert "about 20 s to go" in page(tmp_path)


def test_a_run_that_was_killed_before_its_page_was_finished_finishes_it(tmp_path: Path) -> None:
    """Nothing is left to log then."""
    with closing(RunDir(tmp_path / "run", AnyConfig())) as run:
        run.log(1, loss=1.0)
        assert "http-equiv" in page(tmp_path / "run")
    write_live_page(tmp_path / "run", tmp_path / "run" / "metrics.jsonl", tmp_path / "run" / "samples", 1)
    with closing(RunDir(tmp_path / "run", AnyConfig())) as run:
        run.total = 1
    assert "Stopped after step 1 of 1." in page(tmp_path / "run")


def test_rewards_dimensions_failures_and_pictures_are_shown(tmp_path: Path) -> None:
    with closing(RunDir(tmp_path / "run", AnyConfig())) as run:
        run.total = 2
        Image.new("RGB", (8, 8)).save(run.samples / "000002.png")
        run.log(1, reward=0.5, dimension_text_rendering=2.0, unscored_no_score=3.0, unscored_share=0.1)
        run.log(2, reward=0.75, dimension_text_rendering=2.5, unscored_no_score=0.0, unscored_share=0.0)
    text = page(tmp_path / "run")
    for part in ("0.750", "0.500 at first", "dimension text rendering", "unscored no score", "samples/000002.png"):
        assert part in text
    assert "Stopped after step 2 of 2." in text
    assert "http-equiv" not in text


def test_a_refused_run_leaves_the_page_of_the_other_alone(tmp_path: Path) -> None:
    with closing(RunDir(tmp_path, AnyConfig())) as run:
        run.log(1, loss=1.0)
        run.save_state({})
    before = page(tmp_path)
    with pytest.raises(ConfigError, match="another configuration"):
        RunDir(tmp_path, AnyConfig(value=2))
    assert page(tmp_path) == before


def test_names_are_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>mine"
    with closing(RunDir(folder, AnyConfig())) as run:
        run.log(1, loss=1.0)
    assert "<b>mine" not in page(folder)
