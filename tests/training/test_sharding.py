"""Weights sharded over processes compute, change and can be called as whole ones do: on a toy, over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "mesh"), [("FULL_SHARD", "(2,)"), ("HYBRID_SHARD", "(2, 1)")])
def test_a_sharded_toy_is_the_whole_one(strategy: str, mesh: str, tmp_path: Path) -> None:
    """Two processes; with HYBRID_SHARD on two nodes of one."""
    settings = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_SHARDING_STRATEGY": strategy}
    launcher = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    node = {"LOCAL_WORLD_SIZE": "1" if strategy == "HYBRID_SHARD" else "2"}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "sharding_worker.py")]
    started = [
        subprocess.Popen(
            command,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, **settings, **launcher, **meeting, **node, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    shown = [process.communicate(timeout=400)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(shown)[-3000:]
    assert f"mesh {mesh}" in shown[0]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    return found
