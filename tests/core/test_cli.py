"""The command line: output a program can read, exit codes, one clear sentence for every mistake."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends.base import Finish, Reply, TokenChoice
from rationalrewards_core.errors import BackendError, Interrupted
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric, parse_rubric, rubric_to_toml
from tests.core.commands import Script, scripted_judge, wrong

ROOT = Path(__file__).resolve().parents[2]
Text = Callable[..., str]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Script:
    return scripted_judge(monkeypatch)


@pytest.fixture
def image(tmp_path: Path, picture: Image.Image) -> str:
    path = tmp_path / "picture.png"
    picture.save(path)
    return str(path)


class TestCritique:
    def test_as_a_person_reads_it(self, judge: Script, reply_text: Text, image: str, capsys: Any) -> None:
        judge([reply_text(3.0, 4.0)])
        assert main(["critique", image, "-p", "a cat"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("Reward 0.83\n")
        for line in ("Text Faithfulness: 3.0", "    It looks clean.", "Text Rendering: N/A", "a better request"):
            assert line in shown

    def test_json_and_nothing_else(self, judge: Script, reply_text: Text, image: str, capsys: Any) -> None:
        backend = judge([reply_text(3.0, 4.0, analysis="Ein Bär, 熊.")])
        assert main(["critique", image, "-p", "ein Bär", "--json"]) == 0
        shown = capsys.readouterr()
        answer = json.loads(shown.out)
        assert (answer["reward"], answer["scores"]["text_rendering"], shown.err) == (0.8333, None, "")
        assert "熊" in shown.out
        assert "ein Bär" in backend.calls[0][0][-1].text

    @pytest.mark.parametrize("line", ["I cannot help.", BackendError("The server is down.", reason="connection")])
    def test_unscored_is_status_3_and_no_number(self, judge: Script, image: str, line: Any, capsys: Any) -> None:
        judge([line, line])
        assert main(["critique", image, "-p", "a cat", "--json"]) == 3
        answer = json.loads(capsys.readouterr().out)
        assert answer["reward"] is None
        assert answer["unscored"] in ("no_judgement", "connection")
        assert "scores" not in answer
        assert main(["critique", image, "-p", "a cat"]) == 3
        assert capsys.readouterr().out.startswith("Unscored (")

    def test_an_edit_shows_the_judge_both_images(self, judge: Script, image: str) -> None:
        backend = judge(["?"])
        assert main(["critique", image, "-p", "make it blue", "--source", image]) == 3
        assert sum(isinstance(part, Image.Image) for m in backend.calls[0][0] for part in m.parts) == 2

    def test_interrupted_is_130(self, judge: Script, image: str, capsys: Any) -> None:
        judge([Interrupted("stop")])
        assert "interrupted" in wrong(["critique", image, "-p", "a cat"], capsys, 130)

    def test_an_output_without_the_characters_still_gets_valid_json(
        self, judge: Script, reply_text: Text, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judge([reply_text(analysis="熊 🐻", refined="a 熊")] * 2)
        for arguments in (["--json"], []):
            stream = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding="cp1252"))
            assert main(["critique", image, "-p", "熊", *arguments]) == 0
            if arguments:
                assert json.loads(stream.getvalue())["analysis"] == "熊 🐻"
            else:
                assert b"Refined prompt: a \\u718a" in stream.getvalue()

    def test_sampled_critiques_say_how_sure_the_judge_is(
        self, judge: Script, reply_text: Text, image: str, capsys: Any
    ) -> None:
        backend = judge([reply_text(3.0), reply_text(1.0), reply_text(3.0), "I cannot help.", reply_text(2.0)])
        assert main(["critique", image, "-p", "a cat", "--samples", "4"]) == 0
        shown = capsys.readouterr().out
        assert "Text Faithfulness: 3.0 (± 1.0 over 3 of 4 sampled critiques)" in shown
        assert "Physical and Visual Quality: 3.5 (± 0.0 over 3 of 4 sampled critiques)" in shown
        assert "Text Rendering: N/A\n" in shown
        assert [sampling.temperature for _, sampling in backend.calls] == [0.0, 1.0, 1.0, 1.0, 1.0]
        assert "samples must be 0, or 2 to" in wrong(["critique", image, "-p", "a cat", "--samples", "1"], capsys)

    def test_no_spread_is_shown_that_nobody_sampled(
        self, judge: Script, reply_text: Text, image: str, capsys: Any
    ) -> None:
        text = reply_text(3.0)
        certain = Reply(
            text=text, finish=Finish.STOP, model="m", tokens=tuple(TokenChoice(c, ((c, 1.0),)) for c in text)
        )
        judge([certain] * 3)
        assert main(["critique", image, "-p", "a cat", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["judgements"][0]
        assert (told["spread"], told["samples"]) == (0.0, 0)
        for command in ("critique", "score"):
            assert main([command, image, "-p", "a cat"]) == 0
            assert "±" not in capsys.readouterr().out


class TestScore:
    @pytest.fixture
    def three(self, tmp_path: Path) -> list[str]:
        paths = [tmp_path / f"{name}.png" for name in ("low", "none", "high")]
        for number, path in enumerate(paths):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        return [str(path) for path in paths]

    def test_ranks_and_keeps_the_unscored_last(self, judge: Script, reply_text: Text, three: list[str], capsys: Any) -> None:  # fmt: skip
        judge([reply_text(2.0, 2.0), "nonsense", reply_text(4.0, 4.0)])
        assert main(["score", *three, "-p", "a cat", "--json"]) == 3
        shown = capsys.readouterr()
        rows = [json.loads(line) for line in shown.out.splitlines()]
        assert [Path(row["image"]).stem for row in rows] == ["high", "low", "none"]
        assert [row["reward"] for row in rows] == [1.0, 0.3333, None]
        assert (rows[2]["unscored"], shown.err) == ("no_judgement", "")

    def test_the_table(self, judge: Script, reply_text: Text, three: list[str], capsys: Any) -> None:
        judge([reply_text(1.0, 1.0), "nonsense", reply_text(4.0, 4.0)])
        assert main(["score", *three, "-p", "a cat"]) == 3
        head, *rows = capsys.readouterr().out.splitlines()
        assert head.split()[0] == "reward"
        assert [row.split()[0] for row in rows] == ["1.000", "0.000", "-"]
        assert "unscored (no_judgement)" in rows[2]

    def test_the_table_with_samples(self, judge: Script, reply_text: Text, image: str, capsys: Any) -> None:
        judge([reply_text(3.0), reply_text(1.0), reply_text(3.0, 3.1)])
        assert main(["score", image, "-p", "a cat", "--samples", "2"]) == 0
        assert "3 ± 1.4" in (shown := capsys.readouterr().out)
        assert "3.5 ± 0.3" in shown

    @pytest.mark.parametrize(("threshold", "status"), [("0.2", 0), ("0.5", 4)])
    def test_threshold(self, judge: Script, reply_text: Text, image: str, threshold: str, status: int) -> None:
        judge([reply_text(2.0, 2.0)])
        assert main(["score", image, "-p", "a cat", "--threshold", threshold, "--json"]) == status

    def test_nothing_scored_is_below_every_threshold(self, judge: Script, image: str) -> None:
        judge(["nonsense"])
        assert main(["score", image, "-p", "a cat", "--threshold", "0"]) == 4

    def test_one_bad_file_does_not_cost_the_others(
        self, judge: Script, reply_text: Text, three: list[str], tmp_path: Path, capsys: Any
    ) -> None:
        cut, strip = tmp_path / "cut.png", tmp_path / "strip.png"
        cut.write_bytes(Path(three[0]).read_bytes()[:40])
        Image.new("RGB", (900, 1)).save(strip)
        backend = judge([reply_text(2.0, 2.0), reply_text(4.0, 4.0)])
        files = [three[0], "missing.png", str(cut), str(strip), three[2]]
        assert main(["score", *files, "-p", "a cat", "--json"]) == 3
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [Path(row["image"]).stem for row in rows] == ["high", "low", "missing", "cut", "strip"]
        assert [row["reward"] for row in rows] == [1.0, 0.3333, None, None, None]
        assert ["does not exist" in rows[2]["message"], "is not a readable" in rows[3]["message"]] == [True, True]
        assert "no side may be more than 200 times the other" in rows[4]["message"]
        assert len(backend.calls) == 2

    def test_a_folder_stands_for_the_pictures_in_it(
        self, judge: Script, reply_text: Text, three: list[str], tmp_path: Path, capsys: Any
    ) -> None:
        folder = tmp_path / "pictures"
        (folder / "deeper").mkdir(parents=True)
        for name in ("b.PNG", "a.png"):
            (folder / name).write_bytes(Path(three[0]).read_bytes())
        (folder / "notes.txt").write_text("no picture")
        judge([reply_text(2.0, 2.0), reply_text(2.0, 2.0), reply_text(4.0, 4.0)])
        assert main(["score", str(folder), three[2], "-p", "a cat", "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["image"] for row in rows] == [three[2], str(folder / "a.png"), str(folder / "b.PNG")]
        judge([])
        assert "has no pictures" in wrong(["score", str(folder / "deeper"), "-p", "a cat"], capsys)

    def test_what_a_memo_holds_is_not_asked_again(
        self, judge: Script, reply_text: Text, three: list[str], tmp_path: Path, capsys: Any
    ) -> None:
        """A run that was ended in the middle, and the same command again."""
        memo = ["--memo", str(tmp_path / "deep" / "memo.jsonl")]
        judge([reply_text(2.0, 2.0), Interrupted("stop")])
        assert "interrupted" in wrong(["score", *three, "-p", "a cat", "--json", *memo], capsys, 130)
        again = judge([reply_text(3.0, 3.0), reply_text(4.0, 4.0)])
        assert main(["score", *three, "-p", "a cat", "--json", *memo]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(Path(row["image"]).stem, row["reward"]) for row in rows] == [
            ("high", 1.0), ("none", 0.6667), ("low", 0.3333),
        ]  # fmt: skip
        assert len(again.calls) == 2

    def test_no_good_file_at_all_is_told_before_anything_is_loaded(self, judge: Script, capsys: Any) -> None:
        backend = judge([])
        assert "missing.png' does not exist" in wrong(["score", "missing.png", "gone.png", "-p", "a"], capsys)
        assert backend.calls == []


class TestCompare:
    def test_a_verdict(self, judge: Script, reply_text: Text, image: str, tmp_path: Path, capsys: Any) -> None:
        other = tmp_path / "other.png"
        Image.new("RGB", (8, 8)).save(other)
        judge([reply_text(2.0), reply_text(3.5)] * 2)
        for arguments in ([], ["--json"]):
            assert main(["compare", image, str(other), "-p", "a cat", *arguments]) == 0
            shown = capsys.readouterr().out
            if arguments:
                assert json.loads(shown)["verdict"] == "B"
            else:
                assert f"Verdict: B is better ({other})" in shown

    def test_no_verdict_is_status_1_and_says_why(self, judge: Script, image: str, capsys: Any) -> None:
        judge(["nonsense", "nonsense"])
        assert wrong(["compare", image, image, "-p", "a cat", "--json"], capsys, 1)


class TestRubric:
    @pytest.mark.parametrize("rubric", [generation_rubric(), edit_rubric()], ids=["generation", "edit"])
    def test_every_view_of_it(self, rubric: Any, capsys: Any) -> None:
        def shown(*arguments: str) -> str:
            assert main(["rubric", rubric.name, *arguments]) == 0
            return str(capsys.readouterr().out)

        assert parse_rubric(shown("--toml"), "shown") == rubric
        assert [d["key"] for d in json.loads(shown("--json"))["dimensions"]] == [d.key for d in rubric.dimensions]
        assert shown("--prompt").count("<image>") == (2 if rubric.kind == "edit" else 1)
        assert "root ::=" in shown("--grammar")
        assert all(f"{d.title} ({d.key}, weight" in shown() for d in rubric.dimensions)

    def test_an_exported_rubric_is_one_to_use(self, judge: Script, image: str, tmp_path: Path, capsys: Any) -> None:
        file = tmp_path / "mine.toml"
        file.write_text(rubric_to_toml(generation_rubric()), encoding="utf-8")
        judge(["?"])
        assert main(["rubric", str(file), "--json"]) == 0
        assert main(["critique", image, "-p", "a cat", "--rubric", str(file)]) == 3
        capsys.readouterr()
        sentence = wrong(["critique", image, "-p", "a", "--rubric", str(file), "--source", image], capsys)
        assert "--source makes this an edit" in sentence
        assert "give the edited image's --source" in wrong(["critique", image, "-p", "a", "--rubric", "edit"], capsys)

    @pytest.mark.parametrize("command", [["rubric"], ["critique", "IMAGE", "-p", "a", "--rubric"]])
    def test_a_mistake_names_the_file_and_the_key(self, command: list[str], image: str, tmp_path: Path, capsys: Any) -> None:  # fmt: skip
        file = tmp_path / "mine.toml"
        file.write_text(rubric_to_toml(generation_rubric()).replace("optional =", "optionnal =", 1), encoding="utf-8")
        sentence = wrong([*(image if word == "IMAGE" else word for word in command), str(file)], capsys)
        assert str(file) in sentence
        assert "unknown key 'optionnal' in dimensions[1]" in sentence

    def test_no_such_rubric(self, capsys: Any) -> None:
        assert "nor a readable TOML file" in wrong(["rubric", "nope"], capsys)

    def test_two_views_at_once_are_refused(self, capsys: Any) -> None:
        assert "not allowed with argument" in wrong(["rubric", "--toml", "--json"], capsys)
