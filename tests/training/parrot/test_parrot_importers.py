"""Importers on small copies of each schema: what comes out, what is left out and why, and wrong schemas."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import types
from collections import Counter
from pathlib import Path

import pytest

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError, RequestError
from tests.training.parrot.schemas import SCHEMAS, clicks, image, images_in, parquet
from tests.training.parrot.teaching import rows
from training.data.importers.catalogue import DATASETS
from training.data.importers.intake import Intake
from training.data.importers.tables import CHUNK, json_elements, read_rows
from training.data.pairs import PreferencePair, read_pairs
from training.data.store import ImageRoots, ImageStore
from training.parrot.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
A, B, TIE = Verdict.A, Verdict.B, Verdict.TIE


def imported(name: str, folder: Path, *more: str) -> tuple[list[PreferencePair], Counter[str]]:
    """The pairs of a data set's fixture, and what was left out."""
    source = SCHEMAS[name](folder / "source")
    run = folder / "run"
    roots = ["--images", str(source.parent / "images.tar")] if name == "hpdv3" else []
    assert main(["import", name, str(source), "--run", str(run), *roots, *more]) == 0
    pairs = list(read_pairs([run / "pairs" / f"{name}.jsonl"]))
    store = ImageStore(run)
    for pair in pairs:
        assert pair.origin == DATASETS[name].origin
        for reference in pair.images:
            assert store.open(reference).size == (16, 12)
    return pairs, Counter(rows(run / "log.jsonl")[-1]["skipped"])


def test_every_data_set_has_a_fixture() -> None:
    assert set(SCHEMAS) == set(DATASETS)


def test_every_data_set_has_a_line_in_the_documentation() -> None:
    page = (ROOT / "docs" / "parrot.md").read_text(encoding="utf-8")
    assert [name for name in DATASETS if f"| `{name}` |" not in page] == []


def test_editreward(tmp_path: Path) -> None:
    pairs, skipped = imported("editreward", tmp_path)
    assert [p.preference for p in pairs] == [A, B, TIE]
    assert skipped == {"unknown vote": 1}
    assert pairs[0].request == "make the sky red"
    assert len(pairs[0].sources) == 1
    assert pairs[0].strength == 0.5
    assert pairs[0].models == ("one", "two")
    assert pairs[0].licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize("name", ["editreward-json", "hpdv3"])
def test_the_winner_stands_on_both_sides(name: str, tmp_path: Path) -> None:
    """In these files the first path always wins; after the import the place says nothing."""
    pairs, skipped = imported(name, tmp_path)
    sides = Counter(p.preference for p in pairs)
    assert sides[A] >= 3
    assert sides[B] >= 3
    winners = {(p.models or ("", ""))[0 if p.preference is A else 1] for p in pairs if p.preference is not TIE}
    assert len(winners) == 1
    if name == "hpdv3":
        assert len(pairs) == 16
        assert skipped == {"image not found": 1, "asked before": 1}
        assert pairs[0].strength == 0.9


def test_rapidata_votes_and_weights(tmp_path: Path) -> None:
    pairs, skipped = imported("rapidata", tmp_path / "votes")
    assert [p.preference for p in pairs] == [A, B, TIE]
    assert skipped == {"no votes": 1}
    assert pairs[0].strength == pytest.approx(14 / 26)
    pairs, _ = imported("rapidata-weighted", tmp_path / "weighted")
    assert [p.preference for p in pairs] == [A, B, TIE]


def test_pickapic(tmp_path: Path) -> None:
    pairs, skipped = imported("pickapic", tmp_path)
    assert [p.preference for p in pairs] == [A, B, TIE]
    assert skipped == {"no label": 1, "no image": 1}


def test_imagereward_pairs_the_images_of_a_prompt(tmp_path: Path) -> None:
    pairs, _ = imported("imagereward", tmp_path)
    assert len(pairs) == 6
    assert sum(p.preference is TIE for p in pairs) == 1
    assert {p.request for p in pairs} == {"a boat number 0", "a boat number 1"}
    store = ImageStore(tmp_path / "run")
    best = {image(0), image(4)}
    for pair in pairs:
        for reference, verdict in ((pair.first, A), (pair.second, B)):
            if store.read(reference) in best:
                assert pair.preference is verdict


