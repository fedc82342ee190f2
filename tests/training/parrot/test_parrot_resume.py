"""Stages killed with SIGKILL at random points: nothing lost, nothing doubled, nothing recorded paid for again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rationalrewards_core.errors import ConfigError
from tests.training.parrot.teaching import Teaching, import_miniature, rows, teaching
from tests.training.parrot.zygote import Zygote
from training.data.journal import Journal
from training.lab.teacher.faults import FaultShares
from training.lab.teacher.server import TeacherServing
from training.parrot.__main__ import main
from training.parrot.run import ParrotRun

KILLS = 10
CONCURRENCY = 2
SHARES = FaultShares(foreign=0.1, truncated=0.1)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and SIGKILL")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teaching]:
    serving = TeacherServing(latency=0.4)  # so slow that a stage is at work when it is killed, on a fast machine too
    with teaching(tmp_path_factory.mktemp("teacher"), SHARES, serving=serving, concurrency=CONCURRENCY) as one:
        yield one


@pytest.fixture(scope="module")
def undisturbed(teacher: Teaching, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody killed."""
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    import_miniature(run, 8, "--seed", "3")
    for stage in ("rationalize", "check", "project"):
        assert teacher.stage(stage, run) == 0
    assert main(["export", "--run", str(run), "--out", str(run / "export"), "--dev", "0.3"]) == 0
    return run


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    one = Zygote()
    yield one
    one.close()


def killed_again_and_again(zygote: Zygote, arguments: list[str], wait: float, draw: random.Random) -> int:
    """Start a command KILLS times and kill it each time, then let it finish; how many were killed at work."""
    killed = 0
    for _ in range(KILLS):
        child = zygote.start(arguments)
        time.sleep(draw.uniform(0.0, wait))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        killed += zygote.ended() == -signal.SIGKILL
    zygote.start(arguments)
    assert zygote.ended() == 0
    return killed


@pytest.mark.parametrize(
    ("command", "file", "before"),
    [
        ("rationalize", "rationales.jsonl", []),
        ("check", "checks-text.jsonl", ["rationales.jsonl"]),
        ("project", "critiques-parrot.jsonl", ["rationales.jsonl", "checks-text.jsonl"]),
    ],
)
def test_a_stage_killed_ten_times_ends_with_the_same_file(
    command: str, file: str, before: list[str], teacher: Teaching, undisturbed: Path, zygote: Zygote, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed / "pairs", tmp_path / "pairs")
    shutil.copytree(undisturbed / "images", tmp_path / "images")
    for name in before:
        shutil.copy(undisturbed / name, tmp_path / name)
    assert teacher.server is not None
    paid_before = teacher.server.answered
    arguments = teacher.arguments(command, tmp_path)
    killed = killed_again_and_again(zygote, arguments, 0.4, random.Random(command))
    assert killed >= KILLS // 2, "too few were killed at work to prove anything"
    assert (tmp_path / file).read_bytes() == (undisturbed / file).read_bytes()
    wanted = sum(record["usage"]["requests"] for record in rows(undisturbed / file))
    # What was under way when the process died is asked again; what was on the disk is not.
    in_flight = KILLS * CONCURRENCY * 2
    assert teacher.server.answered - paid_before <= wanted + in_flight


