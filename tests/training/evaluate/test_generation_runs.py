"""The runner against a real HTTP judge: tables, faults that never become numbers, kills, images made anew."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from tests.training.evaluate import suites
from tests.training.evaluate.judging import MODEL, Faults, JudgeServer, hash_in, judging
from training.evaluate.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
QUESTIONS = {"imgedit": 4, "gedit": 6, "unigenbench": 8, "pica": 6}


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return home


def command(name: str, folder: Path, *more: str) -> list[str]:
    places = ["--benchmark", str(folder), "--outputs", str(folder / "made"), "--out", str(folder / "run")]
    return ["generation", name, *places, "--judge", "server:judge", *more]


def run(name: str, folder: Path, *more: str) -> int:
    return main(command(name, folder, *more))


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


def table(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run" / "table.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", suites.SUITES)
@pytest.mark.parametrize("prompts", [True, False], ids=["official", "ours"])
def test_every_benchmark_from_folder_to_tables(
    name: str, prompts: bool, tmp_path: Path, config_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suites.SUITES[name](tmp_path / "b", prompts=prompts)
    with judging(config_home) as server:
        assert run(name, tmp_path / "b") == 0
        assert run(name, tmp_path / "b") == 0, "a second run has nothing to ask"
    assert server.asked.total() == len(server.asked) == QUESTIONS[name]
    shown = capsys.readouterr().out
    assert f"{QUESTIONS[name]} answers ({QUESTIONS[name]} were here before)" in shown
    whole = table(tmp_path / "b")
    assert (whole["judge"], whole["models"], whole["unscored"], whole["missing"]) == ("server:judge", [MODEL], {}, [])
    assert f"prompts {'official' if prompts else 'ours'} (" in whole["protocol"]
    assert all(row["value"] is not None and row["low"] <= row["value"] <= row["high"] for row in whole["rows"])
    assert any("cannot be compared" in warning for warning in whole["warnings"])
    assert (tmp_path / "b" / "run" / "table.md").read_text(encoding="utf-8") in shown


def test_the_table_is_what_the_judge_said(tmp_path: Path, config_home: Path) -> None:
    suites.imgedit(tmp_path)
    with judging(config_home):
        assert run("imgedit", tmp_path) == 0
    by_output = {
        row["output"]: [int(n) for n in re.findall(r"(?:Compliance|Naturalness|Fidelity): (\d)", row["reply"])]
        for row in answers(tmp_path)
    }
    wanted: dict[str, list[float]] = {}
    for key, edit in suites.EDITS.items():
        assert len(by_output[key]) == 3
        wanted.setdefault(edit["edit_type"], []).append(sum(by_output[key]) / 3)
    means = {kind: sum(found) / len(found) for kind, found in wanted.items()}
    means["overall"] = sum(means.values()) / len(means)
    assert {row["category"]: row["value"] for row in table(tmp_path)["rows"]} == pytest.approx(means, abs=1e-5)


def test_faults_are_counted_and_never_a_number(tmp_path: Path, config_home: Path) -> None:
    rows = [suites.unigen_row(index, f"prompt {index}", ["Style", "Attribute - Color"]) for index in range(12)]
    suites.unigenbench(tmp_path, rows=rows)
    for index in range(12):
        for number in range(4):
            suites.put(tmp_path / "made" / f"{index}_{number}.png", 20 * index + number)
    (tmp_path / "made" / "3_1.png").unlink()
    (tmp_path / "made" / "4_2.png").write_bytes(b"no image")
    faults = Faults(broken=0.08, truncated=0.15, nonsense=0.15, refused=0.1)
    with judging(config_home, faults) as server:
        assert run("unigenbench", tmp_path) == 0
    found = {row["output"]: row for row in answers(tmp_path)}
    fates = Counter(server.fault(question) for question in server.asked)
    assert min(fates[name] for name in ("broken", "truncated", "nonsense", "refused")) > 0
    whole = table(tmp_path)
    assert whole["missing"] == ["en/3_1"]
    assert whole["unscored"] == {
        "truncated": fates["truncated"], "missing_score": fates["nonsense"], "empty_reply": fates["refused"],
        "bad_request": 1,
    }  # fmt: skip
    assert found["en/4_2"]["requests"] == 0, "a damaged image is not paid for"
    assert whole["scored"] == fates[""] + fates["broken"] == 48 - 2 - sum(fates.values()) + fates[""] + fates["broken"]
    read = [row["scores"] for row in found.values() if row["scores"] is not None]
    style = next(row for row in whole["rows"] if (row["sheet"], row["category"]) == ("primary dimensions, en", "Style"))
    assert style["value"] == pytest.approx(100 * sum(scores[0] for scores in read) / len(read), abs=1e-5)
    assert (style["scored"], style["missing"]) == (len(read), 1)
    assert style["scored"] + style["unscored"] + style["missing"] == 48


def test_a_server_that_is_gone_leaves_its_questions_open(
    tmp_path: Path, config_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suites.pica(tmp_path)
    with judging(config_home, Faults(down=True)):
        assert run("pica", tmp_path) == 3
    assert "questions are still open (server_error 6): run it again" in capsys.readouterr().out
    assert answers(tmp_path) == []
    assert table(tmp_path)["unscored"] == {"not_asked": 3}
    with judging(config_home):
        assert run("pica", tmp_path) == 0
    assert table(tmp_path)["unscored"] == {}


def test_an_image_made_anew_is_asked_about_anew(tmp_path: Path, config_home: Path) -> None:
    suites.imgedit(tmp_path)
    with judging(config_home) as server:
        assert run("imgedit", tmp_path) == 0
        suites.put(tmp_path / "made" / "673.png", 222)
        assert run("imgedit", tmp_path) == 0
    assert len(server.asked) == 5
    assert table(tmp_path)["scored"] == 4


def test_other_settings_are_refused(tmp_path: Path, config_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suites.imgedit(tmp_path)
    with judging(config_home):
        assert run("imgedit", tmp_path) == 0
        assert run("imgedit", tmp_path, "--temperature", "0.7") == 1
        assert run("imgedit", tmp_path, "--prompts", "ours") == 1
    told = capsys.readouterr().err
    assert "under other settings: temperature was 0.0, is 0.7; choose another --out" in told
    assert "under other settings: prompts was official" in told


def test_unreadable_replies_are_asked_for_again_only_if_told(tmp_path: Path, config_home: Path) -> None:
    suites.imgedit(tmp_path)
    with judging(config_home, Faults(nonsense=1.0)) as server:
        assert run("imgedit", tmp_path, "--ask-again", "2") == 0
    assert set(server.asked.values()) == {3}
    assert table(tmp_path)["unscored"] == {"missing_score": 4}


def test_our_scorer_needs_the_source_of_an_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suites.pica(tmp_path)
    (tmp_path / "input_img" / "00001.jpg").unlink()
    assert run("pica", tmp_path, "--ask", "rubric") == 1
    assert "The source image of '1' is not here; give its folder with --images." in capsys.readouterr().err


def test_a_limit_is_at_least_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suites.pica(tmp_path)
    assert run("pica", tmp_path, "--limit", "0") == 1
    assert "--limit must be at least 1, not 0." in capsys.readouterr().err


def test_scalars_have_no_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suites.imgedit(tmp_path)
    words = [word.replace("server:judge", "scalar:pickscore") for word in command("imgedit", tmp_path)]
    assert main(words) == 1
    assert "needs a judge that answers in words" in capsys.readouterr().err


def wait_for(server: JudgeServer, answers: int) -> None:
    until = time.monotonic() + 300
    while server.asked.total() < answers:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_killed_at_any_time_it_goes_on_and_pays_for_nothing_twice(tmp_path: Path, config_home: Path) -> None:
    rows = [suites.unigen_row(index, f"prompt {index}", ["Style", "Attribute - Color"]) for index in range(8)]
    for name in ("killed", "undisturbed"):
        suites.unigenbench(tmp_path / name, rows=rows)
        for index in range(8):
            for number in range(4):
                suites.put(tmp_path / name / "made" / f"{index}_{number}.png", 20 * index + number)
    faults = Faults(truncated=0.2)
    python = [sys.executable, "-m", "training.evaluate"]
    paid: list[dict[str, int]] = []
    with judging(config_home, faults, latency=0.1) as server:
        for goal in (5, 15):
            process = subprocess.Popen([*python, *command("unigenbench", tmp_path / "killed")], cwd=ROOT, stderr=-3)
            wait_for(server, goal)
            process.send_signal(signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
            recorded = {hash_in(row["reply"]) for row in whole_answers(tmp_path / "killed")} - {""}
            assert len(recorded) >= goal // 2
            paid.append({question: server.asked[question] for question in recorded})
        assert run("unigenbench", tmp_path / "killed") == 0
    for before in paid:
        assert all(server.asked[question] == times for question, times in before.items()), "asked again"
    assert server.asked.total() <= 32 + 2 * 2, "what was under way at a kill is all that is paid for again"
    with judging(config_home, faults):
        assert run("unigenbench", tmp_path / "undisturbed") == 0
    for name in ("answers.jsonl", "table.md", "table.json", "table.csv"):
        one, other = ((tmp_path / folder / "run" / name).read_bytes() for folder in ("killed", "undisturbed"))
        assert one == other, name


def whole_answers(folder: Path) -> list[dict[str, Any]]:
    content = (folder / "run" / "answers.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]


def test_our_own_scorer_in_its_rubric(
    tmp_path: Path, config_home: Path, capsys: pytest.CaptureFixture[str], reply_text: Callable[..., str]
) -> None:
    """Text faithfulness 3.0 and quality 3.5 of 4 are a reward of 0.75; the third dimension does not apply."""
    suites.unigenbench(tmp_path)
    with judging(config_home) as server:
        server.critique = reply_text(3.0, 3.5)
        assert run("unigenbench", tmp_path, "--ask", "rubric", "--limit", "3") == 0
    whole = table(tmp_path)
    assert whole["protocol"].startswith("our rubric, rewards 0 to 1")
    assert {row["reply"] for row in answers(tmp_path)} == {server.critique}
    assert {(row["column"], row["value"]) for row in whole["rows"]} == {("reward", 0.75)}
    shown = capsys.readouterr().out
    assert "This is not UniGenBench++'s protocol" in shown
    assert "Only the first 3 images were looked at." in shown
