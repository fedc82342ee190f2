"""Preferences that the teacher does not share, ties alone, and what is held out of how many pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.parrot.teaching import import_miniature, teaching
from training.data.splits import Shares, fitting_shares
from training.parrot.__main__ import main


def test_a_taste_that_the_teacher_does_not_share_is_said_with_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """People prefer the worse picture; the teacher's eyes are an oracle's."""
    run, out = tmp_path / "run", tmp_path / "out"
    import_miniature(run, 20, "--wrong", "0", "--seed", "3")
    relabelled(run, {"A": "B", "B": "A", "TIE": "TIE"})
    with teaching(tmp_path / "teacher") as teacher:
        assert teacher.stage("rationalize", run) == 0
        capsys.readouterr()
        assert teacher.stage("check", run) == 0
        said = capsys.readouterr().err
        assert teacher.stage("project", run) == 0
    assert "WARNING: only" in said
    assert "A preferred: " in said
    assert "B preferred: " in said
    assert main(["export", "--run", str(run), "--out", str(out)]) == 0
    assert "of 20 pairs" in capsys.readouterr().err
    assert json.loads((out / "export.json").read_text())["kept share of the pairs asked about"] < 0.4


def test_a_taste_that_it_shares_is_not(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    import_miniature(run, 20, "--wrong", "0", "--seed", "3")
    with teaching(tmp_path / "teacher") as teacher:
        for stage in ("rationalize", "check", "project"):
            assert teacher.stage(stage, run) == 0
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "WARNING" not in capsys.readouterr().err


def test_ties_alone_are_refused_before_a_question_is_paid_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    import_miniature(run, 4, "--seed", "3")
    relabelled(run, dict.fromkeys(("A", "B", "TIE"), "TIE"))
    with teaching(tmp_path / "teacher") as teacher:
        assert teacher.stage("rationalize", run) == 2
    assert "All 4 pairs" in capsys.readouterr().err
    assert not (run / "rationales.jsonl").exists() or not (run / "rationales.jsonl").read_text()


def test_little_data_holds_a_larger_share_back() -> None:
    assert fitting_shares(60) == Shares(dev=0.2, test=0.1)
    assert fitting_shares(1000) == Shares(dev=0.1, test=0.1)
    assert fitting_shares(10_000) == Shares(dev=0.05, test=0.05)
    assert fitting_shares(60, dev=0.05, test=0.0) == Shares(dev=0.05, test=0.0)


def relabelled(run: Path, labels: dict[str, str]) -> None:
    """The same pairs with other votes."""
    pairs = run / "pairs" / "miniature.jsonl"
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    pairs.write_text("".join(json.dumps(row | {"preference": labels[row["preference"]]}) + "\n" for row in rows))
