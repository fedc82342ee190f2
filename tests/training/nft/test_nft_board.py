"""TensorBoard and Weights & Biases get every figure of a run; without the package the run says what to install."""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from rationalrewards_core.errors import ConfigError
from training.nft.board import Board
from training.nft.config import NFTConfig


@pytest.fixture
def accumulated() -> Callable[[Path], dict[str, list[tuple[int, float]]]]:
    """Reads a folder's events: name -> (epoch, value)."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        why = (
            "NOT TESTED: TensorBoard events; pip install 'rationalrewards[tensorboard]' to test that they are written."
        )
        warnings.warn(why, stacklevel=1)
        pytest.skip(why)

    def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
        events: Any = EventAccumulator(str(folder))
        events.Reload()
        return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}

    return read


def test_figures_become_events(accumulated: Callable[..., Any], tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.add(1, {"reward": 0.25, "r_0.5": 1.0})
    board.add(2, {"reward": 0.5})
    board.close()
    assert accumulated(tmp_path) == {"reward": [(1, 0.25), (2, 0.5)], "r_0.5": [(1, 1.0)]}


@pytest.mark.slow
def test_a_run_shows_there_what_its_metrics_say(
    accumulated: Callable[..., Any], small: Callable[..., NFTConfig], tmp_path: Path
) -> None:
    from training.nft.train import train

    run = {"epochs": 2, "evaluate_every": 2, "evaluate_prompts": 2, "tensorboard": True}
    train(small(run=run), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shown = accumulated(tmp_path / "run" / "tensorboard")
    for name in ("reward", "group_std", "grad_norm", "held_out_reward"):
        logged = [(row["step"], row[name]) for row in rows if name in row]
        assert [step for step, _ in shown[name]] == [step for step, _ in logged]
        assert [value for _, value in shown[name]] == pytest.approx([value for _, value in logged], rel=1e-6)


def test_without_the_package_the_run_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        Board(tmp_path)
    Board(None).add(1, {"reward": 0.5})


def test_weights_and_biases_gets_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, by its own library: what it keeps for a later `wandb sync` holds every figure."""
    if importlib.util.find_spec("wandb") is None:
        why = "NOT TESTED: Weights & Biases; pip install 'rationalrewards[wandb]' to test that it gets the figures."
        warnings.warn(why, stacklevel=1)
        pytest.skip(why)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "mine").mkdir()
    board = Board(None, "taste", tmp_path / "mine")
    board.add(1, {"reward": 0.25})
    board.add(2, {"reward": 0.5})
    board.close()
    importlib.import_module("wandb").teardown()  # ends the process that writes
    kept = list((tmp_path / "mine" / "wandb").glob("offline-run-*-mine/run-mine.wandb"))
    assert len(kept) == 1
    content = kept[0].read_bytes()
    assert b"reward" in content
    assert b"0.25" in content
    assert b"0.5" in content


def test_without_wandb_the_run_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        Board(None, "taste", tmp_path)
