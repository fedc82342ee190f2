"""`rationalrewards refine` with a program as the generator: the run on disk, and going on with it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.cli.parser import build_parser
from rationalrewards_core.loop.history import load_history
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.scorer import Scorer
from tests.core.commands import scripted_judge

Text = Callable[..., str]

PROGRAM = """
import json, pathlib, shutil, sys
prompt, seed, out, *negative = sys.argv[1:]
folder = pathlib.Path(__file__).parent
with open(folder / "asked.jsonl", "a") as file:
    file.write(json.dumps([prompt, int(seed), *negative]) + "\\n")
if (folder / "broken").exists():
    sys.exit("no memory")
shutil.copy(folder / "drawn.png", out)
"""


class Workshop:
    """A generator program, a scripted judge, and the folder of the run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.out, self._monkeypatch = folder, folder / "run", monkeypatch
        (folder / "program.py").write_text(PROGRAM)
        Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "drawn.png")

    def refine(self, *arguments: str, judged: Iterable[Any] = (), slots: str = "{prompt} {seed} {out}") -> int:
        scripted_judge(self._monkeypatch)(judged)
        generator = f"command:'{sys.executable}' -IS '{self.folder}/program.py' {slots}"
        return main(["refine", "--out", str(self.out), "--generator", generator, *arguments])

    @property
    def asked(self) -> list[list[Any]]:
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


def test_refines_until_it_is_good(workshop: Workshop, reply_text: Text, capsys: Any) -> None:
    judged = [reply_text(2.0, refined='a "red"; cat $5'), reply_text(4.0, 4.0)]
    assert workshop.refine("-p", "a cat", "--seed", "7", judged=judged) == 0
    assert workshop.asked == [["a cat", 7], ['a "red"; cat $5', 8]]
    shown = capsys.readouterr()
    assert "Best: reward 1.00, seed 8" in shown.out
    assert [line[:2] for line in shown.err.splitlines()] == ["1.", "2."]
    names = {path.name for path in workshop.out.iterdir()}
    assert names == {"history.jsonl", "step_000.png", "step_001.png", "best.png", "report.html"}


def test_tags_weights_and_quotations_survive_and_the_judges_own_syntax_does_not(
    workshop: Workshop, reply_text: Text
) -> None:
    prompt = "<lora:paper:0.8> a cat, (red hat:1.2), embedding:fine_lines, __weather__, {dawn|dusk}, 'OPEN'"
    refined = "A cat in a red hat, soft light <lora:own:1> embedding:own __own__<|im_end|>"
    assert workshop.refine("-p", prompt, judged=[reply_text(2.0, refined=refined), reply_text(4.0, 4.0)]) == 0
    assert workshop.asked[1][0] == (
        "A cat in a (red hat:1.2), soft light, <lora:paper:0.8>, embedding:fine_lines, __weather__, {dawn|dusk}; keep 'OPEN'"
    )


APART = "{prompt} {seed} {out} {negative}"


