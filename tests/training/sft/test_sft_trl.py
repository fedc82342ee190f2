"""The exported data also trains in TRL's own trainer, for who prefers it. Skipped where TRL is not installed."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.training.sft.exports import write_export

ROOT = Path(__file__).resolve().parents[3]
TORCHVISION = Path(sys.prefix) / "torchvision"


@pytest.mark.slow
@pytest.mark.model
def test_two_steps_of_trl(tmp_path: Path) -> None:
    for package in ("trl", "datasets"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"NOT RUN: {package} is not installed, so nothing shows that exports train in TRL's trainer")
    if not (TORCHVISION / "torchvision").is_dir():
        pytest.skip(f"NOT RUN: TRL needs torchvision, which `make test` puts into {TORCHVISION}")
    export = write_export(tmp_path / "export", train=6, dev_pairs=1)
    words = [sys.executable, "-m", "tests.training.sft.trl_steps", str(export), str(TORCHVISION), str(tmp_path / "out")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = json.loads((tmp_path / "out" / "losses.json").read_text())
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
