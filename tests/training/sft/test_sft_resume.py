"""Runs that are stopped, go on bit for bit, and are made longer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import torch

from rationalrewards_core.errors import ConfigError
from tests.training.sft.runs import assert_same, small, weights
from training.sft.loss import lr_factor
from training.sft.trainer import SftTrainer

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("one_thread")]


class Stopped(Exception):
    """The process was killed."""


def dying_after(calls: int) -> Callable[..., Any]:
    step, left = SftTrainer._step, calls

    def dying(self: SftTrainer, *arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise Stopped
        left -= 1
        step(self, *arguments)

    return dying


def logged(run: Path) -> list[dict[str, Any]]:
    """The metrics without their clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class TestResume:
    @pytest.mark.parametrize("method", ["lora", "full"])
    def test_a_stopped_run_goes_on_bit_for_bit(
        self, method: str, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With dropout, accumulation, a new epoch after step 4 and measurements; stopped between checkpoints."""
        measured = 3 if method == "lora" else 0
        config = small(export, max_steps=6, method=method, evaluate_every=measured, dev_pairs=2, patience=0)
        SftTrainer(config, tmp_path / "undisturbed").train()
        with monkeypatch.context() as patch:
            patch.setattr(SftTrainer, "_step", dying_after(3))
            with pytest.raises(Stopped):
                SftTrainer(config, tmp_path / "stopped").train()
        SftTrainer(config, tmp_path / "stopped").train()
        assert logged(tmp_path / "stopped") == logged(tmp_path / "undisturbed"), "no step is logged twice"
        states = [torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("stopped", "undisturbed")]
        assert_same(states[0]["trained"], states[1]["trained"])
        for name, moments in states[1]["optimiser"]["state"].items():
            assert_same(states[0]["optimiser"]["state"][name], moments)
        assert states[0]["progress"] == states[1]["progress"]

    def test_a_finished_run_is_not_trained_again(self, export: Path, tmp_path: Path) -> None:
        config = small(export, max_steps=2)
        first = weights(SftTrainer(config, tmp_path).train())
        lines = (tmp_path / "metrics.jsonl").read_text()
        assert_same(weights(SftTrainer(config, tmp_path).train()), first)
        assert (tmp_path / "metrics.jsonl").read_text() == lines

    def test_a_finished_run_can_be_made_longer(self, export: Path, tmp_path: Path) -> None:
        SftTrainer(small(export, epochs=1.0, max_steps=0), tmp_path).train()
        longer = small(export, epochs=2.0, max_steps=0, patience=7, evaluate_every=0)
        trainer = SftTrainer(longer, tmp_path)
        trainer.train()
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
        assert trainer.progress.step == 8
        rates = [line["lr"] for line in lines if "loss" in line]
        assert rates[4] == pytest.approx(1e-3 * lr_factor(4, 8, longer.warmup)), "along the longer schedule"
        assert json.loads((tmp_path / "config.json").read_text())["epochs"] == 2.0

    def test_other_settings_or_other_data_are_refused(self, export: Path, tmp_path: Path) -> None:
        SftTrainer(small(export, max_steps=2), tmp_path / "run").train()
        with pytest.raises(ConfigError, match=r"another configuration: lr was 0\.001, is 0\.002"):
            SftTrainer(small(export, max_steps=2, lr=2e-3), tmp_path / "run")
        state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
        torch.save(state | {"examples": 99}, tmp_path / "run" / "state.pt")
        with pytest.raises(ConfigError, match="trained on 99 examples"):
            SftTrainer(small(export, max_steps=2), tmp_path / "run").train()
