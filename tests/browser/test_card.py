"""Cards of every kind on a real node: what a judge wrote is shown as text, and a missing score never as a number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend

ATTACK = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script><b>bold</b> {{7*7}} ${'a'}"


def dimension(**values: Any) -> dict[str, Any]:
    return {
        "key": "k",
        "title": "Text Faithfulness",
        "score": 3.2,
        "expected": 3.1,
        "spread": 0.4,
        "justification": "The boat is there.",
        "weight": 1.0,
        "minimum": None,
        **values,
    }


def card(index: int, **values: Any) -> dict[str, Any]:
    return {
        "index": index,
        "reward": 0.7,
        "passed": True,
        "threshold": 0.8,
        "unscored": None,
        "rubric": "generation",
        "scale": {"minimum": 1.0, "maximum": 4.0},
        "dimensions": [dimension()],
        "analysis": "",
        "summary": "",
        "refinement": {"comments": "", "request": "a red boat, at dawn"},
        "request": "a boat, at dawn",
        "image": None,
        **values,
    }


@pytest.fixture
def deck(frontend: Frontend) -> Any:
    """Gives cards to the critique node as ComfyUI does, and returns what is then on the page."""
    workflow = json.loads((PACK / "workflows" / "1_miniature_loop.json").read_text(encoding="utf-8"))
    frontend.load({**workflow, "id": "00000000-0000-4000-8000-000000000001"})

    def show(*cards: dict[str, Any]) -> Any:
        frontend.executed("RR_RationalCritique", {"rr_critique": list(cards)})
        return frontend.page.locator(".rr-deck")

    return show


def test_a_judges_words_are_text_and_nothing_else(frontend: Frontend, deck: Any) -> None:
    hostile = card(
        0,
        analysis=ATTACK,
        summary=ATTACK,
        request=ATTACK,
        dimensions=[dimension(title=ATTACK, justification=ATTACK)],
        refinement={"comments": ATTACK, "request": ATTACK + " more"},
        image={"filename": '../../x.png" onerror="window.hacked=1', "subfolder": "../..", "type": "javascript"},
    )
    shown = deck(hostile)
    frontend.page.wait_for_timeout(300)
    assert frontend.page.evaluate("() => window.hacked") is None
    assert shown.locator("img[src=x], script, b").count() == 0
    assert shown.locator("dd p").inner_text() == ATTACK
    unscored = deck(card(0, reward=None, unscored={"reason": ATTACK, "message": ATTACK}))
    assert ATTACK in unscored.locator(".rr-unscored").inner_text()
    assert frontend.page.evaluate("() => window.hacked") is None


def test_scores_spreads_minimums_and_weights_are_seen(deck: Any) -> None:
    shown = deck(card(0, dimensions=[dimension(minimum=3.5), dimension(weight=2.0, spread=None)]))
    assert shown.locator("output").all_inner_texts() == ["3.2 ± 0.4", "3.2"]
    assert shown.locator(".rr-whisker").count() == 1
    assert shown.locator(".rr-notch").count() == 1
    assert shown.locator("dt small").all_inner_texts() == ["× 1.0", "× 2.0"]
    assert shown.locator(".rr-badge").inner_text() == "passed"


def test_what_does_not_apply_and_what_was_not_scored_is_no_number(deck: Any) -> None:
    shown = deck(card(0, dimensions=[dimension(score=None, expected=None, spread=None)]))
    assert shown.locator("output").inner_text() == "N/A"
    assert shown.locator(".rr-fill").count() == 0
    unscored = {"reason": "truncated", "message": "The reply ends early."}
    shown = deck(card(0, reward=None, passed=False, unscored=unscored, dimensions=[]))
    assert shown.locator(".rr-reward strong").inner_text() == "–"
    assert shown.locator(".rr-badge").inner_text() == "unscored"
    assert "truncated" in shown.locator(".rr-unscored").inner_text()
    assert "The reply ends early." in shown.locator(".rr-unscored").inner_text()


def test_how_the_images_were_judged_is_said_also_on_an_unscored_one(deck: Any) -> None:
    note = "Out of memory: 1 of 2 images were judged at 25% of their pixels."
    assert deck(card(0, notes=[note, ATTACK])).locator(".rr-notes").inner_text() == f"{note}\n{ATTACK}"
    unscored = card(0, reward=None, unscored={"reason": "truncated", "message": "It ends early."}, notes=[note])
    assert deck(unscored).locator(".rr-notes").inner_text() == note
    assert deck(card(0, notes=[])).locator(".rr-notes").count() == 0


def test_the_new_words_of_a_refinement_are_marked(deck: Any) -> None:
    shown = deck(card(0))
    assert shown.locator("ins").all_inner_texts() == ["red "]
    assert shown.locator("del").count() == 0


def test_a_batch_begins_with_its_best_and_turns_with_the_keyboard(frontend: Frontend, deck: Any) -> None:
    shown = deck(card(0, reward=0.2), card(1, reward=0.9), card(2, reward=None))
    assert shown.locator(".rr-pager").inner_text().split() == ["‹", "2", "/", "3", "›"]
    shown.locator(".rr-next").focus()
    frontend.page.keyboard.press("Enter")
    assert "3 / 3" in shown.locator(".rr-pager").inner_text()
    assert frontend.page.evaluate("() => document.activeElement.closest('.rr-pager') !== null")