def test_sft_data_gives_the_preference_of_its_pairwise_answers(tmp_path: Path) -> None:
    pairs, skipped = imported("rationalrewards-sft", tmp_path)
    assert [p.preference for p in pairs] == [A]
    assert pairs[0].request == "a red kite over a lake"
    assert skipped == {"pointwise row": 1, "answer cannot be read: truncated": 1}


def test_a_folder_and_a_csv(tmp_path: Path) -> None:
    pairs, skipped = imported("folder", tmp_path)
    assert [(p.request, p.preference) for p in pairs] == [
        ('a "red", bicycle', A),
        ("make it blue", B),
        ("a car", TIE),
    ]
    assert len(pairs[1].sources) == 1
    assert skipped == {"asked before": 1, "image outside the folders of --images": 1, "unknown preference": 1}


def test_the_folder_that_comfyui_exports(tmp_path: Path) -> None:
    """`export/` of a set of picks: JSON lines with fields of their own, and the pictures below."""
    folder = tmp_path / "export"
    images_in(folder, ["images/a.png", "images/b.png", "images/before.png"])
    row = {"request": "make it blue", "first": "images/a.png", "second": "images/b.png", "preference": "B"}
    row |= {"source": "images/before.png", "origin": "own picks: mine", "question": "q1", "reward_first": None}
    (folder / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["import", "folder", str(folder), "--run", str(tmp_path / "run")]) == 0
    (pair,) = read_pairs([tmp_path / "run" / "pairs" / "folder.jsonl"])
    assert (pair.preference, pair.kind, pair.origin) == (B, "edit", "own picks: mine")


