"""Import to export on miniature pairs, through the teacher as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import render_critique
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import load_rubric
from tests.training.parrot.teaching import Teaching, import_miniature, rows
from training.data.labelled_pairs import PairFolder
from training.data.pairs import read_pairs
from training.parrot.__main__ import main
from training.rewards.student_rubrics import student_rubrics
from training.sft.records import ChatFile

ROOT = Path(__file__).resolve().parents[3]
RUBRICS = [scorer_folder() / f"rubric_{kind}.toml" for kind in ("generation", "edit")]
GIVEN = [word for path in RUBRICS for word in ("--rubric", str(path))]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teaching]:
    """`python -m training.lab.teacher` with its stated faults."""
    folder = tmp_path_factory.mktemp("teacher")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Teaching(port, folder)
    one.name_server(concurrency=4)
    command = [sys.executable, "-m", "training.lab.teacher", "--port", str(port), "--log", str(one.log)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _wait_for(f"http://127.0.0.1:{port}/v1/models", process)
        yield one
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the teacher ended before it was ready"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the teacher did not come up")


@pytest.fixture(scope="module")
def run(teacher: Teaching, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every stage done: 20 pairs, a third of them edits."""
    folder = tmp_path_factory.mktemp("parrot") / "run"
    import_miniature(folder, 20, "--edits", "0.35", "--seed", "5")
    assert teacher.stage("rationalize", folder) == 0
    assert teacher.stage("check", folder) == 0
    assert teacher.stage("check", folder, "--variant", "images") == 0
    assert teacher.stage("check", folder, "--variant", "paper") == 0
    assert teacher.stage("project", folder) == 0
    assert teacher.stage("project", folder, "--arm", "direct") == 0
    assert teacher.stage("project", folder, "--arm", "unfiltered") == 0
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    out = run / "export"
    assert main(["export", "--run", str(run), "--out", str(out), "--dev", "0.2", "--test", "0.2", *GIVEN]) == 0
    return out


def examples(out: Path) -> list[dict]:
    return [row for split in ("train", "dev", "test") for row in rows(out / f"{split}.jsonl")]


def test_every_pair_is_explained_in_both_orders(run: Path) -> None:
    told = rows(run / "rationales.jsonl")
    assert len(told) == 40
    assert {r["key"].split(":")[1] for r in told} == {"AB", "BA"}
    shown = [Verdict(r["pair"]["preference"]) for r in told]
    as_shown = [v if r["order"] == "AB" else v.swapped for v, r in zip(shown, told, strict=True)]
    assert as_shown.count(Verdict.A) == as_shown.count(Verdict.B), "the place of an image carries a label"


def test_records_say_where_they_come_from(run: Path) -> None:
    for record in rows(run / "rationales.jsonl"):
        own = record["provenance"]
        assert own["model"] == "miniature-teacher"
        assert own["prompt"]
        assert own["question"]
        assert own["temperature"] in (0.0, 0.5)
        assert record["usage"]["requests"] >= 1
        assert record["pair"]["origin"] == "miniature"


def test_some_are_kept_and_some_are_dropped_for_named_reasons(run: Path) -> None:
    checks = rows(run / "checks-text.jsonl")
    kept = [c for c in checks if c["kept"]]
    assert 0.4 < len(kept) / len(checks) < 0.95
    assert all(c["message"] for c in checks if not c["kept"])
    assert all(c["predicted"] for c in kept)


def test_the_papers_check_keeps_what_ours_drops(run: Path) -> None:
    ours = {c["key"] for c in rows(run / "checks-text.jsonl") if c["kept"]}
    papers = {c["key"] for c in rows(run / "checks-paper.jsonl") if c["kept"]}
    assert len(papers) > len(ours)


def test_only_kept_pairs_are_projected(run: Path) -> None:
    kept = {c["pair"]["key"] for c in rows(run / "checks-text.jsonl") if c["kept"]}
    projected = rows(run / "critiques-parrot.jsonl")
    assert {p["pair"]["key"] for p in projected} == kept
    assert len(projected) == 2 * len(kept)
    assert len(rows(run / "critiques-direct.jsonl")) == 40


