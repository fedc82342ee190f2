"""Every long job killed twice with SIGKILL and started again by the same command ends as an undisturbed one.

`python -m benchmarks.kills --kills 10` does the same ten times.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

from benchmarks.kill_files import differences, settled
from benchmarks.kill_jobs import JOBS
from benchmarks.kills import kill_test

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_was_killed_ends_as_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    test = kill_test(JOBS[name], tmp_path, 2, random.Random(name))
    assert test.kills == 2
    assert test.differences == ()


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """What the comparison lets pass is what it names, and nothing else."""
    rows = {"step": 1, "seconds": 3.0, "loss": 0.5, "spread": 0.25}
    changed = [{}, {"seconds": 9.0}, {"spread": 0.25001}, {"loss": 0.5001}, {"spread": 0.3}, {"step": 2}]
    seen = []
    for number, change in enumerate(changed):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(json.dumps({**rows, **change}) + "\n")
        seen.append(bool(differences(settled(tmp_path / "0"), settled(folder))))
    assert seen == [False, False, False, True, True, True]
    (tmp_path / "1" / "more.bin").write_bytes(b"1")
    assert differences(settled(tmp_path / "0"), settled(tmp_path / "1")) == ["more.bin is too much"]
    (tmp_path / "0" / "more.bin").write_bytes(b"2")
    assert differences(settled(tmp_path / "0"), settled(tmp_path / "1")) == ["more.bin differs"]
