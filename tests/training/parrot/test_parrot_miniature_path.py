"""The document's way from labels to a judge on the miniature, run as it is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.training.parrot.teaching import teaching
from training.lab.teacher.faults import FaultShares

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "parrot.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
(LINES,) = ([line for line in block.splitlines() if line] for block in BLOCKS if "import miniature" in block)
SHORTER = {"training.parrot import": ["--count", "60"], "training.sft train": ["--set", "max_steps=2"]}
"""Later words replace earlier ones: the same commands on fewer pairs and steps."""


@pytest.mark.model
def test_every_printed_command_works_and_ends_in_a_table(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with teaching(tmp_path / "teacher", FaultShares()) as teacher:
        config = teacher.config.read_text().replace("[servers.teacher]", "[servers.judge]")
        teacher.config.write_text(config)
        for line in LINES:
            words = shlex.split(line)
            assert words[:2] == ["python", "-m"]
            more = SHORTER.get(" ".join(words[2:4]), [])
            more += ["--config", str(teacher.config)] if "--teacher" in words else []
            command = [teacher_log(word, teacher.log) for word in (sys.executable, *words[1:], *more)]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    assert "| judge |" in done.stdout
    steps = [json.loads(line) for line in (tmp_path / "runs/toy-sft/metrics.jsonl").read_text().splitlines()]
    assert steps[0]["left_out"] == 0
    assert (tmp_path / "runs/toy-sft/adapter/rubric_generation.toml").is_file()


def teacher_log(word: str, log: Path) -> str:
    """The teacher of the test writes elsewhere."""
    return str(log) if word == "runs/teacher.jsonl" else word
