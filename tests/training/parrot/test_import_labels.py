"""Labels and texts of a table of one's own: what they mean, and what is refused because it could mean two things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rationalrewards_core.comparison import Verdict
from tests.training.parrot.schemas import SCHEMAS, images_in, parquet
from training.data.importers.tables import read_rows
from training.data.pairs import read_pairs
from training.parrot.__main__ import main

A, B, TIE = Verdict.A, Verdict.B, Verdict.TIE


def own(folder: Path, content: bytes | str, name: str = "mine.csv", *more: str) -> int:
    """Import preferences of one's own, with the pictures a.png, b.png and c.png beside them."""
    images_in(folder, ["a.png", "b.png", "c.png"])
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return main(["import", "folder", str(folder / name), "--run", str(folder / "run"), *more])


def own_labels(folder: Path) -> list[str]:
    return [pair.preference.value for pair in read_pairs([folder / "run" / "pairs" / "folder.jsonl"])]


def labelled(*labels: object) -> str:
    pictures = [("a.png", "b.png"), ("b.png", "c.png"), ("a.png", "c.png")]
    return "request,first,second,preference\n" + "".join(
        f"request {n},{first},{second},{label}\n"
        for n, (label, (first, second)) in enumerate(zip(labels, pictures, strict=False))
    )


