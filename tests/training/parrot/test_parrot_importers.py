"""Importers on small copies of each schema: what comes out, what is left out and why, and wrong schemas."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError, RequestError
from tests.training.parrot.schemas import SCHEMAS, image, images_in, parquet
from tests.training.parrot.teaching import rows
from training.data.importers.catalogue import DATASETS
from training.data.importers.tables import read_rows
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