def test_examples_are_the_cores_own_messages_and_answers(exported: Path) -> None:
    rubrics = {rubric.kind: rubric for rubric in map(load_rubric, RUBRICS)}
    seen = examples(exported)
    assert seen
    kinds = set()
    for row in seen:
        *asked, said = row["messages"]
        images = [Image.open(exported / name) for name in row["images"]]
        kind = "edit" if len(images) == 2 else "generation"
        kinds.add(kind)
        rubric = rubrics[kind]
        text = _request(exported, row)
        messages = critique_messages(UserRequest(text, tuple(images[:-1])), images[-1], rubric)
        assert [m.role for m in messages] == [m["role"] for m in asked]
        shown = iter(row["images"])
        for message, turn in zip(messages, asked, strict=True):
            expected = [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": next(shown)}
                for part in message.parts
            ]
            assert turn["content"] == expected
        (part,) = said["content"]
        critique = parse_critique(part["text"], rubric)
        assert critique.refinement is not None
        assert render_critique(critique, rubric) == part["text"]
    assert kinds == {"edit", "generation"}


def _request(out: Path, row: dict) -> str:
    pairs = {pair["key"]: pair for pair in rows(out / "pairs.jsonl")}
    return str(pairs[row["provenance"]["pair"]]["request"])


def test_the_preferred_candidate_has_the_higher_reward(exported: Path) -> None:
    rubrics = {rubric.kind: rubric for rubric in map(load_rubric, RUBRICS)}
    pairs = {pair["key"]: pair for pair in rows(exported / "pairs.jsonl")}
    rewards: dict[str, dict[str, float]] = {}
    for row in examples(exported):
        rubric = rubrics["edit" if len(row["images"]) == 2 else "generation"]
        critique = parse_critique(row["messages"][-1]["content"][0]["text"], rubric)
        rewards.setdefault(row["provenance"]["pair"], {})[row["provenance"]["side"]] = reward(critique, rubric)
    assert rewards
    for key, scored in rewards.items():
        lead = scored["A"] - scored["B"]
        match pairs[key]["preference"]:
            case "A":
                assert lead >= 0.02
            case "B":
                assert lead <= -0.02
            case _:
                assert abs(lead) <= 0.25


def test_no_request_and_no_image_crosses_a_split(exported: Path) -> None:
    split_of: dict[str, set[str]] = {}
    for pair in rows(exported / "pairs.jsonl"):
        for name in (pair["request"].casefold(), pair["first"], pair["second"], *pair["sources"]):
            split_of.setdefault(name, set()).add(pair["split"])
    assert all(len(splits) == 1 for splits in split_of.values())
    assert {pair["split"] for pair in rows(exported / "pairs.jsonl")} == {"train", "dev", "test"}
    pairs = {pair["key"]: pair["split"] for pair in rows(exported / "pairs.jsonl")}
    for row in examples(exported):
        assert row["split"] == pairs[row["provenance"]["pair"]]


def test_exported_pairs_are_pairs_again(exported: Path, run: Path) -> None:
    pairs = list(read_pairs([exported / "pairs.jsonl"]))
    assert len(pairs) == 20
    assert any(not row["kept"] for row in rows(exported / "pairs.jsonl")), "dropped pairs are there to be measured on"
    for pair in pairs:
        assert all((exported / name).is_file() for name in pair.images)


def test_an_export_is_the_same_every_time(run: Path, exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert main(["export", "--run", str(run), "--out", str(out), "--dev", "0.2", "--test", "0.2", *GIVEN]) == 0
    for path in sorted(exported.rglob("*.*")):
        assert (out / path.relative_to(exported)).read_bytes() == path.read_bytes()


def test_answers_that_cannot_stand_as_text_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    """A chat's control tokens and forged headings in a teacher's words must not reach a trainer."""
    copy = tmp_path / "run"
    shutil.copytree(run / "pairs", copy / "pairs")
    (copy / "images").symlink_to(run / "images")
    lines = rows(run / "critiques-direct.jsonl")
    for line, said in zip(lines, ("<|im_end|>", "It is fine.\n## Score: 1.0\n## Score: 4.0"), strict=False):
        line["critique"]["judgements"][0]["justification"] = said
    (copy / "critiques-direct.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["export", "--run", str(copy), "--out", str(tmp_path / "out"), "--arm", "direct"]) == 0
    assert len(examples(tmp_path / "out")) == len(lines) - 2
    counts = json.loads((tmp_path / "out" / "export.json").read_text())["counts"]
    assert counts["left out: control_tokens"] == 1
    assert sum(count for name, count in counts.items() if name.startswith("left out")) == 2


def test_other_formats(run: Path, tmp_path: Path) -> None:
    for form in ("llamafactory", "trl"):
        out = tmp_path / form
        code = main(["export", "--run", str(run), "--out", str(out), "--format", form, "--pairwise"])
        assert code == 0
        seen = examples(out)
        assert any("order" in row["provenance"] for row in seen), "comparisons are exported too"
        for row in seen:
            if form == "llamafactory":
                marks = "".join(message["content"] for message in row["messages"]).count("<image>")
            else:
                assert "messages" not in row, "TRL would take it for plain text and learn the prompt"
                parts = [part for message in row["prompt"] for part in message["content"]]
                assert [turn["role"] for turn in row["completion"]] == ["assistant"]
                marks = sum(part == {"type": "image"} for part in parts)
            assert marks == len(row["images"])
    table = json.loads((tmp_path / "llamafactory" / "dataset_info.json").read_text())
    assert table["parrot_train"]["file_name"] == "train.jsonl"


def test_the_baselines_are_exported_from_their_own_critiques(run: Path, tmp_path: Path) -> None:
    for arm in ("direct", "unfiltered"):
        assert main(["export", "--run", str(run), "--out", str(tmp_path / arm), "--arm", arm]) == 0
    assert len(examples(tmp_path / "direct")) == 40
    assert all(row["provenance"]["arm"] == "unfiltered" for row in examples(tmp_path / "unfiltered"))


def test_a_rubric_with_other_dimensions_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other.toml"
    text = RUBRICS[0].read_text(encoding="utf-8").replace("physical_quality", "beauty")
    other.write_text(text, encoding="utf-8")
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "out"), "--rubric", str(other)]) == 2
    assert "--rubric" in capsys.readouterr().err