class TestLabels:
    """What could be read in two ways is refused, by file, line and value."""

    @pytest.mark.parametrize("label", ["0", "1", "2", "1.0", "0.0", "-1", " 1 ", "True", "false"])
    def test_numbers_are_refused_unless_their_meaning_is_given(
        self, label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if label in ("True", "false"):
            content: bytes = json.dumps(
                {"request": "x", "first": "a.png", "second": "b.png", "preference": label == "True"}
            ).encode()
            assert own(tmp_path, content, "mine.jsonl") == 2
            where = "mine.jsonl, line 1"
        else:
            assert own(tmp_path, labelled("A", label)) == 2
            where = "mine.csv, line 3"
        told = capsys.readouterr().err
        shown = label.title() if label in ("True", "false") else repr(label)
        assert f"{where}: the label {shown} can be read" in told
        assert "in two ways; say --labels index (0 is the first image, 1 the second)" in told
        assert not (tmp_path / "run" / "pairs").exists() or not list((tmp_path / "run" / "pairs").iterdir())

    @pytest.mark.parametrize(
        ("meaning", "labels", "wanted"),
        [
            ("index", ["0", "1", "tie"], ["A", "B", "TIE"]),
            ("index", ["1.0", "0", "0"], ["B", "A", "A"]),
            ("number", ["1", "2", "0"], ["A", "B", "TIE"]),
            ("winner", ["a.png", "c.png", "both"], ["A", "B", "TIE"]),
            ("words", ["A", "second", "both bad"], ["A", "B", "TIE"]),
            ("words", [" LEFT ", "Image B", "Neither"], ["A", "B", "TIE"]),
        ],
    )
    def test_an_option_says_what_they_mean(
        self, meaning: str, labels: list[str], wanted: list[str], tmp_path: Path
    ) -> None:
        assert own(tmp_path, labelled(*labels), "mine.csv", "--labels", meaning) == 0
        assert own_labels(tmp_path) == wanted

    @pytest.mark.parametrize("meaning", ["words", "index", "winner"])
    def test_none_is_a_tie_to_people_and_no_answer_to_programs(
        self, meaning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert own(tmp_path, labelled("both", "None"), "mine.csv", "--labels", meaning) == 2
        assert "line 3: the label 'None' can be read in two ways; write TIE, or nothing" in capsys.readouterr().err

    def test_a_number_without_end_costs_its_row_alone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        images_in(tmp_path, ["a.png", "b.png"])
        row = {"image1": "a.png", "image2": "b.png", "votes_image2": 1, "model1": "m", "model2": "n"}
        rows = [{**row, "prompt": f"p {votes}"[:9], "votes_image1": votes} for votes in (10**400, 7)]
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        assert main(["import", "rapidata", str(tmp_path / "rows.json"), "--run", str(tmp_path / "run")]) == 0
        assert "1 pairs (0 ties); left out: 1 no number in votes_image1" in capsys.readouterr().out

    def test_zeros_of_json_are_labels(self, tmp_path: Path) -> None:
        rows = [{"request": f"r {n}", "first": "a.png", "second": "b.png", "preference": n} for n in (0, 1)]
        content = "\n".join(json.dumps(row) for row in rows)
        assert own(tmp_path, content, "mine.jsonl", "--labels", "index") == 0
        assert own_labels(tmp_path) == ["A", "B"]

    def test_what_is_unknown_is_left_out_counted_and_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert own(tmp_path, labelled("A", "left wins", "b.png")) == 0
        assert "2 unknown preference (first " in (said := capsys.readouterr().out)
        assert "mine.csv, line 3: 'left wins')" in said
        assert own_labels(tmp_path) == ["A"]
        assert own(tmp_path, labelled("2", "7"), "mine.csv", "--labels", "index") == 2
        assert "Not one row gave a pair: 2 unknown preference (first" in capsys.readouterr().err

    def test_the_option_is_for_ones_own_preferences(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = SCHEMAS["hpdv3"](tmp_path / "source")
        assert main(["import", "hpdv3", str(source), "--run", str(tmp_path / "run"), "--labels", "index"]) == 2
        assert "--labels is for the data set `folder`" in capsys.readouterr().err

    def test_a_tie_case_is_true_or_false(self, tmp_path: Path) -> None:
        images_in(tmp_path, ["s.png", "a.png", "b.png"])
        ties = [True, False, "true", 1, None]
        rows = [
            {"prompt": f"p {n}", "path_src": "s.png", "path1": "a.png", "path2": "b.png", "tie_case": tie}
            for n, tie in enumerate(ties)
        ]
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        assert main(["import", "editreward-json", str(tmp_path / "rows.json"), "--run", str(tmp_path / "run")]) == 0
        pairs = list(read_pairs([tmp_path / "run" / "pairs" / "editreward-json.jsonl"]))
        assert [pair.preference is TIE for pair in pairs] == [True, False]


class TestTexts:
    @pytest.mark.parametrize(
        ("content", "name", "sentence"),
        [
            ("request,first,second,preference\nein grünes Auto,a.png,b.png,A\n".encode("cp1252"), "mine.csv", "0xfc"),
            ("größe,request,first,second,preference\nx,y,a.png,b.png,A\n".encode("cp1252"), "mine.csv", "about line 1"),
            (labelled("A").encode("utf-16"), "mine.csv", "is in UTF-16, not in UTF-8; save it as UTF-8"),
            (labelled("A").encode("utf-16-be"), "mine.csv", "is in UTF-16"),
            (labelled("A").encode("utf-16-le"), "mine.csv", "is in UTF-16"),
            (labelled("A").encode("utf-32"), "mine.csv", "is in UTF-32"),
            (
                b"request,first,second,preference,preference\nx,a.png,b.png,A,B\n",
                "mine.csv",
                "two columns 'preference'",
            ),
            ('{"request": "grün"}\n'.encode("cp1252"), "mine.jsonl", "about line 1, byte 0xfc"),
            ('[{"request": "grün"}]'.encode("cp1252"), "mine.json", "is not in UTF-8"),
            ('[{"request": "x"}]'.encode("utf-16"), "mine.json", "is in UTF-16"),
            (labelled("A").replace(",", ";"), "mine.csv", "parts its columns by ';'; save it with commas"),
            (labelled("A").replace(",", "\t"), "mine.csv", "parts its columns by"),
            (b"", "mine.csv", "lacks the column"),
            (b'request,first,second,preference\n"x' + b"y" * 200_000, "mine.csv", "1 line that is no CSV (first "),
        ],
    )
    def test_another_encoding_is_said(
        self, content: bytes, name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert own(tmp_path, content, name) == 2
        told = capsys.readouterr().err
        assert sentence in told
        assert told.count("\n") == 1
        assert name in told

    def test_a_mark_and_a_separator_of_unicode_are_no_line_ends(self, tmp_path: Path) -> None:
        row = {"request": "one\u2028two\x85three", "first": "a.png", "second": "b.png", "preference": "A"}
        content = b"\xef\xbb\xbf" + json.dumps(row, ensure_ascii=False).encode()
        assert own(tmp_path, content, "mine.jsonl") == 0
        (pair,) = read_pairs([tmp_path / "run" / "pairs" / "folder.jsonl"])
        assert pair.request == row["request"]


def test_whole_paths_and_those_of_windows_are_found_within_the_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images_in(tmp_path / "elsewhere", [*"0123", "d.png"])
    images_in(tmp_path / "mine", [*"012", "deep/d.png"])
    folder = tmp_path / "mine"
    lines = [f"one,{folder / 'a.png'},{folder / 'b.png'},A", "two,a.png,deep\\d.png,B"]
    lines.append(f"three,a.png,{tmp_path / 'elsewhere' / 'd.png'},A")
    content = "request,first,second,preference\n" + "\n".join(lines)
    assert own(folder, content) == 0
    assert own_labels(folder) == ["A", "B"]
    said = capsys.readouterr().out
    assert "1 image outside the folders of --images (first " in said
    assert f"line 4: '{tmp_path}"[:40] in said
    assert own(folder, content, "mine.csv", "--images", str(folder), "--images", str(tmp_path)) == 0
    assert own_labels(folder) == ["A", "B", "A"]


def test_ranked_rows_of_a_prompt_need_not_stand_together(tmp_path: Path) -> None:
    apart = SCHEMAS["imagereward"](tmp_path / "together")
    rows_apart = [*read_rows(str(apart), lambda *_: None)]
    parquet(tmp_path / "apart.parquet", [rows_apart[place] for place in (0, 3, 1, 4, 2, 5)])
    found = []
    for source, run in ((apart, tmp_path / "one"), (tmp_path / "apart.parquet", tmp_path / "two")):
        assert main(["import", "imagereward", str(source), "--run", str(run)]) == 0
        found.append({pair.key: pair.preference for pair in read_pairs([run / "pairs" / "imagereward.jsonl"])})
    assert found[0] == found[1]
    assert len(found[0]) == 6
