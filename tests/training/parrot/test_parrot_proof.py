"""The proof: what its base learns, how its data is cut, and that its steps run once each."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.world import is_reserved, parse_request
from rationalrewards_core.replies.parsing import parse_critique
from tests.training.parrot.teaching import import_miniature, rows
from tests.training.sft.exports import labelled_pairs, write_export
from training.data.labelled_pairs import PairFolder, write_pairs
from training.data.store import ImageStore
from training.lab.miniature.student import rubrics
from training.lab.parrot_proof.__main__ import build_parser, main, named_step, options_of
from training.lab.parrot_proof.base import BaseConfig, new_base, sample_lesson, train_base
from training.lab.parrot_proof.data import make_test, subset
from training.lab.parrot_proof.efficiency import crossing, efficiency, pairs_needed
from training.lab.parrot_proof.measure import READINGS
from training.lab.parrot_proof.options import ParrotProofOptions, smoke
from training.lab.parrot_proof.plan import plan
from training.lab.parrot_proof.report import draw, page
from training.lab.parrot_proof.steps import Step, StepFailed, finish, is_done, run_steps
from training.lab.parrot_proof.students import head_run, student_run, train_head, train_student
from training.rewards.judges import AskedPair, PointwiseJudge
from training.rewards.opinions import Opinion
from training.rewards.ties import PROTOCOLS


def test_captions_say_nothing_of_the_request_and_critiques_nothing_of_the_picture() -> None:
    rng = np.random.default_rng(5)
    lessons = [sample_lesson(rng, 0.5) for _ in range(200)]
    captions = [one for one in lessons if one.asks_caption]
    critiques = [parse_critique(one.answer, rubrics()["generation"]) for one in lessons if not one.asks_caption]
    truths = [one.critique for one in lessons if not one.asks_caption]
    assert 60 < len(captions) < 140
    assert not any("should" in one.answer or "asked" in one.answer for one in captions)
    same = [told.scores == true.scores for told, true in zip(critiques, truths, strict=True)]
    assert np.mean(same) < 0.05
    pairs = [
        (c.scores["text_faithfulness"], t.scores["text_faithfulness"]) for c, t in zip(critiques, truths, strict=True)
    ]
    told, true = np.array(pairs, float).T
    assert abs(np.corrcoef(told, true)[0, 1]) < 0.3


def test_the_base_keeps_the_tower_and_forgets_the_language_model() -> None:
    shipped = new_base(0)[0].model.visual.state_dict()
    model, _ = new_base(1)
    other, _ = new_base(2)
    assert all(torch.equal(value, shipped[name]) for name, value in model.model.visual.state_dict().items())
    assert not torch.equal(model.lm_head.weight, other.lm_head.weight)
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def test_a_stopped_base_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BaseConfig(steps=3, horizon=3, cooldown=0, batch=2, chunk=2, warmup=1, save_every=1)
    whole = train_base(config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("training.lab.parrot_proof.base.save_student", killed)
        with pytest.raises(Killed):
            train_base(config, tmp_path / "stopped")
    assert (train_base(config, tmp_path / "stopped") / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()


def test_held_out_pairs_are_reserved_decided_and_of_two_things(tmp_path: Path) -> None:
    folder = PairFolder(make_test(6, 3, tmp_path / "test"))
    pairs = folder.pairs("test")
    assert len(pairs) == 6
    assert all(is_reserved(parse_request(one.pair.request)) for one in pairs)
    assert all(one.pair.preference is not Verdict.TIE for one in pairs)
    assert folder.candidates(pairs[0].pair)[0].size == (48, 48)


def test_smaller_subsets_are_inside_larger_ones_and_keep_development(tmp_path: Path) -> None:
    export = _export(tmp_path)
    small, large = (subset(export, size, tmp_path / f"cut-{size}") for size in (4, 8))
    keys = [
        {row["key"] for row in rows(folder / "pairs.jsonl") if row["split"] == "train"} for folder in (small, large)
    ]
    assert len(keys[0]) == 4
    assert keys[0] < keys[1]
    assert len(PairFolder(small).pairs("dev")) == len(PairFolder(export).pairs("dev"))
    examples = rows(small / "train.jsonl")
    assert {row["provenance"]["pair"] for row in examples} == keys[0]
    first = PairFolder(small).pairs("train")[0]
    assert PairFolder(small).candidates(first.pair)[0].size == (48, 48)
    assert subset(export, 4, small) == small
    with pytest.raises(ConfigError, match="not 999"):
        subset(export, 999, tmp_path / "too-many")


def _export(folder: Path) -> Path:
    """A run's pairs as an export holds them: keys are those of the pairs as collected, not of the export's pictures."""
    run = folder / "run"
    import_miniature(run, 20)
    with (run / "pairs.jsonl").open("w") as pairs, (run / "train.jsonl").open("w") as train:
        for number, line in enumerate(rows(run / "pairs" / "miniature.jsonl")):
            split = "dev" if number % 5 == 0 else "train"
            pairs.write(json.dumps(line | {"key": f"collected-{number}", "split": split}) + "\n")
            train.write(json.dumps({"provenance": {"pair": f"collected-{number}"}}) + "\n")
    return run


def test_steps_wait_for_each_other_and_a_finished_one_is_not_run_again(tmp_path: Path) -> None:
    order: list[str] = []
    steps = [
        Step(name="second", run=partial(order.append, "second"), after=("first",)),
        Step(name="first", run=partial(order.append, "first")),
    ]
    finish(steps[1], tmp_path)
    assert is_done("first", tmp_path)
    assert not is_done("second", tmp_path)
    finish(steps[0], tmp_path)
    run_steps(steps, tmp_path, ["--out", "nowhere-that-works", "--bad-word"], 2)  # would fail if it started anything
    assert order == ["first", "second"]


def test_a_failed_step_is_named_and_nothing_is_begun_after_it(tmp_path: Path) -> None:
    steps = [Step(name="first", run=print), Step(name="second", run=print, after=("first",))]
    with pytest.raises(StepFailed, match="first did not finish"):
        run_steps(steps, tmp_path, ["--no-such-word"], 1)
    assert "unrecognized arguments" in (tmp_path / "logs" / "first.log").read_text()
    assert not (tmp_path / "logs" / "second.log").exists()


def test_every_step_waits_for_steps_that_exist_and_rates_are_tried_first(tmp_path: Path) -> None:
    steps = plan(ParrotProofOptions(), tmp_path)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for step in steps:
        assert set(step.after) < set(names)
    assert {"filtered-300", "filtered-3000", "unfiltered-3000", "direct-3000", "scalar-300", "scalar-3000"} < set(names)
    assert named_step(steps, "filtered-3000").after == ("try-student-0.003", "try-student-0.006")
    with pytest.raises(ConfigError, match="no step 'filtered-900'"):
        named_step(steps, "filtered-900")


def test_data_efficiency_by_hand() -> None:
    """A head of 900 pairs is as good as a student of 300; one of 300 as good as no student, and none as one of 3,000."""
    sizes = (300, 900, 2700)
    assert pairs_needed(0.7, sizes, (0.6, 0.7, 0.8)) == pytest.approx(900)
    assert pairs_needed(0.65, sizes, (0.6, 0.7, 0.8)) == pytest.approx(300 * 3**0.5)
    assert pairs_needed(0.5, sizes, (0.6, 0.7, 0.8)) == 300
    assert pairs_needed(0.9, sizes, (0.6, 0.7, 0.8)) == math.inf
    assert crossing(sizes, (-0.1, 0.1, 0.2)) == pytest.approx(300 * 3**0.5)
    assert math.isnan(crossing(sizes, (0.1, 0.1, 0.2)))

    def judge(right: float) -> list[Opinion]:
        """Right in this share of the pairs of every request, so that no draw of requests changes it."""
        verdicts = [Verdict.A if i < 10 * right else Verdict.B for i in range(10)]
        return [
            Opinion(key=f"{r}-{i}", request_id=str(r), label=Verdict.A, verdict=verdict)
            for r in range(4)
            for i, verdict in enumerate(verdicts)
        ]

    found = efficiency(
        [judge(s) for s in (0.7, 0.8, 0.9)], [judge(s) for s in (0.6, 0.7, 0.8)], sizes, PROTOCOLS["half"]
    )
    assert found["300"] == {"value": 3.0, "low": 3.0, "high": 3.0, "beyond": 0.0}
    assert found["900"] == {"value": 3.0, "low": 3.0, "high": 3.0, "beyond": 0.0}
    assert found["2700"] == {"value": 1.0, "low": 1.0, "high": 1.0, "beyond": 1.0}
    assert found["crossing"] == {"value": None, "low": None, "high": None, "draws_that_cross": 0.0}
    one = efficiency([judge(0.7)], [judge(0.6)], (300,), PROTOCOLS["half"])
    assert one["300"]["beyond"] == 1.0


def test_students_and_heads_may_train_until_development_does_not_rise(tmp_path: Path) -> None:
    """With a rate at which nothing moves, the second measurement is no better than the first, and the run is over."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "checkpoint").symlink_to(scorer_folder())
    export = write_export(tmp_path / "subsets" / "filtered-8", train=8, dev_pairs=2)
    store = ImageStore(export)
    write_pairs([*labelled_pairs(store, 4, "train"), *labelled_pairs(store, 2, "dev")], export)
    flags = ["--smoke", "--steps", "12", "--head-steps", "12", "--measurements", "6", "--patience", "1", "--sizes", "8"]
    options = options_of(build_parser().parse_args(flags))
    train_student(options, tmp_path, "filtered", 8, 1e-30)
    train_head(options, tmp_path, 8, 1e-30)
    for run in (student_run(tmp_path, "filtered", 8, 1e-30), head_run(tmp_path, 8, 1e-30)):
        progress = torch.load(run / "state.pt", weights_only=True)["progress"]
        assert (progress["step"], progress["stale"]) == (4, 1)


