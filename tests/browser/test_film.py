"""A film shows one run and nothing else, whatever the events are and in whichever order they come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.test_card import card, dimension
from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend


class Film:
    """The first template, as it is opened anew, and the loop in it."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend, self.page = frontend, frontend.page
        frontend.load(json.loads((PACK / "workflows" / "1_miniature_loop.json").read_text(encoding="utf-8")))
        self.workflow = self.page.evaluate("() => app.graph.id")
        types = {"end": "RR_LoopUntilScore", "critique": "RR_RationalCritique", "refine": "RR_PromptRefine"}
        script = "type => String(app.graph.nodes.find(n => n.type === type).id)"
        self.ids = {name: self.page.evaluate(script, kind) for name, kind in types.items()}

    def state(self, prompt_id: str, *rewards: float, **changed: Any) -> dict[str, Any]:
        best = rewards.index(max(rewards)) if rewards else None
        return {
            "prompt_id": prompt_id,
            "node": self.ids["end"],
            "workflow": self.workflow,
            "critique": self.ids["critique"],
            "refine": self.ids["refine"],
            "running": False,
            "threshold": 0.8,
            "max_iterations": 4,
            "seed_wired": True,
            "reached": False,
            "stopped": "budget",
            "ending": "",
            "best": best,
            "iterations": [self.row(prompt_id, index, reward) for index, reward in enumerate(rewards)],
            **changed,
        }

    def row(self, prompt_id: str, index: int, reward: float) -> dict[str, Any]:
        text = f"{prompt_id} prompt {index}"
        judged = card(0, reward=reward, threshold=0.8, passed=reward >= 0.8, dimensions=[dimension(minimum=3.0)])
        shown = {"index": index, "prompt": text, "seed": 7 + index, "reward": reward, "unscored": None}
        return {**shown, "proposal": f"{text} again", "image": None, "card": {**judged, "request": prompt_id}}

    def tell(self, event: str, content: dict[str, Any]) -> None:
        self.page.evaluate("([type, detail]) => app.api.dispatchCustomEvent(type, detail)", [event, content])
        self.page.wait_for_timeout(250)

    def live(self, state: dict[str, Any], index: int) -> None:
        """One iteration of a run, as it is sent while the loop runs."""
        head = {name: value for name, value in state.items() if name != "iterations"}
        self.tell("rationalrewards.loop", {**head, "row": state["iterations"][index]})

    def end(self, state: dict[str, Any]) -> None:
        self.frontend.executed("RR_LoopUntilScore", {"rr_loop": [state]})

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.inner_text())


@pytest.fixture
def film(frontend: Frontend) -> Film:
    return Film(frontend)


def test_a_second_run_of_the_same_length_replaces_the_first(film: Film) -> None:
    film.end(film.state("first", 0.5))
    assert "first prompt 0" in film.text(".rr-detail")
    film.end(film.state("second", 0.9))
    assert "second prompt 0" in film.text(".rr-detail")
    assert "0.90" in film.text(".rr-detail h3")
    assert film.page.locator(".rr-frame").count() == 1


def test_another_workflows_loop_of_the_same_id_is_not_shown(film: Film) -> None:
    film.end(film.state("mine", 0.5, 0.6))
    strange = film.state("strange", 0.1, running=True, workflow="00000000-0000-4000-8000-00000000abcd")
    film.live(strange, 0)
    film.end(strange)
    assert film.page.locator(".rr-frame").count() == 2
    assert "strange" not in film.text(".rr-film")


def test_a_live_run_grows_row_by_row_and_a_new_one_begins_anew(film: Film) -> None:
    old, run = film.state("old", 0.5, 0.6, 0.7), film.state("new", 0.3, 0.4, running=True, stopped=None)
    film.end(old)
    film.live({**run, "best": 0}, 0)
    assert film.page.locator(".rr-frame").count() == 1
    assert film.text(".rr-status").startswith("Running: iteration 2 of 4")
    assert film.page.locator(".rr-stop").is_enabled()
    film.live(run, 1)
    assert film.page.locator(".rr-frame").count() == 2
    assert film.text(".rr-detail h3").upper().startswith("ITERATION 2 ")
    assert "old prompt" not in film.text(".rr-film")


def test_events_that_come_after_the_servers_answer_take_nothing_back(film: Film) -> None:
    """A page that lags asks for the whole run, which may have ended by then, and gets its iterations one by one afterwards."""
    rewards = (0.4, 0.5, 0.6)
    ended = film.state("late", *rewards)
    film.end(ended)
    status = film.text(".rr-status")
    for index in range(3):
        film.live(film.state("late", *rewards[: index + 1], running=True, stopped=None), index)
        assert (film.page.locator(".rr-frame").count(), film.text(".rr-status")) == (3, status)
    film.live(film.state("late", 0.9, running=True, stopped=None), 0)
    assert film.page.locator(".rr-frame").count() == 1, "an inner loop, which runs again in the same prompt"
    assert film.text(".rr-status").startswith("Running")