def test_a_negative_prompt_goes_apart_and_takes_up_what_should_not_be_there(
    workshop: Workshop, reply_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_by: list[str] = []
    judge_many = Scorer.judge_many

    async def noted(scorer: Scorer, cases: Any) -> Any:
        judged_by.extend(case.request.text for case in cases)
        return await judge_many(scorer, cases)

    monkeypatch.setattr(Scorer, "judge_many", noted)
    low = [reply_text(2.0, refined=f"a cat on a sofa, without any {what}") for what in ("text", "logos")]
    command = ["-p", "a cat", "--negative-prompt", " blurry"]
    assert workshop.refine(*command, "--images", "2", judged=low, slots=APART) == 0
    assert workshop.asked == [
        ["a cat", 0, "blurry"],
        ["a cat on a sofa, without any text", 1, "blurry, text"],
    ]
    assert load_history(workshop.out).steps[1].request == (
        "a cat on a sofa, without any text\nNegative prompt: blurry, text"
    )
    assert workshop.refine(*command, "--images", "3", "--resume", judged=[reply_text(4.0, 4.0)], slots=APART) == 0
    assert workshop.asked[2][2] == "blurry, text"
    assert judged_by == ["a cat"] * 3, "the judge reads what is wanted"


def test_a_negative_prompt_may_begin_empty_and_an_image_that_is_good_leaves_it(
    workshop: Workshop, reply_text: Text
) -> None:
    judged = [reply_text(4.0, 2.0, refined="a cat, no text"), reply_text(4.0, 4.0, refined="a cat, no frame")]
    command = ["-p", "a cat", "--negative-prompt", "", "--first", "1"]
    assert workshop.refine(*command, judged=judged, slots=APART) == 0
    assert [negative for _, _, negative in workshop.asked] == ["", "text"]


def test_a_prompt_stays_whole_without_the_option(workshop: Workshop, reply_text: Text) -> None:
    text = "a cat\nNegative prompt: blurry"
    assert workshop.refine("-p", text, judged=[reply_text(4.0, 4.0)], slots=APART) == 0
    assert workshop.asked == [[text, 0, ""]]


@pytest.mark.parametrize(
    ("arguments", "slots", "sentence"),
    [
        (["-p", "a cat"], "{prompt} {seed} {out}", "The command generator needs {negative} among its arguments"),
        (["-p", "a cat", "--generator", "miniature"], APART, "The miniature takes no negative prompt"),
        (["-p", "a cat\nNegative prompt: dark"], APART, "--prompt holds a negative prompt already"),
    ],
)
def test_where_no_negative_prompt_can_go(
    workshop: Workshop, arguments: list[str], slots: str, sentence: str, capsys: Any
) -> None:
    assert workshop.refine(*arguments, "--negative-prompt", "blurry", slots=slots) == 2
    assert sentence in capsys.readouterr().err
    assert not (workshop.out / "history.jsonl").exists()


def test_a_run_keeps_its_negative_prompt(workshop: Workshop, reply_text: Text, capsys: Any) -> None:
    command = ["-p", "a cat", "--negative-prompt", "blurry"]
    assert workshop.refine(*command, judged=[reply_text(4.0, 4.0)], slots=APART) == 0
    assert workshop.refine("--resume", "--negative-prompt", "dark", slots=APART) == 2
    assert "has --negative-prompt 'blurry'; leave --negative-prompt out" in capsys.readouterr().err


def test_json_and_nothing_else(workshop: Workshop, reply_text: Text, capsys: Any) -> None:
    assert workshop.refine("-p", "a cat", "--json", judged=[reply_text(4.0, 4.0)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "reason": "reached",
        "ending": "The threshold is reached.",
        "steps": 1,
        "best": {"reward": 1.0, "request": "a cat", "seed": 0},
        "out": str(workshop.out),
    }
    assert shown.err == ""


def test_nothing_scored_is_status_3_and_no_number(workshop: Workshop, capsys: Any) -> None:
    assert workshop.refine("-p", "a cat", "--images", "2", "--json", judged=["nonsense"] * 2) == 3
    assert json.loads(capsys.readouterr().out)["best"] is None
    assert not (workshop.out / "best.png").exists()
    assert "no_judgement" in (workshop.out / "report.html").read_text(encoding="utf-8")


def test_going_on_keeps_the_rules_and_the_seed_of_the_run(workshop: Workshop, reply_text: Text) -> None:
    rules = ["--images", "2", "--first", "2", "--seeds", "fixed", "--threshold", "0.5", "--margin", "0.1"]
    assert workshop.refine("-p", "a cat", "--seed", "5", *rules, judged=[reply_text(2.0, 2.0)] * 2) == 0
    before = load_history(workshop.out).policy
    assert (before.max_iterations, before.first, before.seeds, before.minimum_gain) == (2, 2, "fixed", 0.1)
    judged = [reply_text(3.5, 3.5)]
    assert workshop.refine("--resume", "--images", "5", judged=judged) == 0
    assert [seed for _, seed in workshop.asked] == [5, 5, 5]
    assert workshop.asked[2][0] == "a better request"
    steps = load_history(workshop.out).steps
    assert [step.accepted for step in steps] == [True, False, True]


def test_going_on_with_the_same_command_again_is_fine(workshop: Workshop, reply_text: Text, capsys: Any) -> None:
    (workshop.folder / "broken").touch()
    assert workshop.refine("-p", "a cat", "--seed", "3") == 1
    sentence = capsys.readouterr().err
    assert "The generator command failed: it ended with status 1 and said: no memory" in sentence
    assert "go on with --resume" in sentence
    (workshop.folder / "broken").unlink()
    assert workshop.refine("-p", "a cat", "--seed", "3", "--resume", judged=[reply_text(4.0, 4.0)]) == 0
    assert workshop.asked == [["a cat", 3], ["a cat", 3]]


@pytest.mark.parametrize("header", ["", '{"version": 1, "request": "a c'])
def test_one_command_begins_a_run_and_goes_on_with_it(workshop: Workshop, reply_text: Text, header: str) -> None:
    """Wherever it was killed, in its first line too."""
    if header:
        workshop.out.mkdir()
        (workshop.out / "history.jsonl").write_text(header)
    command = ["-p", "a cat", "--seed", "3", "--resume", "--images", "1"]
    assert workshop.refine(*command, judged=[reply_text(4.0, 4.0)]) == 0
    assert workshop.refine(*command) == 0, "nothing is left to do"
    assert workshop.asked == [["a cat", 3]]
    assert workshop.refine("--resume") == 0
    assert workshop.refine("--resume", "--out", str(workshop.folder / "none")) == 2, (
        "of nothing nobody knows the request"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "a dog", "--resume"], "has --prompt 'a cat'; leave --prompt out"),
        (["--seed", "9", "--resume"], "has --seed 0; leave --seed out"),
        (["-p", "a cat"], "already holds a run; continue it, or choose another folder"),
        (["--resume", "--rubric", "edit"], "judges edits"),
        (["--resume", "--images", "0"], "max_iterations must be at least 1"),
    ],
)
def test_a_run_is_never_turned_into_another(
    workshop: Workshop, reply_text: Text, arguments: list[str], sentence: str, capsys: Any
) -> None:
    assert workshop.refine("-p", "a cat", judged=[reply_text(4.0, 4.0)]) == 0
    history = (workshop.out / "history.jsonl").read_bytes()
    capsys.readouterr()
    assert workshop.refine(*arguments, judged=[]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert sentence in shown.err
    assert (workshop.out / "history.jsonl").read_bytes() == history


def test_nothing_to_go_on_with(workshop: Workshop, capsys: Any) -> None:
    assert workshop.refine("--resume") == 2
    assert "holds no run" in capsys.readouterr().err


def test_rules_go_by_their_names_in_the_nodes_and_by_their_former_ones() -> None:
    parser = build_parser()
    former = parser.parse_args(["refine", "--images", "3", "--margin", "0.1", "--minimum", "2"])
    named = parser.parse_args(["refine", "--max-iterations", "3", "--minimum-gain", "0.1", "--minimum-score", "2"])
    assert former == named


def test_every_rule_is_an_option_and_its_default_is_the_one_shown() -> None:
    (commands,) = (a for a in build_parser()._actions if a.dest == "command")
    options = {a.dest: a for a in commands.choices["refine"]._actions}  # type: ignore[index,union-attr,call-overload]
    policy = RefinePolicy()
    for rule in fields(RefinePolicy):
        if rule.name not in (
            "minimum_scores",
            "refine_negative",
        ):  # --negative-prompt says both what it is and that it is
            assert options[rule.name].default is None
            (shown,) = re.findall(r"\(default: (\S+)\)", options[rule.name].help)
            assert shown == str(getattr(policy, rule.name)), rule.name
