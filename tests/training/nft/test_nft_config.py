"""Configuration: presets hold the published numbers, unknown keys are errors, the command says what is true."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.errors import ConfigError
from training.nft.__main__ import resolved
from training.nft.config import NFTConfig, changed
from training.nft.policy import DECAYS
from training.nft.presets import PRESETS
from training.settings import read_settings, settings_toml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_being_written_and_read(preset: str, tmp_path: Path) -> None:
    config = PRESETS[preset]()
    assert changed(NFTConfig(), json.loads(json.dumps(asdict(config)))) == config
    for name, text in (("run.toml", settings_toml(config)), ("config.json", json.dumps(asdict(config)))):
        (tmp_path / name).write_text(text)
        assert changed(NFTConfig(), read_settings(tmp_path / name)) == config


def test_the_published_numbers() -> None:
    config = PRESETS["sd35_medium_8gpu"]()
    assert (config.rollout.prompts, config.rollout.group, config.rollout.steps) == (48, 24, 10)
    assert (config.policy.rank, config.policy.alpha, config.policy.old_decay) == (32, 64, "ramp_to_half")
    assert (config.optimiser.lr, config.optimiser.weight_decay, config.loss.kl_weight) == (3e-4, 1e-4, 1e-4)
    assert (config.advantage.clip, config.advantage.scale, config.loss.mix_beta) == (5.0, "global_std", 1.0)
    assert config.times.share == 0.99


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("on_policy", {0: 0.0, 1000: 0.0}),
        ("ramp_to_half", {0: 0.0, 100: 0.1, 500: 0.5, 4000: 0.5}),
        ("late_ramp", {74: 0.0, 75: 0.0, 175: 0.75, 208: 0.9975, 4000: 0.999}),
    ],
)
def test_decays(name: str, values: dict[int, float]) -> None:
    for step, value in values.items():
        assert DECAYS[name](step) == pytest.approx(value)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("run.epoch=3", r"no setting 'run.epoch'"),
        ("beta=0.1", r"no setting 'beta'"),
        ("loss.mix_beta='x'", r"loss.mix_beta must be float"),
        ("run.epochs=2.5", r"run.epochs must be int"),
        ("run=3", r"run is a table"),
        ("loss.mix_beta=0", r"loss.mix_beta must be above 0"),
        ("loss.mix_beta=nan", r"loss.mix_beta must be above 0, not nan"),
        ("loss.kl_weight=inf", r"loss.kl_weight must be a finite number, not inf"),
        ("loss.guard_margin=nan", r"loss.guard_margin must be a finite number, not nan"),
        ("advantage.clip=inf", r"advantage.clip must be a finite number"),
        ("advantage.max_group_mean=nan", r"advantage.max_group_mean must be a finite number"),
        ("optimiser.lr=nan", r"optimiser.lr must be above 0, not nan"),
        ("optimiser.lr=inf", r"optimiser.lr must be a finite number"),
        ("optimiser.lr=-1e-4", r"optimiser.lr must be above 0"),
        ("optimiser.betas=[0.9, nan]", r"optimiser.betas must be at least 0 and below 1"),
        ("policy.ema=nan", r"policy.ema must be at least 0 and below 1"),
        ("prompts.two=1.5", r"prompts.two must be between 0 and 1"),
        ("rewards.max_failure_rate=nan", r"rewards.max_failure_rate must be between 0 and 1"),
        ("policy.old_decay='fast'", r"policy.old_decay must be one of on_policy"),
        ("optimiser.updates=99", r"optimiser.updates must not exceed"),
        ("run.epochs", r"--set needs KEY=VALUE"),
    ],
)
def test_mistakes_name_the_key(setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolved("miniature_cpu", None, [setting])


def test_preset_then_file_then_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[optimiser]\nlr = 1e-4\nbetas = [0.9, 0.95]\n[run]\nepochs = 7\n")
    config = resolved("miniature_cpu", file, ["run.epochs=9", "rewards.judge=server:judge"])
    assert (config.optimiser.lr, config.optimiser.betas) == (1e-4, (0.9, 0.95))
    assert (config.run.epochs, config.rewards.judge) == (9, "server:judge")


def test_the_command_prints_what_it_would_run_and_reads_it_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.nft", "--preset", "flux_dev_t2i", "--set", "run.epochs=3", "--show"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    file = tmp_path / "mine.toml"
    file.write_text(shown.stdout)
    assert resolved("miniature_cpu", file, []) == resolved("flux_dev_t2i", None, ["run.epochs=3"])


def test_the_command_fails_in_one_sentence() -> None:
    command = [sys.executable, "-m", "training.nft", "--set", "run.epoch=3"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "Traceback" not in failed.stderr


def test_the_estimate_counts_the_real_architecture() -> None:
    from training.nft.estimate import estimate
    from training.nft.families import family_class
    from training.nft.policy import make_policy

    config = PRESETS["miniature_cpu"]()
    found = estimate(config)
    family = family_class("miniature").load(config.model)
    assert found.weights == sum(p.numel() for p in family.transformer.parameters())
    policy = make_policy(family.transformer, config.policy, family.lora_targets, 0)
    assert found.trained == sum(p.numel() for p in policy.parameters)
    assert (found.images, found.backwards) == (96, 288)
    spread = estimate(config, processes=8, shards=4)
    assert spread.backbone_bytes == found.backbone_bytes / 4
    assert spread.trained_bytes == found.trained_bytes
    assert spread.activation_bytes > found.activation_bytes
    assert spread.images == 12


def test_auto_precisions_are_settled_before_a_run_is_written_down() -> None:
    config = PRESETS["miniature_cpu"]().resolved()
    fast = resolve_precision("auto")
    assert (config.model.precision, config.rewards.precision) == (fast, fast)
