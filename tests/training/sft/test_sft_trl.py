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
from training.sft.records import ChatFile

ROOT = Path(__file__).resolve().parents[3]
TORCHVISION = Path(sys.prefix) / "torchvision"


@pytest.mark.slow
@pytest.mark.model
def test_trl_learns_the_answers_and_nothing_else(tmp_path: Path) -> None:
    for package in ("trl", "datasets"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"NOT RUN: {package} is not installed, so nothing shows that exports train in TRL's trainer")
    if not (TORCHVISION / "torchvision").is_dir():
        pytest.skip(f"NOT RUN: TRL needs torchvision, which `make test` puts into {TORCHVISION}")
    export = write_export(tmp_path / "export", train=6, dev_pairs=1, form="trl")
    words = [sys.executable, "-m", "tests.training.sft.trl_steps", str(export), str(TORCHVISION), str(tmp_path / "out")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads((tmp_path / "out" / "seen.json").read_text())
    assert len(seen["losses"]) == 2
    assert all(math.isfinite(loss) for loss in seen["losses"])
    file = ChatFile(export / "train.jsonl")
    assert [text.rstrip("\n") for text in seen["learned"]] == [file[i].answer + "<|im_end|>" for i in range(6)]
