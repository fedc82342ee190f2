"""Two processes compute what one does: the batch is shared, the loss is over all of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file

from tests.training.sft.exports import write_export

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "batch": 4, "micro_batch": 1, "max_steps": 2, "evaluate_every": 2, "dev_pairs": 2, "save_every": 1, "lora_rank": 4,
}  # fmt: skip


def train(data: Path, run: Path, processes: int) -> None:
    """`python -m training.sft train` in so many processes, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-W", "ignore", "-m", "training.sft", "train", "--preset", "miniature"]
    words += [
        "--export",
        str(data),
        "--run",
        str(run),
        *(w for k, v in SETTINGS.items() for w in ("--set", f"{k}={v}")),
    ]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if processes > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
        shared |= {"ACCELERATE_USE_CPU": "true"}
    ranks = [{"RANK": str(r), "LOCAL_RANK": str(r)} if processes > 1 else {} for r in range(processes)]
    started = [
        subprocess.Popen(
            words, env=shared | rank, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in ranks
    ]
    for process in started:
        shown, _ = process.communicate(timeout=300)
        assert process.returncode == 0, shown[-2000:]


@pytest.mark.slow
@pytest.mark.model
def test_two_processes_train_the_same_adapter_as_one(tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", train=10, dev_pairs=2)
    for processes in (1, 2):
        train(data, tmp_path / str(processes), processes)
    one, two = (load_file(tmp_path / str(n) / "adapter" / "adapter_model.safetensors") for n in (1, 2))
    assert "2 x MULTI_CPU" in (tmp_path / "2" / "metrics.jsonl").read_text()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4)
