"""`rationalrewards train judge`: what it refuses before anything long, what it plans, and the judge that comes out."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.errors import ConfigError
from training.parrot.own_critiques import CritiqueDraw, OwnSettings, agreeing
from training.parrot.run import ParrotRun
from training.personal.__main__ import build_parser, main
from training.personal.example_picks import TASTE, write_picks
from training.personal.gain import example_critiques
from training.personal.job import JudgeJob
from training.personal.picks import Picks, personal_shares
from training.personal.placing import comfyui_folder, place
from training.personal.plan import plan
from training.personal.probe import Probe, saved_probe

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("personal.md", "tune.md")


def draws(*rewards: float) -> list[CritiqueDraw]:
    critique = Critique(
        rubric="generation", analysis="", judgements=(Judgement(key="a", justification="", score=4.0),), summary=""
    )
    return [CritiqueDraw(critique, reward, seed) for seed, reward in enumerate(rewards, 1)]


class TestAgreeingCritiques:
    def test_the_preferred_candidate_leads_by_the_margin(self) -> None:
        couple = agreeing(draws(0.5, 0.6), draws(0.5, 0.52), Verdict.B, OwnSettings(margin=0.01))
        assert couple is not None
        assert [draw.reward for draw in couple] == [0.5, 0.52]

    def test_the_least_unusual_couple_is_kept(self) -> None:
        couple = agreeing(draws(0.9, 0.9, 1.0), draws(0.9, 0.9, 0.7, 0.1), Verdict.A, OwnSettings(margin=0.05))
        assert couple is not None
        assert [draw.reward for draw in couple] == [0.9, 0.7]

    def test_nothing_is_kept_where_the_judge_never_agrees(self) -> None:
        assert agreeing(draws(0.4, 0.5), draws(0.6, 0.7), Verdict.A, OwnSettings()) is None
        assert agreeing(draws(), draws(0.6), Verdict.A, OwnSettings()) is None

    def test_a_tie_needs_rewards_that_lie_close(self) -> None:
        couple = agreeing(draws(0.4, 0.9), draws(0.6, 0.85), Verdict.TIE, OwnSettings(tie_margin=0.1))
        assert couple is not None
        assert [draw.reward for draw in couple] == [0.9, 0.85]


@pytest.mark.parametrize(
    ("count", "labels", "sentence"),
    [
        (30, "TIE", "are ties"),
        (3, "taste", "3 pairs with a winner; at least 24"),
        (40, "A", "the first picture is the better one"),
    ],
)
def test_picks_that_cannot_work_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, labels: str, sentence: str
) -> None:
    picks = write_picks(tmp_path / "picks", count, 1, labels)
    assert main(["judge", "--picks", str(picks), "--base", "miniature", "--run", str(tmp_path / "run"), "--yes"]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run" / "probe.json").exists()


def test_unreadable_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = write_picks(tmp_path / "picks", 40, 1)
    for file in sorted((picks / "images").glob("*-a.png"))[:30]:
        file.write_bytes(b"no picture")
    assert main(["judge", "--picks", str(picks), "--base", "miniature", "--run", str(tmp_path / "run"), "--yes"]) == 2
    assert "30 of 40 rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--picks", "absent", "--base", "miniature"], "There is no folder absent"),
        (["--picks", ".", "--base", "./absent"], "no checkpoint folder"),
        (["--picks", ".", "--base", "miniature", "--comfyui", "."], "is no ComfyUI"),
        (["--picks", ".", "--base", "miniature", "--set", "lr"], "KEY=VALUE"),
        (["--picks", ".", "--base", "miniature", "--set", "lrr=1"], "unknown key 'lrr'"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["judge", *words, "--yes"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_stages_are_called_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", "presets"]) == 0
    assert "qwen3-vl-8b-qlora-24gb" in capsys.readouterr().out


def test_the_plan_counts_work_and_names_what_it_cannot_know(tmp_path: Path) -> None:
    shares = personal_shares(60)
    from collections import Counter

    picks = Picks(
        pairs=60, ties=2, left_out=("1 image not found",), shares=shares, splits=Counter(train=36, dev=10, test=12)
    )
    job = JudgeJob(picks=tmp_path, base="miniature", run=tmp_path / "run", own=OwnSettings(samples=4))
    measured = Probe(critique_seconds=0.1, pass_seconds=2.0, peak_gib=1.5)
    own, taught = (
        plan(job, picks, measured),
        plan(JudgeJob(picks=tmp_path, base="miniature", run=tmp_path / "run", teacher="judge"), picks, measured),
    )
    explaining = next(stage for stage in own.stages if stage.name == "explanations")
    assert explaining.seconds == pytest.approx(36 * 2 * 4 * 0.1)
    patient = JudgeJob(picks=tmp_path, base="miniature", run=tmp_path / "run", own=OwnSettings(samples=64))
    longest = next(stage for stage in plan(patient, picks, measured).stages if stage.name == "explanations")
    assert longest.time == "58 s to 8 min"
    assert next(stage for stage in taught.stages if stage.name == "explanations").seconds is None
    assert "left out: 1 image not found" in str(own)
    assert "the teacher's time" in str(taught)
    training = next(stage for stage in own.stages if stage.name == "training")
    sft = job.sft(72)
    assert sft.batch == 9
    assert f"{24 * (72 // 9)} steps of 9" in training.work


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"peak_gib": "much"}', '{"critique_seconds": null}', '[{"request": "a"}]']
)
def test_a_damaged_file_of_a_run_is_one_sentence(text: str, tmp_path: Path) -> None:
    """Its measurement and its examples, which are made once and read by every start after that."""
    job = JudgeJob(picks=tmp_path, base="miniature", run=tmp_path)
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(ConfigError, match=r"probe\.json") as caught:
        saved_probe(job, ParrotRun(tmp_path / "parrot"))
    assert "\n" not in str(caught.value)
    (tmp_path / "examples.json").write_text(text)
    with pytest.raises(ConfigError, match=r"examples\.json holds no critiques"):
        example_critiques(job)


class TestPlacing:
    def test_only_a_comfyui_is_taken(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no ComfyUI"):
            comfyui_folder(tmp_path, ROOT)
        for name in ("models", "custom_nodes/pack"):
            (tmp_path / name).mkdir(parents=True)
        assert comfyui_folder(tmp_path, ROOT) == tmp_path
        assert comfyui_folder(None, tmp_path / "custom_nodes" / "pack") == tmp_path
        assert comfyui_folder(None, tmp_path / "elsewhere") is None

    def test_an_adapter_of_the_same_name_is_replaced_as_a_whole(self, tmp_path: Path) -> None:
        for name, file in (("new", "b"), ("models/old", "a")):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / file).touch()
        place(tmp_path / "new", tmp_path / "models" / "old")
        assert [file.name for file in (tmp_path / "models" / "old").iterdir()] == ["b"]
        assert [folder.name for folder in (tmp_path / "models").iterdir()] == ["old"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A synthetic teacher that shares the taste, in a process of its own; gives the file that names it."""
    folder = tmp_path_factory.mktemp("teacher")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "training.lab.teacher", "--port", str(port), "--sound", "--taste", TASTE]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--rubric", "miniature"], cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while "Running" not in (folder / "log").read_text() and time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        settings = folder / "servers.toml"
        settings.write_text(
            f'[servers.teacher]\nurl = "http://127.0.0.1:{port}/v1"\nmodel = "synthetic-teacher"\nconcurrency = 8\n'
        )
        yield settings
    finally:
        process.kill()
        process.wait()


