"""Settings: presets, unknown keys, what cannot go together; the order of the examples; the learning rate."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from rationalrewards_core.backends.device import fast_precision
from rationalrewards_core.errors import ConfigError
from training.settings import read_settings
from training.sft.__main__ import build_parser, main, settings
from training.sft.batches import batch_at, epoch_batches, micro_batches
from training.sft.config import PRESETS, SftConfig, changed, preset
from training.sft.examples import interval, planned_steps
from training.sft.loss import lr_factor


class TestSettings:
    def test_the_papers_preset_is_the_released_recipe(self) -> None:
        paper = preset("qwen3-vl-8b-paper")
        assert (paper.method, paper.lr, paper.warmup, paper.weight_decay) == ("full", 1e-5, 0.05, 1e-6)
        assert (paper.epochs, paper.max_length, paper.max_pixels, paper.micro_batch) == (3.0, 32_768, 802_816, 4)
        assert not paper.train_tower
        assert not paper.train_projector

    @pytest.mark.parametrize("name", PRESETS)
    def test_presets_freeze_the_tower(self, name: str) -> None:
        assert not preset(name).train_tower

    def test_file_and_command_line_replace_the_presets(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_text("lr = 3e-4\nbatch = 8\nmicro_batch = 8\ncheckpointing = true\n")
        words = [
            "estimate",
            "--preset",
            "miniature",
            "--config",
            str(file),
            "--set",
            "lr=1e-4",
            "--set",
            "max_pixels=none",
        ]
        config = settings(build_parser().parse_args(words))
        assert (config.lr, config.batch, config.checkpointing, config.max_pixels) == (1e-4, 8, True, None)
        assert asdict(config).keys() == asdict(preset("miniature")).keys()

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("learning_rate", "1", "unknown key 'learning_rate'"),
            ("lr", "fast", "lr must be a number"),
            ("batch", "1.5", "batch must be a whole number"),
            ("batch", True, "batch must be a whole number"),
            ("autocast", "maybe", "autocast must be true or false"),
            ("model", 3, "model must be a text"),
            ("lr", "0", "lr must be positive"),
            ("lr", "nan", "lr must be a finite number, not nan"),
            ("lr", "inf", "lr must be a finite number, not inf"),
            ("epochs", "nan", "epochs must be a finite number"),
            ("weight_decay", "inf", "weight_decay must be a finite number"),
            ("batch", "9", "multiple of micro_batch"),
            ("warmup", "1", "warmup must be at least 0 and below 1"),
            ("method", "full", ""),
            ("precision", "q4", "precision must be one of"),
        ],
    )
    def test_what_cannot_be_is_said(self, key: str, value: Any, message: str) -> None:
        if not message:  # fp32 holds full fine-tuning
            assert changed(preset("miniature"), {key: value}, "--set").method == "full"
            return
        with pytest.raises(ConfigError, match=message):
            changed(preset("miniature"), {key: value}, "--set")

    def test_full_fine_tuning_in_round_weights_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="full needs precision fp32"):
            SftConfig(model="x", method="full", precision="bf16")

    def test_the_command_line_says_one_sentence(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        words = ["train", "--preset", "miniature", "--export", str(tmp_path), "--run", str(tmp_path / "r")]
        assert main([*words, "--set", "speed=9"]) == 1
        assert "error: --set: unknown key 'speed'" in capsys.readouterr().err

    @pytest.mark.parametrize("name", PRESETS)
    def test_what_show_prints_config_reads(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["estimate", "--preset", name, "--set", "max_pixels=none", "--show"]) == 0
        wanted = replace(preset(name), max_pixels=None)
        texts = {"mine.toml": capsys.readouterr().out, "config.json": json.dumps(asdict(wanted))}
        for file, text in texts.items():
            (tmp_path / file).write_text(text)
            words = ["estimate", "--preset", "qwen3-vl-4b", "--config", str(tmp_path / file)]
            assert settings(build_parser().parse_args(words)) == wanted

    def test_a_settings_file_that_is_none_is_said(self, tmp_path: Path) -> None:
        for name, text in (("a.toml", "lr = = 1"), ("b.json", "[1"), ("c.json", "[1]")):
            (tmp_path / name).write_text(text)
            with pytest.raises(ConfigError, match=name):
                read_settings(tmp_path / name)

    def test_presets_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["presets"]) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in PRESETS)


LENGTHS = [10 + (7 * i) % 90 for i in range(203)]


class TestOrder:
    def test_every_epoch_sees_full_batches_of_different_examples(self) -> None:
        batches = epoch_batches(LENGTHS, 8, seed=1, epoch=0)
        seen = [i for batch in batches for i in batch]
        assert len(batches) == 25
        assert len(set(seen)) == 200
        assert all(len(batch) == 8 for batch in batches)

    def test_it_is_a_function_of_seed_and_epoch(self) -> None:
        assert epoch_batches(LENGTHS, 8, 1, 0) == epoch_batches(LENGTHS, 8, 1, 0)
        assert epoch_batches(LENGTHS, 8, 1, 0) != epoch_batches(LENGTHS, 8, 1, 1)
        assert epoch_batches(LENGTHS, 8, 1, 0) != epoch_batches(LENGTHS, 8, 2, 0)

    def test_any_step_is_found_again(self) -> None:
        walked = [b for epoch in range(2) for b in epoch_batches(LENGTHS, 8, 1, epoch)]
        assert [batch_at(LENGTHS, 8, 1, step) for step in range(50)] == walked

    def test_batches_hold_similar_lengths(self) -> None:
        def padding(batches: list[list[int]]) -> int:
            return sum(max(LENGTHS[i] for i in b) * len(b) - sum(LENGTHS[i] for i in b) for b in batches)

        unsorted = [list(range(i, i + 8)) for i in range(0, 200, 8)]
        assert padding(epoch_batches(LENGTHS, 8, 1, 0)) < padding(unsorted) / 5

    def test_the_order_of_lengths_is_random(self) -> None:
        firsts = [LENGTHS[b[0]] for b in epoch_batches(LENGTHS, 8, 1, 0)]
        assert firsts != sorted(firsts)
        assert firsts != sorted(firsts, reverse=True)

    def test_processes_share_a_batch(self) -> None:
        batch = list(range(16))
        shares = [micro_batches(batch, 2, rank, 4) for rank in range(4)]
        assert shares[0] == [[0, 1], [8, 9]]
        assert sorted(i for share in shares for part in share for i in part) == batch

    def test_a_batch_that_cannot_be_shared_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="multiple of micro_batch times the number of processes"):
            micro_batches(range(16), 4, 0, 3)

    def test_too_few_examples(self) -> None:
        with pytest.raises(ConfigError, match="less than one batch of 8"):
            epoch_batches([5] * 7, 8, 0, 0)


class TestDefaultsFollowTheData:
    def test_little_data_is_passed_over_more_often(self) -> None:
        config = replace(preset("qwen3-vl-8b-qlora-24gb"), batch=32)
        assert config.epochs is None
        assert planned_steps(config, 32 * 5) == 5 * 8  # at most eight passes
        assert planned_steps(config, 32 * 20) == 100
        assert planned_steps(config, 32 * 1000) == 2000
        assert planned_steps(replace(config, epochs=3.0), 32 * 5) == 15

    def test_short_runs_are_measured_and_saved_too(self) -> None:
        assert interval(None, 37) == 9
        assert interval(None, 2) == 1
        assert interval(None, 10_000) == 200
        assert interval(50, 37) == 50

    def test_none_is_said_on_the_command_line(self) -> None:
        changes = {"epochs": "none", "evaluate_every": "none", "save_every": "none"}
        config = changed(preset("qwen3-vl-8b-paper"), changes, "--set")
        assert (config.epochs, config.evaluate_every, config.save_every) == (None, None, None)


def test_learning_rate_by_hand() -> None:
    # 10 steps, 2 of warm-up: 1/2, 1, then cos over 8 steps: 1 at its start, 1/2 half-way.
    found = [lr_factor(step, 10, 0.2) for step in (0, 1, 2, 6)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.5])
    assert lr_factor(9, 10, 0.2) == pytest.approx(0.5 * (1 - 0.92388), abs=1e-5)  # cos(7 pi / 8)


def test_a_run_is_what_its_device_is_fast_in() -> None:
    fast = fast_precision("cpu")
    resolved = SftConfig(model="x", device="cpu").resolved()
    assert (resolved.precision, resolved.autocast) == (fast, fast != "fp32")
    assert SftConfig(model="x", precision="nf4", device="cpu").resolved().precision == "nf4"