def test_import_and_export_killed_ten_times_leave_whole_files(
    undisturbed: Path, zygote: Zygote, tmp_path: Path
) -> None:
    draw = random.Random(1)
    killed_again_and_again(
        zygote, ["import", "miniature", "--run", str(tmp_path), "--count", "8", "--seed", "3"], 0.15, draw
    )
    assert (tmp_path / "pairs/miniature.jsonl").read_bytes() == (undisturbed / "pairs/miniature.jsonl").read_bytes()
    for path in (undisturbed / "images").rglob("*.png"):
        assert (tmp_path / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()
    for name in ("rationales.jsonl", "critiques-parrot.jsonl"):
        shutil.copy(undisturbed / name, tmp_path / name)
    out = tmp_path / "export"
    killed_again_and_again(zygote, ["export", "--run", str(tmp_path), "--out", str(out), "--dev", "0.3"], 0.15, draw)
    for path in (undisturbed / "export").rglob("*.*"):
        assert (out / path.relative_to(undisturbed / "export")).read_bytes() == path.read_bytes()


def test_a_finished_stage_asks_nothing(teacher: Teaching, undisturbed: Path) -> None:
    assert teacher.server is not None
    paid = teacher.server.answered
    assert teacher.stage("rationalize", undisturbed) == 0
    assert teacher.server.answered == paid
    assert rows(undisturbed / "log.jsonl")[-1]["found"] == 16


def test_a_budget_stops_a_stage_and_the_next_run_goes_on(
    teacher: Teaching, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed / "pairs", tmp_path / "pairs")
    shutil.copytree(undisturbed / "images", tmp_path / "images")
    assert teacher.stage("rationalize", tmp_path, "--max-requests", "5") == 3
    assert "budget" in capsys.readouterr().out
    first = rows(tmp_path / "rationales.jsonl")
    paid = sum(record["usage"]["requests"] for record in first)
    assert 5 <= paid <= 5 + 2 * (CONCURRENCY + 1)
    assert teacher.stage("rationalize", tmp_path, "--max-spend-tokens", "1") == 3
    assert teacher.stage("rationalize", tmp_path) == 0
    assert (tmp_path / "rationales.jsonl").read_bytes() == (undisturbed / "rationales.jsonl").read_bytes()


def test_shards_share_the_work_and_nothing_else(teacher: Teaching, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "pairs", tmp_path / "pairs")
    shutil.copytree(undisturbed / "images", tmp_path / "images")
    for stage in ("rationalize", "check", "project"):
        for shard in ("1/2", "2/2"):
            assert teacher.stage(stage, tmp_path, "--shard", shard) == 0
    parts = [rows(path) for path in sorted(tmp_path.glob("rationales.*of2.jsonl"))]
    assert len(parts) == 2
    assert all(parts)
    whole = {json.dumps(record) for part in parts for record in part}
    assert whole == {json.dumps(record) for record in rows(undisturbed / "rationales.jsonl")}
    critiques = [r for path in tmp_path.glob("critiques-parrot.*of2.jsonl") for r in rows(path)]
    assert {r["key"] for r in critiques} == {r["key"] for r in rows(undisturbed / "critiques-parrot.jsonl")}


def test_a_corrected_label_is_a_new_task_from_rationale_to_export(
    teacher: Teaching, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One label is turned round, one pair is taken away: both are gone from everything that is made of them."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    pairs = tmp_path / "pairs" / "miniature.jsonl"
    labels = rows(pairs)
    turned = next(row for row in labels if row["preference"] == "A")
    gone = next(row for row in labels if row["key"] != turned["key"])
    turned["preference"] = "B"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in labels if row is not gone))
    capsys.readouterr()
    for command, name in (("rationalize", "rationales"), ("check", "checks-text"), ("project", "critiques-parrot")):
        assert teacher.stage(command, tmp_path) == 0
        records = rows(tmp_path / f"{name}.jsonl")
        assert len({record["key"] for record in records}) == len(records)
        assert {r["pair"]["preference"] for r in records if r["pair"]["key"] == turned["key"]} <= {"B"}
        assert gone["key"] not in {record["pair"]["key"] for record in records}
    assert "rationales: 2 kept" in (said := capsys.readouterr().out) or "rationales: 1 kept; 1 dropped" in said
    assert f"{2 * len(labels) - 4} were there already" in said
    assert main(["export", "--run", str(tmp_path), "--out", str(tmp_path / "export"), "--dev", "0.3"]) == 0
    exported = {row["key"]: row["preference"] for row in rows(tmp_path / "export" / "pairs.jsonl")}
    assert exported.get(turned["key"], "B") == "B"
    assert gone["key"] not in exported
    for split in ("train", "dev", "test"):
        for row in rows(tmp_path / "export" / f"{split}.jsonl"):
            assert row["provenance"]["pair"] != gone["key"]


def test_records_of_another_label_are_left_out_until_they_are_asked_again(
    teacher: Teaching, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    pairs = tmp_path / "pairs" / "miniature.jsonl"
    before = pairs.read_bytes()
    run, key = ParrotRun(tmp_path), rows(pairs)[0]["key"]
    assert len([record for record in run.rationales() if record.pair.key == key]) == 2
    label = {"A": "B", "B": "TIE", "TIE": "A"}[rows(pairs)[0]["preference"]]
    pairs.write_text("".join(json.dumps(row | {"preference": label}) + "\n" for row in rows(pairs)[:1]))
    changed = ParrotRun(tmp_path)
    assert [*changed.rationales(), *changed.checks("text"), *changed.projections("parrot")] == []
    pairs.write_bytes(before)
    assert teacher.stage("rationalize", tmp_path) == 0
    assert (tmp_path / "rationales.jsonl").read_bytes() == (undisturbed / "rationales.jsonl").read_bytes()


def test_a_first_try_without_a_record_locks_nothing(teacher: Teaching, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "pairs", tmp_path / "pairs")
    shutil.copytree(undisturbed / "images", tmp_path / "images")
    words = ["--limit", "1"]
    nobody = tmp_path / "nobody.toml"
    nobody.write_text('[servers.teacher]\nurl = "http://127.0.0.1:9/v1"\nmodel = "other"\nretries = 0\n')
    assert teacher.stage("rationalize", tmp_path, "--config", str(nobody), "--max-tokens", "99", *words) == 3
    assert rows(tmp_path / "rationales.jsonl") == []
    assert teacher.stage("rationalize", tmp_path, *words) == 0
    with Journal(tmp_path / "rationales.1of2.jsonl"):
        (tmp_path / "rationales.jsonl").write_text("")
        assert teacher.stage("rationalize", tmp_path, "--max-tokens", "99", *words) == 2, "another shard is at work"


def test_another_setting_is_refused(teacher: Teaching, undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teacher.stage("rationalize", undisturbed, "--max-tokens", "99") == 2
    assert "max_tokens" in capsys.readouterr().err


def test_lines_torn_by_a_kill_are_cut_off_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "stage.jsonl"
    with Journal(path) as journal:
        asyncio.run(_append(journal, {"key": "b", "text": "é\u2028"}, {"key": "a"}))
    with path.open("ab") as file:
        file.write('{"key": "c", "text": "é'.encode()[:-1])
    with Journal(path) as journal:
        asyncio.run(_append(journal, {"key": "d"}))
        journal.seal(["a", "b"])
    assert [row["key"] for row in map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])] == ["a", "b", "d"]
    path.write_text('{"key": "a"}\n{"key"\n{"key": "b"}\n')
    with Journal(path) as journal, pytest.raises(ConfigError, match="line 2 is damaged"):
        journal.seal(["a", "b"])


async def _append(journal: Journal, *records: dict[str, str]) -> None:
    await asyncio.gather(*(journal.append(record) for record in records))


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "stage.jsonl"), pytest.raises(ConfigError, match="Another process"):
        Journal(tmp_path / "stage.jsonl")
