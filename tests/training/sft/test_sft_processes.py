"""Two processes compute what one does, with all weights in each or sharded: the loss is over the whole batch."""

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

import torch
from safetensors.torch import load_file

from tests.training.sft.exports import write_export
from tests.training.sft.runs import assert_same, rewards, weights
from tests.training.sft.sharded_worker import settings
from training.sft.trainer import SftTrainer

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "batch": 4, "micro_batch": 1, "max_steps": 2, "evaluate_every": 2, "dev_pairs": 2, "save_every": 1, "lora_rank": 4,
}  # fmt: skip


def train(data: Path, run: Path, processes: int) -> None:
    """`python -m training.sft train`, or the same by `accelerate launch` in so many processes."""
    # `--cpu` would start a single process; with `--multi_gpu` and no GPU, ours are several that talk over gloo.
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]
    launcher += ["--dynamo_backend", "no", "--num_processes", str(processes), "--main_process_port", "0", "-m"]
    words = [sys.executable, "-W", "ignore", "-m", *(launcher if processes > 1 else ()), "training.sft", "train"]
    words += ["--preset", "miniature", "--export", str(data), "--run", str(run)]
    words += [w for k, v in SETTINGS.items() for w in ("--set", f"{k}={v}")]
    cpu_only = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, env=cpu_only, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.model
def test_two_processes_train_the_same_adapter_as_one(tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", train=10, dev_pairs=2)
    for processes in (1, 2):
        train(data, tmp_path / str(processes), processes)
    one, two = (load_file(tmp_path / str(n) / "adapter" / "adapter_model.safetensors") for n in (1, 2))
    assert "2 x MULTI_CPU" in (tmp_path / "2" / "metrics.jsonl").read_text()
    for name in one:
        # Sums over two processes are rounded elsewhere, and AdamW's first steps divide by what is left.
        torch.testing.assert_close(two[name], one[name], atol=5e-5, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.model
def test_sharded_weights_train_measure_save_and_resume_as_whole_ones(tmp_path: Path) -> None:
    """With the docs' configuration file, two processes in place of eight."""
    data = write_export(tmp_path / "data", train=10, dev_pairs=2)
    launcher = [sys.executable, "-W", "ignore", "-m", "accelerate.commands.launch", "--num_processes", "2"]
    launcher += ["--config_file", str(ROOT / "training" / "configs" / "fsdp2_8gpu.yaml"), "--main_process_port", "0"]
    worker = [str(Path(__file__).parent / "sharded_worker.py"), str(data), str(tmp_path / "two")]
    cpu_only = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*launcher, *worker], capture_output=True, text=True, env=cpu_only, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    names = {"lora": ("adapter", "adapter_model.safetensors"), "full": ("checkpoint", "model.safetensors")}
    for method, (folder, file) in names.items():
        one, two = tmp_path / "one" / method, tmp_path / "two" / method
        SftTrainer(settings(data, method), one).train()  # type: ignore[arg-type]
        assert "2 x MULTI_CPU sharded" in (two / "metrics.jsonl").read_text()
        # Sharded runs do not measure their base, and say so.
        assert "not measured" in (two / "metrics.jsonl").read_text()
        assert "not measured" in json.loads((two / folder / "training.json").read_text())["base"]
        assert [row for row in history(one / folder) if row["step"]] == history(two / folder)
        whole, sharded = weights(one / folder, file), weights(two / folder, file)
        assert whole.keys() == sharded.keys()
        for name, tensor in whole.items():
            # A checkpoint is saved in bf16, where one rounding in a hundred thousand falls to the other side.
            torch.testing.assert_close(sharded[name].float(), tensor.float(), atol=1e-5, rtol=8e-3)
    assert_same(weights(tmp_path / "two/resumed/checkpoint", file), sharded)
    judged = [rewards(data, model=str(tmp_path / run / "full" / "checkpoint")) for run in ("one", "two")]
    assert judged[1] == pytest.approx(judged[0], abs=0.02)


def history(folder: Path) -> list[dict[str, Any]]:
    """What development said of a run's weights."""
    note: dict[str, Any] = json.loads((folder / "training.json").read_text())
    assert note["development"]
    found: list[dict[str, Any]] = note["development"]
    return found
