"""Checklists made by rule: the same flaws in the same words as by the fixed rubric, one question each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rationalrewards_core.critique import render_critique
from rationalrewards_core.miniature.checklist import checklist_critique, checklist_rubric
from rationalrewards_core.miniature.flaws import sample_generation
from rationalrewards_core.miniature.truth import faithfulness_flaws, text_judgement, visual_flaws
from rationalrewards_core.miniature.world import parse_request
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rubric_file import parse_rubric, rubric_to_toml


def test_a_checklist_asks_what_the_request_wants() -> None:
    rubric = checklist_rubric(parse_request('a red circle left of a small square with the word "OK"'))
    assert [d.title for d in rubric.dimensions] == [
        *("Circle", "Square", "Placement", "Nothing Else", "Word", "Sharpness", "Cleanness", "Outlines"),
    ]
    assert rubric.dimension("circle").question == "Is there a red circle?"
    assert [d.key for d in rubric.dimensions if d.optional] == ["placement"]
    assert parse_rubric(rubric_to_toml(rubric), "text") == rubric
    assert len(checklist_rubric(parse_request("a circle")).dimensions) == 5


def test_it_finds_the_very_flaws_that_the_truth_has() -> None:
    rng = np.random.default_rng(7)
    flawed = 0
    for _ in range(300):
        example = sample_generation(rng)
        wish = parse_request(example.request)
        critique, rubric = checklist_critique(wish, example.depiction), checklist_rubric(wish)
        assert critique.summary == example.critique.summary
        words = " ".join(j.justification for j in critique.judgements)
        flaws = (
            *faithfulness_flaws(wish, example.depiction.content),
            *visual_flaws(example.depiction),
            *text_judgement(wish.word, example.depiction)[1],
        )
        assert all(flaw.sentence in words for flaw in flaws)
        flawed += bool(flaws)
        clean = [j for j in critique.judgements if j.score == 4.0]
        assert not any(flaw.sentence in j.justification for flaw in flaws for j in clean)
        assert parse_critique(render_critique(critique, rubric), rubric).scores == critique.scores
    assert flawed > 150


def test_the_figures_of_the_oracle() -> None:
    pytest.importorskip("torch")
    from benchmarks.checklist import _figures, _oracle_checklist, _oracle_fixed, true_flaws

    rng = np.random.default_rng(3)
    examples = [sample_generation(rng, reserved=True) for _ in range(40)]
    fixed = _figures(examples, [_oracle_fixed(e) for e in examples])
    listed = _figures(examples, [_oracle_checklist(e) for e in examples])
    assert sum(len(true_flaws(e)) for e in examples) > 20
    assert fixed["flaws_named"] == listed["flaws_named"] > 0.85
    assert fixed["claims_that_are_false"] == listed["claims_that_are_false"] < 0.25


@pytest.mark.model
def test_a_lesson_teaches_the_headings_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from dataclasses import replace

    from training.lab.checklist.student import ChecklistLesson, checklist_text, headings, load_student, teach

    model, tokeniser = load_student("checklist")
    text = checklist_text(sample_generation(np.random.default_rng(1)))
    tokens = tokeniser.tokenize(text)
    assert tokens[0] == headings()[0]
    assert any(token in headings() for token in tokens[2:])
    assert tokeniser.decode(tokeniser(text).input_ids) == text
    assert model.get_input_embeddings().weight.shape[0] >= len(tokeniser)

    lesson = ChecklistLesson(steps=4, batch=4, chunk=2, save_every=2)
    teach(lesson, tmp_path / "run", tmp_path / "judge")
    assert (tmp_path / "judge" / "model.safetensors").is_file()
    first = (tmp_path / "judge" / "model.safetensors").read_bytes()
    teach(lesson, tmp_path / "run", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first
    teach(lesson, tmp_path / "broken", tmp_path / "half", stop=3)
    assert (tmp_path / "half" / "model.safetensors").read_bytes() != first
    teach(lesson, tmp_path / "broken", tmp_path / "whole")
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == first, "a stop inside a chunk changes nothing"
    teach(replace(lesson, lesson="fixed", steps=2), tmp_path / "other", tmp_path / "fixed")

    from benchmarks.checklist import judge

    examples = [sample_generation(np.random.default_rng(2))]
    ((rubric, outcome),) = judge(tmp_path / "judge", examples, lambda e: checklist_rubric(parse_request(e.request)))
    assert rubric.name == "miniature-checklist"
    assert re.fullmatch(r"Critique|Unscored", type(outcome).__name__)
    assert Image.fromarray(examples[0].picture).size == (48, 48)


def test_a_lead_has_an_interval_over_pictures() -> None:
    from benchmarks.checklist import lead

    ours, theirs = [[True, True]] * 30 + [[]] * 10, [[True, False]] * 30 + [[]] * 10
    assert lead(ours, theirs) == {"lead": 0.5, "ci95": [0.5, 0.5]}
    mixed = lead([[True], [False]] * 50, [[False], [True]] * 50)
    assert mixed["lead"] == 0.0
    assert mixed["ci95"][0] < -0.1 < 0.1 < mixed["ci95"][1]
