"""Two processes under `accelerate launch` give the gradients that one process gives with the same global batch."""

from __future__ import annotations

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

HERE = Path(__file__).parent
CPU_ONLY = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def gradients(folder: Path, *launcher: str) -> dict[str, Any]:
    folder.mkdir()
    command = [*launcher, str(HERE / "gradient_worker.py"), str(folder / "gradients.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=CPU_ONLY)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(folder / "gradients.pt", weights_only=True)
    return found


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    # `--cpu` would start a single process; without a GPU, `--multi_gpu` starts two that talk over gloo.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    alone, together = gradients(tmp_path / "one", sys.executable), gradients(tmp_path / "two", *launch)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert len(alone["steps"]) == len(together["steps"]) == 2
    for first, second in zip(alone["steps"], together["steps"], strict=True):
        largest = max(g.abs().max() for g in first)
        assert largest > 0
        for a, b in zip(first, second, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=float(1e-5 * largest))