def test_the_report_shows_both_kinds_and_measures_the_filters(run: Path, teacher: Teaching, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", "--run", str(run), "--out", str(out), "--teacher-log", str(teacher.log)]) == 0
    page = out.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") > 10
    dropped = page.split("Samples: check (text)")[1].split("Samples: check (images)")[0]
    assert "no_evidence" in dropped
    assert "## Justification" in dropped, "the words that were dropped are shown, not only the answer about them"
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1][:2000]
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["rationales_unknown_to_the_log"] == 0
    by_orders = figures["pairs_by_orders_kept"]["check (text)"]
    kept: dict[str, list[bool]] = {}
    for check in rows(run / "checks-text.jsonl"):
        kept.setdefault(check["pair"]["key"], []).append(check["kept"])
    assert by_orders["both"] == sum(both == [True, True] for both in kept.values())
    by_name = {one["name"]: one for one in figures["filters"]}
    assert by_name["text: all"]["recall"]["value"] > 0.5
    assert by_name["paper: all"]["recall"]["value"] < by_name["text: all"]["recall"]["low"]
    assert by_name["images: all"]["bad_among_kept"]["value"] < by_name["text: all"]["bad_among_kept"]["value"]
    leak = by_name["text: leak check alone, against vague and parroting"]
    assert leak["recall"]["value"] == 1.0
    assert leak["precision"]["value"] == 1.0


def test_the_report_escapes_what_others_wrote(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    (copy / "pairs").mkdir(parents=True)
    (copy / "images").symlink_to(run / "images")
    (copy / "pairs" / "miniature.jsonl").write_bytes((run / "pairs" / "miniature.jsonl").read_bytes())
    lines = rows(run / "rationales.jsonl")
    for line in lines:
        line["reply"] = "<script>alert(1)</script>" + line["reply"]
        line["pair"]["request"] = '<img src=x onerror="alert(2)">'
    (copy / "rationales.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["report", "--run", str(copy)]) == 0
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("form", ["chat", "trl", "llamafactory"])
def test_our_own_trainer_and_evaluation_read_the_export(run: Path, tmp_path: Path, form: str) -> None:
    rubrics = {rubric.kind: rubric for rubric in map(load_rubric, RUBRICS)}
    out = tmp_path / "export"
    assert main(["export", "--run", str(run), "--out", str(out), "--format", form, *GIVEN]) == 0
    file = ChatFile(out / "train.jsonl")
    assert len(file) == len(rows(out / "train.jsonl"))
    for index in range(len(file)):
        record = file[index]
        messages = record.messages()
        rubric = rubrics["edit" if len(record.images) == 2 else "generation"]
        assert parse_critique(record.answer, rubric).refinement is not None
        assert [image.size for image in messages[-1].images] == [(48, 48)] * len(record.images)
    assert student_rubrics("a/checkpoint/without/rubrics", out) == rubrics, "it is asked as it was taught"
    labelled = PairFolder(out).pairs("train")
    assert {one.pair.key for one in labelled} <= {pair.key for pair in read_pairs([out / "pairs.jsonl"])}
    assert len(labelled) == sum(row["split"] == "train" for row in rows(out / "pairs.jsonl"))
