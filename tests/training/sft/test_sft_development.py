"""Development pairs and estimates: what is refused or counted before anything is loaded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")


from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from tests.training.sft.runs import small
from training.sft import trainer as trainer_module
from training.sft.config import miniature
from training.sft.development import Development
from training.sft.estimate import estimate
from training.sft.trainer import SftTrainer
from training.sft.weights import load_trainee

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("one_thread")]


class TestDevelopment:
    def test_ties_alone_are_refused_before_anything_is_loaded(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = tied(export, tmp_path / "export")
        monkeypatch.setattr(trainer_module, "load_trainee", no_loading)
        with pytest.raises(ConfigError, match=r"all 4 pairs are ties.*evaluate_every=0"):
            SftTrainer(small(copy, evaluate_every=None), tmp_path / "run")

    def test_no_development_pairs_at_all_say_what_to_do(self, export: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(export, tmp_path / "export")
        rows = (copy / "pairs.jsonl").read_text().replace('"split": "dev"', '"split": "train"')
        (copy / "pairs.jsonl").write_text(rows)
        with pytest.raises(ConfigError, match="larger --dev, or say evaluate_every=0"):
            SftTrainer(small(copy, evaluate_every=None), tmp_path / "run")

    def test_only_pairs_with_a_winner_are_counted_and_few_are_said(
        self, export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        copy = tied(export, tmp_path / "export", ties=2)
        development = Development(small(copy, dev_pairs=2))
        assert [one.pair.preference is Verdict.TIE for one in development.pairs] == [False, False]
        assert "Only 2 development pairs with a winner: an accuracy is known within 0.69" in caplog.text


def tied(export: Path, copy: Path, ties: int = 4) -> Path:
    """The export with its first pairs made ties."""
    shutil.copytree(export, copy)
    rows = [json.loads(line) for line in (copy / "pairs.jsonl").read_text().splitlines()]
    for row in rows[:ties]:
        row["preference"] = "TIE"
    (copy / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return copy


def no_loading(*_: Any) -> Any:
    raise AssertionError("a model was loaded first")


class TestEstimate:
    def test_counts_what_really_trains(self, export: Path) -> None:
        config = small(export, lora_rank=8)
        found = estimate(config)
        trainee = load_trainee(config, "cpu")
        assert found.trained_parameters == sum(p.numel() for p in trainee.trainable.values())
        held = sum(p.numel() * p.element_size() for p in trainee.model.parameters() if not p.requires_grad)
        assert found.weights * 2**30 == held

    def test_the_presets_models_have_their_published_sizes(self) -> None:
        config = replace(miniature(), model="Qwen/Qwen3-VL-8B-Instruct", precision="bf16")
        found = estimate(config)
        assert round(found.parameters / 1e9, 2) == 8.77
        assert found.weights == pytest.approx(16.3, abs=0.1)

    def test_levers_move_it_the_right_way(self) -> None:
        base = replace(miniature(), model="Qwen/Qwen3-VL-4B-Instruct", precision="bf16", micro_batch=1, batch=8)
        assert estimate(replace(base, precision="nf4")).weights < 0.5 * estimate(base).weights
        assert estimate(replace(base, checkpointing=True)).activations < 0.5 * estimate(base).activations
        full = replace(base, method="full", precision="fp32")
        assert estimate(full, shards=8).trained == pytest.approx(estimate(full).trained / 8)
        assert estimate(base, shards=8).trained == estimate(base).trained  # adapters stay whole

    def test_an_unknown_model_is_said(self) -> None:
        with pytest.raises(ConfigError, match="hf download nobody/nothing"):
            estimate(replace(miniature(), model="nobody/nothing"))