def test_the_figure_and_the_page_show_what_there_is(tmp_path: Path) -> None:
    row = {"value": 0.7, "low": 0.65, "high": 0.75, "counted": 480, "failures": 2, "decided": 0.99}
    names = ("filtered-300", "filtered-3000", "scalar-300", "direct-3000", "base")
    found = {
        "told": "a tie is wrong",
        "judges": dict.fromkeys(names, row),
        "differences": {"a <minus> b": row},
        "efficiency": {},
    }
    summary = {"readings": dict.fromkeys(READINGS, found)}
    draw(ParrotProofOptions(), summary, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 300
    text = page(summary, tmp_path / "figure.png")
    assert "a &lt;minus&gt; b" in text
    assert "data:image/png" in text


class _Written:
    """A scorer whose critiques have equal scores, and unequal probabilities behind them."""

    def __init__(self, expected: tuple[float, float]) -> None:
        self._critiques = [
            Critique(
                rubric="generation",
                analysis="",
                judgements=(
                    Judgement(key="text_faithfulness", justification="It shows it.", score=3.0, expected=value),
                    Judgement(key="visual_quality", justification="It is sharp.", score=3.0),
                    Judgement(key="text_rendering", justification="No text.", score=None),
                ),
                summary="",
            )
            for value in expected
        ]

    async def score(self, request: UserRequest, candidate: Image.Image) -> Critique:
        return self._critiques.pop(0)

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float:
        return sum((j.expected if expected and j.expected else j.score) or 0.0 for j in critique.judgements)


@pytest.mark.parametrize(("expected", "verdict"), [(False, Verdict.TIE), (True, Verdict.B)])
def test_expected_scores_decide_where_written_ones_tie(expected: bool, verdict: Verdict) -> None:
    judge = PointwiseJudge(_Written((2.8, 3.1)), "student", expected=expected)  # type: ignore[arg-type]
    picture = Image.new("RGB", (48, 48))
    found = asyncio.run(judge.judge(AskedPair(UserRequest("a red circle"), picture, picture)))
    assert found["verdict"] is verdict
    assert judge.name == ("student expected" if expected else "student pointwise")


@pytest.mark.slow
@pytest.mark.model
def test_the_whole_proof_runs_small_and_a_second_time_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def here(name: str, out: Path, words: Sequence[str]) -> SimpleNamespace:
        """A step in this process: starting Python for each of two dozen steps would take minutes."""
        started.append(name)
        # What another test of this process asked for does not bind the proof, nor the other way round.
        AcceleratorState._reset_state(reset_partial_state=True)
        code = main([*words, "--only", name])
        AcceleratorState._reset_state(reset_partial_state=True)
        return SimpleNamespace(poll=lambda: code, returncode=code, terminate=lambda: None)

    monkeypatch.setattr("training.lab.parrot_proof.steps._start", here)
    out = tmp_path / "proof"
    assert main(["--smoke", "--out", str(out), "--jobs", "1"]) == 0
    assert len(started) == len(set(started)) == len(plan(smoke(), out))
    summary = json.loads((out / "summary.json").read_text())
    largest = max(smoke().sizes)
    found = summary["readings"]["expected"]
    assert {f"filtered-{largest}", f"direct-{largest}", f"scalar-{largest}", "base", "scorer"} <= set(found["judges"])
    assert found["judges"]["scorer"]["counted"] == smoke().test_pairs
    assert f"filtered-{largest} minus unfiltered-{largest}" in found["differences"]
    assert (out / "base" / "checkpoint" / "rubric_generation.toml").read_text() == (
        scorer_folder() / "rubric_generation.toml"
    ).read_text()
    assert main(["--smoke", "--out", str(out), "--jobs", "1"]) == 0
    assert len(started) == len(plan(smoke(), out))