def command(picks: Path, run: Path, teacher: Path, *more: str) -> list[str]:
    words = ["--picks", str(picks), "--base", "miniature", "--teacher", "teacher", "--servers", str(teacher)]
    return [
        sys.executable,
        "-m",
        "rationalrewards_core",
        "train",
        "judge",
        *words,
        "--run",
        str(run),
        "--yes",
        "--json",
        *more,
    ]


def judge_options() -> set[str]:
    """Every option of `rationalrewards train judge`."""
    commands = next(one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return set(commands.choices["judge"]._option_string_actions)


def run_to_end(words: list[str]) -> dict[str, object]:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(re.findall(r"--[a-z][a-z-]*", done.stderr)) <= judge_options(), "advice that this command cannot take"
    made: dict[str, object] = json.loads(done.stdout[done.stdout.index("{\n") :])
    return made


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.xdist_group("personal")
class TestTaste:
    """One real run with 60 picks: the miniature learns that red things are better."""

    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> tuple[dict[str, object], Path, Path]:
        folder = tmp_path_factory.mktemp("personal")
        comfyui = folder / "ComfyUI"
        for name in ("models", "custom_nodes"):
            (comfyui / name).mkdir(parents=True)
        picks = write_picks(folder / "picks", 60, 2)
        made = run_to_end(command(picks, folder / "run", teacher, "--comfyui", str(comfyui), "--name", "mine"))
        return made, folder, comfyui

    def test_held_out_picks_are_ordered_clearly_better_than_by_the_base(
        self, made: tuple[dict[str, object], Path, Path]
    ) -> None:
        gain = made[0]["gain"]
        assert isinstance(gain, dict)
        assert gain["low"] > 0

    def test_the_adapter_lies_where_comfyui_lists_it(self, made: tuple[dict[str, object], Path, Path]) -> None:
        placed = made[2] / "models" / "rationalrewards" / "mine"
        assert made[0]["placed"] == str(placed)
        assert json.loads((placed / "adapter_config.json").read_text())["peft_type"] == "LORA"
        assert (placed / "adapter_model.safetensors").is_file()

    def test_the_page_shows_gain_curves_and_critiques(self, made: tuple[dict[str, object], Path, Path]) -> None:
        page = Path(str(made[0]["page"])).read_text(encoding="utf-8")
        for part in ("held-out pairs", "data:image/png;base64", "What was kept and dropped", "your pick", "before:"):
            assert part in page

    def test_kills_leave_the_same_adapter(self, tmp_path: Path, teacher: Path) -> None:
        """Killed in each stage and started again; the bytes of the weights are those of the undisturbed run."""
        picks, run = write_picks(tmp_path / "picks", 40, 4), tmp_path / "killed"
        short = ("--set", "max_steps=8", "--set", "save_every=2", "--set", "evaluate_every=0")
        run_to_end(command(picks, tmp_path / "run", teacher, *short))
        for mark in ("parrot/rationales.jsonl", "parrot/critiques-parrot.jsonl", "sft/state.pt"):
            kill_when(command(picks, run, teacher, *short), run / mark)
        run_to_end(command(picks, run, teacher, *short))
        name = "sft/adapter/adapter_model.safetensors"
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def kill_when(words: list[str], mark: Path) -> None:
    """Start, and kill -9 as soon as a file is there and not empty."""
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if mark.is_file() and mark.stat().st_size:
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    assert process.wait() == -signal.SIGKILL


def lines_of(name: str, fence: str) -> list[str]:
    """The commands of a page: fences `bash` are run by a test, `console` are for other files than it has."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{fence}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("rationalrewards train ")]


class TestDocuments:
    """The pages' own commands."""

    def test_every_command_is_understood(self) -> None:
        lines = [line for name in PAGES for fence in ("bash", "console") for line in lines_of(name, fence)]
        assert len(lines) == 5
        for line in lines:
            build_parser().parse_args(shlex.split(line)[2:])

    @pytest.mark.parametrize("name", PAGES)
    def test_every_option_that_it_names_exists(self, name: str) -> None:
        usage = "".join(parser.format_help() for parser in subparsers())
        named = set(re.findall(r"`(--[a-z-]+)", (ROOT / "docs" / name).read_text(encoding="utf-8")))
        assert named
        assert not [option for option in named - {"--job"} if option not in usage]

    @pytest.mark.slow
    @pytest.mark.model
    @pytest.mark.xdist_group("personal")
    def test_they_do_what_the_pages_say(self, tmp_path: Path) -> None:
        """From picks to a judge without a teacher, and on to a generator, word for word."""
        for line in (line for name in PAGES for line in lines_of(name, "bash")):
            words = [sys.executable, "-m", "rationalrewards_core", *shlex.split(line)[1:]]
            done = subprocess.run(
                words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                timeout=900, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
        made = json.loads((tmp_path / "runs" / "mine" / "made.json").read_text())
        assert made["gain"]["low"] > 0
        exported = json.loads((tmp_path / "runs" / "mine" / "export" / "export.json").read_text())
        assert exported["kept share of the pairs asked about"] > 0.8
        for file in ("mine/report.html", "mine/sft/live.html", "generator/live.html"):
            assert (tmp_path / "runs" / file).is_file()
        weights = tmp_path / "runs" / "generator" / "weights"
        with safe_open(weights / "pytorch_lora_weights.safetensors", framework="np") as lora:
            assert "mine/sft/adapter" in lora.metadata()["modelspec.description"]
        assert (weights / "pytorch_lora_weights.preview.png").is_file()


def subparsers() -> list[argparse.ArgumentParser]:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return [action.choices["judge"], action.choices["generator"]]