def test_pictures_can_stay_where_they_are(tmp_path: Path) -> None:
    pairs, _ = imported("hpdv3", tmp_path, "--keep", "reference")
    assert all(reference.startswith("tar:") for pair in pairs for reference in pair.images)
    assert not (tmp_path / "run" / "images").exists()
    pairs, _ = imported("folder", tmp_path / "own", "--keep", "reference")
    assert all(reference.startswith("file:") for pair in pairs for reference in pair.images)


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_wrong_schema_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet(tmp_path / "wrong.parquet", [{"a_column_of_no_set": 1}])
    assert main(["import", name, str(tmp_path / "wrong.parquet"), "--run", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert f"is not {name}: it lacks the column {DATASETS[name].required[0]!r}" in said
    assert not list((tmp_path / "run").rglob("*.jsonl"))


def test_a_wrong_schema_is_told_in_every_file_format(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text('[{"a": 1}]')
    (tmp_path / "wrong.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "wrong.csv").write_text("a\n1\n")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ConfigError, match="lacks the column 'prompt'"):
            list(read_rows(str(path), DATASETS["hpdv3"].check))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.json", '[{"a": 1}, {"a"', "ends in the middle"),
        ("x.json", '[{"a": 1}', "ends in the middle of its array"),
        ("x.json", '[{"a": 1}]\n[{"a": 2}]', "goes on behind its array"),
        ("x.json", '[{"a": 1}] {"a": 2}', "goes on behind its array"),
        ("x.json", '[{"a": 1}, 3]', "JSON objects"),
        ("x.json", '"text"', "JSON array"),
        ("x.parquet", "PAR?", "no Parquet file"),
        ("x.tar", "no tar", "no tar"),
        ("x.txt", "text", "is none of"),
    ],
)
def test_damaged_files_are_one_sentence(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        list(read_rows(str(tmp_path / name), lambda *_: None))


def broken_in_many_ways(name: str) -> tuple[str, list[str]]:
    """Three sound rows of `clicks` among broken lines, and what is to be said of each broken kind."""
    good = [{"request": "a red bicycle", "first": "a.png", "second": f"{n}.png", "preference": "A"} for n in "bcd"]
    if name.endswith(".csv"):
        lines = ["request,first,second,preference"]
        lines += [",".join(row.values()) for row in good]
        lines[2:2] = ["a red, unquoted bicycle,a.png,b.png,A", 'a bicycle,"' + "x" * 140_000 + '",b.png,A']
        lines[4:4] = ['"a sign saying "OK" here",a.png,b.png,A']
        lines += ['"an open quotation,a.png,b.png,A', "swallowed by it,a.png,b.png,A"]
        return "\n".join(lines) + "\n", ["1 line with more cells than columns (first FILE, line 3)",
                                         "4 line that is no CSV (first FILE, line 4)"]  # fmt: skip
    lines = [json.dumps(row) for row in good]
    lines[1:1] = ['{"request": "torn', "[1]", json.dumps({**good[0], "source": 7}), "", "[" * 100_000]
    lines[:0] = ["{"]
    lines += ['{"request": "the last one, torn']
    return "\n".join(lines), ["4 line that is no JSON (first FILE, line 1)",
                              "1 line that is no JSON object (first FILE, line 4)",
                              "1 a value of another kind (first FILE, line 5: "]  # fmt: skip


@pytest.mark.parametrize("name", ["clicks.jsonl", "clicks.csv"])
def test_a_broken_line_costs_itself_alone_and_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images_in(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    content, said = broken_in_many_ways(name)
    (tmp_path / name).write_text(content)
    assert main(["import", "folder", str(tmp_path / name), "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "3 pairs" in shown
    for sentence in said:
        assert sentence.replace("FILE", str(tmp_path / name)) in shown
    assert len(list(read_pairs([tmp_path / "run" / "pairs" / "folder.jsonl"]))) == 3


def test_every_importer_counts_broken_lines(tmp_path: Path) -> None:
    """Whatever an importer makes of a row, it is asked for none that is broken, and none is lost without a word."""
    pytest.importorskip("torch")  # which the package of the benchmarks needs
    from training.data.benchmarks import BENCHMARKS

    (tmp_path / "x.jsonl").write_text('{"a": \n[1]\n3\n')
    importers = [*(one.pairs for one in DATASETS.values()), *(one.convert for one in BENCHMARKS.values())]
    for pairs in importers:
        intake = Intake(ImageStore(tmp_path), ImageRoots([tmp_path]))
        assert list(pairs(read_rows(str(tmp_path / "x.jsonl"), lambda *_: None), intake)) == []
        assert intake.skipped == {"line that is no JSON": 1, "line that is no JSON object": 2}


def test_nothing_but_broken_lines_is_refused_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jsonl").write_text("{\n")
    assert main(["import", "folder", str(tmp_path / "x.jsonl"), "--run", str(tmp_path / "run")]) == 2
    assert "Not one row gave a pair: 1 line that is no JSON (first " in capsys.readouterr().err


def test_json_is_read_element_by_element(tmp_path: Path) -> None:
    """Elements that lie across the borders of what is read at once, with every mark inside their texts."""
    elements = [{"n": n, "text": '"], [{\\' + "é" * (CHUNK // 3)} for n in range(7)]
    file = io.StringIO(json.dumps(elements))
    assert list(json_elements(file, "test")) == elements
    assert list(json_elements(io.StringIO('{"a": 1}'), "test")) == [{"a": 1}]
    assert list(json_elements(io.StringIO(" [ ] "), "test")) == []


def test_tables_in_a_tar_with_their_pictures(tmp_path: Path) -> None:
    clicks(tmp_path / "source")
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for path in sorted((tmp_path / "source").iterdir()):
            archive.add(path, path.name)
    assert main(["import", "folder", str(tmp_path / "all.tar"), "--run", str(tmp_path / "run")]) == 0
    assert len(list(read_pairs([tmp_path / "run" / "pairs" / "folder.jsonl"]))) == 3


def test_a_data_set_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub's client is asked for the list and then for one file after the other."""
    source = SCHEMAS["rapidata"](tmp_path / "hub")
    asked: list[str] = []
    hub = types.ModuleType("huggingface_hub")
    errors = types.ModuleType("huggingface_hub.errors")

    class ClientError(Exception):
        """Of the hub's HTTP client, which is no OSError."""

    class HfHubHTTPError(ClientError, OSError):
        pass

    class HfApi:
        def list_repo_files(self, identity: str, repo_type: str) -> list[str]:
            if identity == "Rapidata/unreachable":
                raise ClientError("no network")
            assert (identity, repo_type) == ("Rapidata/some", "dataset")
            return ["README.md", "data/train_0001.parquet", "data/test.parquet"]

    def hf_hub_download(identity: str, name: str, repo_type: str) -> str:
        asked.append(name)
        return str(source)

    hub.HfApi, hub.hf_hub_download = HfApi, hf_hub_download  # type: ignore[attr-defined]
    errors.HfHubHTTPError = HfHubHTTPError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    run = tmp_path / "run"
    assert main(["import", "rapidata", "hub:Rapidata/some", "--run", str(run), "--split", "train"]) == 0
    assert asked == ["data/train_0001.parquet"]
    assert len(list(read_pairs([run / "pairs" / "rapidata.jsonl"]))) == 3
    assert main(["import", "rapidata", "hub:Rapidata/unreachable", "--run", str(run)]) == 2
    assert "cannot be had from the hub (ClientError)" in capsys.readouterr().err


def test_missing_things_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--run", str(tmp_path / "run")]
    for words, said in (
        (["import", "hpdv4", "x", *run], "There is no data set 'hpdv4'"),
        (["import", "hpdv3", *run], "Say where hpdv3 is"),
        (["import", "hpdv3", str(tmp_path / "absent"), *run], "There is no file or folder"),
        (["import", "hpdv3", str(tmp_path), "--images", str(tmp_path / "no.tar"), *run], "no folder or tar"),
        (["import", "hpdv3", str(tmp_path), *run], "holds no .parquet"),
        (["export", "--out", str(tmp_path / "out"), *run], "holds no pairs"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err


def test_a_set_that_gives_no_pair_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("request,first,second,preference\na,no.png,none.png,A\n")
    assert main(["import", "folder", str(tmp_path / "x.csv"), "--run", str(tmp_path / "run")]) == 2
    assert "1 image not found (first " in capsys.readouterr().err


def test_references_lead_nowhere_else(tmp_path: Path) -> None:
    images_in(tmp_path / "in", ["a.png"])
    (tmp_path / "secret.png").write_bytes(image(1))
    roots = ImageRoots([tmp_path / "in"])
    assert roots.reference("a.png") == f"file:{tmp_path / 'in' / 'a.png'}"
    assert roots.reference("./a.png") is not None
    assert roots.reference("../secret.png") is None
    assert roots.reference(str(tmp_path / "secret.png")) is None
    with pytest.raises(RequestError):
        ImageStore(tmp_path).add(b"<svg/>")


MILLION = """
import sys
from pathlib import Path
from training.parrot.__main__ import main
code = main(["import", "hpdv3", sys.argv[1], "--run", sys.argv[2], "--keep", "reference"])
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(code, status["VmHWM"].split()[0])
"""
"""Linux keeps this peak per program; getrusage's begins with that of whoever started it."""
measures_memory = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


def import_measured(folder: Path, count: int) -> tuple[int, int]:
    """Write an HPDv3 file of `count` rows over 64 images and import it; (pairs, peak memory in KiB)."""
    images_in(folder, [f"images/{n}.jpg" for n in range(64)])
    with (folder / "train.json").open("w") as file:
        file.write("[")
        for n in range(count):
            row = {"prompt": f"a cat number {n}, photographed in soft evening light", "source": "internal"}
            row |= {"choice_dist": [12, 7], "confidence": 0.9, "model1": "flux", "model2": "sd"}
            row |= {"path1": f"images/{n % 64}.jpg", "path2": f"images/{(n + 1) % 64}.jpg"}
            file.write(("," if n else "") + json.dumps(row))
        file.write("]")
    command = [sys.executable, "-c", MILLION, str(folder / "train.json"), str(folder / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 0
    with (folder / "run/pairs/hpdv3.jsonl").open("rb") as lines:
        return sum(1 for _ in lines), peak


@measures_memory
def test_memory_does_not_follow_the_size_of_a_set(tmp_path: Path) -> None:
    """Four times the rows take no more than what finding duplicates takes."""
    small, large = (import_measured(tmp_path / str(count), count) for count in (2_000, 8_000))
    assert (small[0], large[0]) == (2_000, 8_000)
    assert large[1] - small[1] < 8 * 1024
    assert large[1] < 1024 * 1024


@measures_memory
@pytest.mark.slow
def test_a_million_rows_within_a_gigabyte(tmp_path: Path) -> None:
    pairs, peak = import_measured(tmp_path, 1_000_000)
    assert pairs == 1_000_000
    assert peak < 1024 * 1024


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
