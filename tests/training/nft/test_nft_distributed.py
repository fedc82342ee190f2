"""Several processes under `accelerate launch` compute what one does, with the whole transformer each or sharded.

The sharded runs read the configuration file of the docs, with two processes in place of eight; they talk over gloo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from rationalrewards_core.errors import ConfigError
from tests.training.nft.test_nft_train import same
from tests.training.nft.train_worker import SETTINGS, settings
from training.nft.config import NFTConfig, changed
from training.nft.presets import single_24gb
from training.nft.processes import evaluated, most_passes
from training.nft.train import train
from training.nft.trainer import check_shardable
from training.sharding import wanted_sharding

HERE = Path(__file__).parent
CONFIGS = HERE.parents[2] / "training" / "configs"
# A process that dies of a signal says where Python was.
CPU_ONLY = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
# `--cpu` would start a single process; with `--multi_gpu` and no GPU, ours are two that talk over gloo.
DDP = ("--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
FSDP2 = ("--config_file", str(CONFIGS / "fsdp2_8gpu.yaml"))


def launched(worker: str, *arguments: str, options: tuple[str, ...] = ()) -> None:
    """Run a worker, in two processes if there are `options` for the launcher."""
    launcher = ["-m", "accelerate.commands.launch", *options, "--num_processes", "2", "--main_process_port", "0"]
    command = [sys.executable, *(launcher if options else ()), str(HERE / worker), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=CPU_ONLY, timeout=500)
    assert done.returncode == 0, done.stderr[-8000:]


def gradients(folder: Path, options: tuple[str, ...] = ()) -> dict[str, Any]:
    folder.mkdir()
    launched("gradient_worker.py", str(folder / "gradients.pt"), options=options)
    found: dict[str, Any] = torch.load(folder / "gradients.pt", weights_only=True)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return gradients(tmp_path_factory.mktemp("gradients") / "one")


@pytest.mark.slow
@pytest.mark.parametrize("options", [DDP, FSDP2], ids=["ddp", "fsdp2"])
def test_two_processes_are_one(alone: dict[str, Any], tmp_path: Path, options: tuple[str, ...]) -> None:
    """With a group left unscored, so that one process has less to do than the other."""
    together = gradients(tmp_path / "two", options)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert alone["unscored"] == together["unscored"] == 0.25
    assert alone["timeouts"] == together["timeouts"] == 3
    assert together["held"] < 0.6 * alone["held"] if options is FSDP2 else together["held"] == alone["held"]
    assert len(alone["steps"]) == len(together["steps"]) == 2
    for first, second in zip(alone["steps"], together["steps"], strict=True):
        largest = max(g.abs().max() for g in first)
        assert largest > 0
        for a, b in zip(first, second, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=float(1e-5 * largest))


@pytest.mark.slow
def test_the_command_in_two_processes_trains_the_weights_of_one(tmp_path: Path) -> None:
    """`accelerate launch -m training.nft` to its end, judged by the oracle."""
    train(settings("lora"), tmp_path / "one")
    launcher = ["accelerate.commands.launch", *DDP, "--num_processes", "2", "--main_process_port", "0", "-m"]
    words = ["training.nft", "--preset", "miniature_cpu", "--run", str(tmp_path / "two")]
    changes = [f"{group}.{key}={json.dumps(value)}" for group, keys in SETTINGS.items() for key, value in keys.items()]
    words += [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", *launcher, *words]
    variables = {**CPU_ONLY, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=500)
    assert done.returncode == 0, done.stderr[-8000:]
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "one" / "evaluation.jsonl").read_text() == (tmp_path / "two" / "evaluation.jsonl").read_text()


@pytest.mark.slow
def test_sharded_runs_train_the_same_weights_and_resume(tmp_path: Path) -> None:
    """Adapters and full tuning, two epochs; the held-out requests are three, which two processes cannot halve."""
    launched("train_worker.py", str(tmp_path / "two"), options=FSDP2)
    for tuning in ("lora", "full"):
        one, two = tmp_path / "one" / tuning, tmp_path / "two" / tuning
        train(settings(tuning), one)
        saved, whole = weights(two / "undisturbed"), weights(one)
        assert saved.keys() == whole.keys()
        for name, tensor in whole.items():
            torch.testing.assert_close(saved[name], tensor, rtol=1e-4, atol=1e-4)
        assert same(saved, weights(two / "resumed"))
        assert same(state(two / "undisturbed"), state(two / "resumed"))
        held_out = [(run / "evaluation.jsonl").read_text() for run in (one, two / "undisturbed", two / "resumed")]
        assert held_out[0].count("\n") == 2
        assert held_out[0] == held_out[1] == held_out[2]


@pytest.mark.slow
def test_every_family_can_be_sharded() -> None:
    """Tiny pipelines of the real classes: velocities of three policies and gradients stay what they were."""
    launched("families_worker.py", options=FSDP2)


def weights(run: Path) -> dict[str, Any]:
    (file,) = (run / "weights").rglob("*.safetensors")
    found: dict[str, Any] = load_file(file)
    return found


def state(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "state.pt", weights_only=True)
    return found


class Process:
    """A place among others, as far as sharing goes."""

    def __init__(self, index: int, number: int) -> None:
        self.process_index, self.num_processes = index, number


@pytest.mark.parametrize(("requests", "processes"), [(3, 2), (8, 4), (2, 4), (5, 1)])
def test_processes_share_the_held_out_requests_equally_and_count_each_once(requests: int, processes: int) -> None:
    shares = [evaluated(requests, Process(i, processes)) for i in range(processes)]  # type: ignore[arg-type]
    assert len({len(numbers) for numbers, _ in shares}) == 1
    assert [n for numbers, counting in shares for n in numbers[:counting]] == list(range(requests))


def test_the_process_with_most_pairs_decides_how_many_passes_all_do() -> None:
    used = torch.tensor([[True, True, False], [False, False, False], [True, False, False], [True, True, True]])
    assert most_passes(used, [0, 1, 2, 3], times=2, size=3, processes=2) == 3  # 8 pairs in the second process
    assert most_passes(used, [0, 2], times=2, size=3, processes=2) == 2  # 4 in the first
    assert most_passes(used, [1], times=2, size=3, processes=2) == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (single_24gb(), "NF4 base cannot be sharded"),
        (changed(single_24gb(), {"model": {"base": "full"}}), "time_share"),
        (
            changed(
                single_24gb(),
                {"model": {"base": "full"}, "rewards": {"time_share": False}, "policy": {"tuning": "full"}},
            ),
            "adamw8bit",
        ),
    ],
)
def test_what_cannot_be_sharded_is_named(config: NFTConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_shardable(config)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FSDP_VERSION": "1"}, "fsdp_version: 2"),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        ({"FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"}, "fsdp_activation_checkpointing"),
    ],
)
def test_a_launch_that_asks_for_more_is_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two: Any = Process(0, 2)
    assert wanted_sharding(two) is None
    for name, value in {"ACCELERATE_USE_FSDP": "true", **environment}.items():
        monkeypatch.setenv(name, value)
    assert wanted_sharding(Accelerator(cpu=True)) is None
    with pytest.raises(ConfigError, match=message):
        wanted_sharding(two)
