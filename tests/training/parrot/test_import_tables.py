"""Tables of every format: damaged, in an archive, on the hub, larger than memory."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import types
from pathlib import Path

import pytest

from rationalrewards_core.errors import ConfigError
from tests.training.parrot.schemas import SCHEMAS, clicks, images_in
from training.data.importers.catalogue import DATASETS
from training.data.importers.intake import Intake
from training.data.importers.tables import CHUNK, json_elements, read_rows
from training.data.pairs import read_pairs
from training.data.store import ImageRoots, ImageStore
from training.parrot.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


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