def test_prompt_refine_shows_nothing_of_the_run_before(film: Film) -> None:
    """Of a kept iteration the node does not run, so the loop tells what became of its prompt."""
    film.end(film.state("old", 0.5))
    assert "old prompt 0" in film.text(".rr-rewording")
    film.end(film.state("new", running=True, stopped=None))
    assert film.page.locator(".rr-rewording .rr-empty").count() == 1
    run = film.state("new", 0.3, running=True, stopped=None)
    run["iterations"][0]["replayed"] = True
    film.live(run, 0)
    assert "new prompt 0" in film.text(".rr-rewording")


def test_cards_of_the_body_show_the_best_iteration_also_after_a_cached_run(film: Film) -> None:
    """The core sends the first iteration's outputs once more when a cache answers for all of them."""
    film.end(film.state("mine", 0.5, 0.9, 0.6))
    assert film.text(".rr-deck .rr-reward strong") == "0.90"
    film.frontend.executed("RR_RationalCritique", {"rr_critique": [card(0, reward=0.5)]})
    first = {"before": "first", "after": "first", "changed": False, "comments": ""}
    film.frontend.executed("RR_PromptRefine", {"rr_refine": [first]})
    assert film.text(".rr-deck .rr-reward strong") == "0.90"
    assert "mine prompt 1" in film.text(".rr-rewording")
    assert "ITERATION 2" in film.text(".rr-rewording h3").upper()


def test_what_keeps_an_image_from_passing_is_said_as_it_is(film: Film) -> None:
    """A reward above the threshold with a dimension below its minimum is not "below threshold"."""
    state = film.state("mine", 0.86)
    state["iterations"][0]["card"].update(passed=False, dimensions=[dimension(score=2.7, minimum=3.0)])
    film.end(state)
    for place in (".rr-status", ".rr-detail", ".rr-deck .rr-short"):
        assert "Text Faithfulness 2.7 is below 3.0" in film.text(place), place
        assert "threshold" not in film.text(place), place


def test_an_unwired_seed_is_said_and_no_seed_invented(film: Film) -> None:
    film.end(film.state("mine", 0.5, seed_wired=False))
    assert "seed of Loop Start is not wired" in film.text(".rr-film .rr-notes")


def test_nothing_has_no_height_at_the_nodes_own_size_and_pictures_grow_with_it(film: Film) -> None:
    film.end(film.state("mine", 0.5, 0.6))
    resize = """size => { const n = app.graph.nodes.find(n => n.type === 'RR_LoopUntilScore');
      n.setSize(size ?? n.computeSize()); app.canvas.ds.scale = 1; app.canvas.setDirty(true, true); }"""
    height = "selector => document.querySelector(selector).offsetHeight"

    def heights(size: list[int] | None) -> list[int]:
        film.page.evaluate(resize, size)
        film.frontend.show()
        return [film.page.evaluate(height, selector) for selector in (".rr-detail", ".rr-strip", ".rr-frame")]

    own, large = heights(None), heights([900, 1100])
    assert min(own) >= 60
    assert large[2] > 1.5 * own[2]


def test_pointing_at_a_picture_selects_nothing(film: Film) -> None:
    film.end(film.state("mine", 0.5, 0.6))
    film.frontend.show()
    assert "0.60" in film.text(".rr-detail h3")
    film.page.locator(".rr-frame").first.hover()
    assert "0.50" in film.text(".rr-detail h3")
    film.page.locator(".rr-film .rr-head").hover()
    assert "0.60" in film.text(".rr-detail h3")
    assert "rr-selected" in str(film.page.locator(".rr-frame").nth(1).get_attribute("class"))


def test_the_large_view_has_one_size_on_every_page(film: Film) -> None:
    state = film.state("mine", 0.5, 0.6)
    state["iterations"][1]["card"]["summary"] = "Many words. " * 400
    film.end(state)
    film.page.locator(".rr-frame").first.click()
    boxes = []
    for _ in range(2):
        boxes.append(film.page.locator(".rr-dialog").bounding_box())
        film.page.keyboard.press("ArrowRight")
        film.page.wait_for_timeout(150)
    film.page.keyboard.press("Escape")
    assert boxes[0] == boxes[1]


@pytest.mark.parametrize("part", [".rr-film .rr-head", ".rr-deck"])
def test_the_wheel_zooms_and_the_middle_button_pans_over_a_card(film: Film, part: str) -> None:
    film.frontend.show()
    page, box = film.page, film.page.locator(part).first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"] / 2, 12)
    before = page.evaluate("() => app.canvas.ds.scale")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(250)
    assert page.evaluate("() => app.canvas.ds.scale") != before
    film.frontend.show()
    place = page.evaluate("() => [...app.canvas.ds.offset]")
    page.mouse.move(x, y)
    page.mouse.down(button="middle")
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up(button="middle")
    page.wait_for_timeout(250)
    assert page.evaluate("() => [...app.canvas.ds.offset]") != place
