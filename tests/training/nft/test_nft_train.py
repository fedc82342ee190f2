"""The loop on the miniature: exact resume, masked failures, records, overlap, AWM and full tuning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from safetensors.torch import load_file

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import FailureRateError
from training.nft.config import NFTConfig
from training.nft.train import train

Make = Callable[..., NFTConfig]
Metrics = Callable[[Path], list[dict[str, Any]]]
Records = Callable[[Path, int], list[dict[str, Any]]]
LORA = Path("weights/pytorch_lora_weights.safetensors")


def same(a: Any, b: Any) -> bool:
    """Bit for bit, through every level of a checkpoint."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.fixture(scope="module")
def undisturbed(small: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nft") / "run"
    train(small(), path)
    return path


def test_a_killed_run_goes_on_bit_for_bit(
    undisturbed: Path, small: Make, dying: Any, metrics: Metrics, records: Records, tmp_path: Path
) -> None:
    """It dies while the fourth epoch is judged, one epoch after its last checkpoint."""
    run = tmp_path / "run"
    with pytest.raises(KeyError, match="power"):
        train(small(), run, judge=dying(calls=3))
    assert len(metrics(run)) == 3
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "torn')
    train(small(), run)
    assert metrics(run) == metrics(undisturbed)
    assert same(
        torch.load(run / "state.pt", weights_only=True), torch.load(undisturbed / "state.pt", weights_only=True)
    )
    assert same(load_file(run / LORA), load_file(undisturbed / LORA))
    assert [records(run, epoch) for epoch in range(4)] == [records(undisturbed, epoch) for epoch in range(4)]


def test_training_changed_something_and_said_what(undisturbed: Path, metrics: Metrics) -> None:
    rows = metrics(undisturbed)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row["unscored_share"] == 0.0
        assert 0.0 <= row["reward"] <= 1.0
        assert {"dimension_text_faithfulness", "group_std", "zero_std_share", "norm_ratio", "diversity"} <= set(row)
        assert sum(row[f"r_{i / 10:.1f}"] for i in range(10)) == pytest.approx(1.0)
    assert rows[-1]["velocity_kl"] > 0.0
    assert any(tensor.abs().max() > 0 for name, tensor in load_file(undisturbed / LORA).items() if "lora_B" in name)


def test_the_audit_shows_every_rollout(undisturbed: Path, records: Records) -> None:
    folder = undisturbed / "epochs" / "000000"
    page = (folder / "index.html").read_text()
    for row in records(undisturbed, 0):
        assert (folder / row["image"]).is_file()
        assert row["image"] in page
        assert row["prompt"].split()[1] in page
        assert len(row["outcome"]["judgements"]) == 3


def test_unscored_rollouts_are_masked(
    small: Make, flaky: Any, metrics: Metrics, records: Records, tmp_path: Path
) -> None:
    """The same noise gives the same first epoch: every group's mean must be that of the complete run's survivors."""
    config = small(
        rollout={"prompts": 3, "group": 8, "steps": 2, "batch": 24},
        run={"epochs": 1, "save_every": 1},
        rewards={"max_failure_rate": 0.6},
    )
    train(config, tmp_path / "whole")
    train(config, tmp_path / "holes", judge=flaky(0.3))
    whole, holes = records(tmp_path / "whole", 0), records(tmp_path / "holes", 0)
    lost = [row["reward"] is None for row in holes]
    assert 0.1 < sum(lost) / len(lost) < 0.5
    assert all(
        row["advantage"] is None and row["outcome"]["unscored"] == "timeout" for row in holes if row["reward"] is None
    )
    for complete, row in zip(whole, holes, strict=True):
        assert row["reward"] in (None, complete["reward"])
    by_group: dict[str, list[float]] = {}
    for row in holes:
        if row["reward"] is not None:
            by_group.setdefault(row["group"], []).append(row["reward"])
    signs = [
        (row["advantage"], row["reward"] - sum(by_group[row["group"]]) / len(by_group[row["group"]]))
        for row in holes
        if row["advantage"] is not None
    ]
    assert len(signs) > 10
    for advantage, gap in signs:
        assert advantage * gap >= 0.0
        assert (abs(advantage) < 1e-6) == (abs(gap) < 1e-6)
    (row,) = metrics(tmp_path / "holes")
    assert row["unscored_share"] == pytest.approx(sum(lost) / len(lost))
    assert row["unscored_timeout"] == sum(lost)
    assert row["grad_norm"] > 0.0


def test_too_many_failures_stop_the_run(small: Make, flaky: Any, tmp_path: Path) -> None:
    with pytest.raises(FailureRateError, match=r"rollouts are unscored \(timeout \dx\)"):
        train(small(rewards={"max_failure_rate": 0.2}), tmp_path / "run", judge=flaky(1.0))
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""


def test_a_finished_run_can_be_made_longer(undisturbed: Path, small: Make, metrics: Metrics, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small(run={"epochs": small().run.epochs - 1}), run)
    train(small(), run)
    assert metrics(run) == metrics(undisturbed)


def test_another_configuration_does_not_continue_a_run(undisturbed: Path, small: Make) -> None:
    with pytest.raises(ConfigError, match=r"another configuration: optimiser\.lr was .*, is 0\.0005"):
        train(small(optimiser={"lr": 5e-4}), undisturbed)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "loss": {"algorithm": "awm"},
            "times": {"source": "stratified", "count": 2, "shared_in_group": True},
            "model": {"gradient_checkpointing": True},
        },
        {"policy": {"tuning": "full"}, "advantage": {"per_dimension": True}},
        {
            "loss": {"kl_weight": 0.0, "guard_weight": 1.0},
            "rollout": {"solver": "euler"},
            "model": {"offload": True},
            "rewards": {"time_share": True},
        },
    ],
    ids=["awm and checkpointing", "full and per dimension", "guard, offload and time sharing"],
)
def test_options_run_end_to_end(changes: dict[str, Any], small: Make, metrics: Metrics, tmp_path: Path) -> None:
    run = {"epochs": 2, "save_every": 2, "audit_every": 0, "evaluate_every": 2, "evaluate_prompts": 2}
    train(small(run=run, **changes), tmp_path / "run")
    trained = [row for row in metrics(tmp_path / "run") if "grad_norm" in row]
    assert len(trained) == 2
    assert all(row["grad_norm"] > 0 for row in trained)
    rewards = [json.loads(line)["rewards"] for line in (tmp_path / "run" / "evaluation.jsonl").read_text().splitlines()]
    assert [len(row) for row in rewards] == [2, 2]
    assert (tmp_path / "run" / "weights").is_dir()
