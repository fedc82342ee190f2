"""The miniature loop in the page: watched while it runs, stopped with the keyboard, found again after a reload."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend

WIDGETS = {"threshold": 1.0, "max_iterations": 30, "patience": 30, "minimum_score": 100.0}
"""A loop that is never content, so that it runs until it is told to stop."""


def endless_loop() -> dict[str, Any]:
    workflow = json.loads((PACK / "workflows" / "1_miniature_loop.json").read_text(encoding="utf-8"))
    (end,) = (node for node in workflow["nodes"] if node["type"] == "RR_LoopUntilScore")
    names = [entry["name"] for entry in end["inputs"] if "widget" in entry]
    for name, value in WIDGETS.items():
        end["widgets_values"][names.index(name)] = value
    return dict(workflow)


@pytest.fixture(scope="session")
def stopped(frontend: Frontend) -> dict[str, Any]:
    """What the page showed: while the loop ran, after the wish to stop, and at the end."""
    page, seen = frontend.page, {}
    frontend.load(endless_loop(), "endless loop")
    frontend.show()
    frontend.queue()
    # The page may still show the run of the other renderer, found again on the server.
    page.wait_for_function(
        "() => document.querySelector('.rr-status').textContent.startsWith('Running')"
        " && document.querySelectorAll('.rr-frame').length >= 3",
        timeout=90_000,
    )
    seen["running"] = page.locator(".rr-status").inner_text()
    seen["can stop"] = page.locator(".rr-stop").is_enabled()
    seen["mid-run"] = page.screenshot()
    page.locator(".rr-stop").focus()
    page.keyboard.press("Enter")
    seen["asked"] = page.locator(".rr-stop").inner_text()
    frontend.idle()
    page.wait_for_function(
        "() => !document.querySelector('.rr-status').textContent.startsWith('Running')", timeout=60_000
    )
    page.wait_for_timeout(800)
    seen["ended"] = page.locator(".rr-status").inner_text()
    seen["frames"] = page.locator(".rr-frame").count()
    seen["rewording"] = page.locator(".rr-rewording article").inner_text()
    seen["at the end"] = page.screenshot()
    return seen


def test_every_iteration_appears_as_it_ends(frontend: Frontend, stopped: dict[str, Any], pictures: Path) -> None:
    assert "Running: " in stopped["running"]
    assert " of 30" in stopped["running"]
    assert stopped["can stop"]
    assert frontend.page.locator(".rr-frame.rr-best").count() == 1
    assert frontend.page.locator(".rr-spark .rr-dot").count() == stopped["frames"]
    for moment in ("mid-run", "at the end"):
        (pictures / f"{moment}.png").write_bytes(stopped[moment])


def test_the_button_stops_the_loop_after_its_iteration(stopped: dict[str, Any]) -> None:
    assert stopped["asked"] == "Stopping after this iteration…"
    assert stopped["ended"].startswith("Stopped by you.")
    assert 3 <= stopped["frames"] < 30


def test_the_critique_card_shows_the_best_iteration_as_the_film_does(
    frontend: Frontend, stopped: dict[str, Any]
) -> None:
    deck = frontend.page.locator(".rr-deck")
    assert deck.locator(".rr-reward strong").inner_text() == frontend.page.locator(".rr-frame.rr-best b").inner_text()
    assert f"/ {stopped['frames']}" in deck.locator(".rr-pager").inner_text()
    assert deck.locator("dt").count() == 3
    assert deck.locator(".rr-request").inner_text() == "a large red circle left of a small blue square"


def test_prompt_refine_shows_what_became_of_the_best_prompt(stopped: dict[str, Any]) -> None:
    heading, verdict = [line for line in stopped["rewording"].splitlines() if line][:2]
    assert heading.lower().startswith("iteration ")
    assert heading.lower().endswith(" best")
    assert verdict in ("Prompt reworded", "Prompt kept")


def test_a_picture_is_enlarged_and_put_away_with_the_keyboard(
    frontend: Frontend, stopped: dict[str, Any], pictures: Path
) -> None:
    page = frontend.page
    page.locator(".rr-frame").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.rr-dialog")
    assert dialog.locator("h2").inner_text().startswith("Iteration 2 ")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h2").inner_text().startswith("Iteration 3 ")
    page.wait_for_timeout(300)
    (pictures / "enlarged.png").write_bytes(page.screenshot())
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert dialog.count() == 0
    assert stopped["frames"]


def test_a_reloaded_page_shows_the_run_again(frontend: Frontend, stopped: dict[str, Any], pictures: Path) -> None:
    frontend.page.reload()
    frontend.wait()
    frontend.page.wait_for_function("() => document.querySelectorAll('.rr-frame').length > 0", timeout=20_000)
    assert frontend.page.locator(".rr-frame").count() == stopped["frames"]
    assert frontend.page.locator(".rr-status").inner_text() == stopped["ended"]
    frontend.page.wait_for_function("() => document.querySelector('.rr-deck dt')", timeout=20_000)
    assert frontend.page.locator(".rr-rewording article").inner_text() == stopped["rewording"]
    (pictures / "reloaded.png").write_bytes(frontend.page.screenshot())
    assert frontend.errors == []


def test_a_new_run_shows_itself_before_its_first_image_and_can_be_stopped_there(frontend: Frontend) -> None:
    page = frontend.page
    frontend.load(endless_loop(), "first iteration")
    seed = "() => app.graph.nodes.find(n => n.type === 'RR_LoopStart').widgets.find(w => w.name === 'seed')"
    page.evaluate(f"seed => {{ ({seed})().value = seed; }}", int(time.time()))
    check = "app.graph.nodes.find(n => n.type === 'RR_LoadScorer').widgets.find(w => w.name === 'check')"
    page.evaluate(f"() => {{ {check}.value = true; }}")  # before the first image is judged: that takes seconds
    frontend.queue()
    stopped_in_the_first = """() => {
      const begun = document.querySelector('.rr-status').textContent.startsWith('Running: iteration 1 of 30');
      if (begun) document.querySelector('.rr-stop').click();
      return begun; }"""
    page.wait_for_function(stopped_in_the_first, timeout=60_000, polling=20)
    frontend.idle()
    page.wait_for_function("() => document.querySelector('.rr-status').textContent.startsWith('Stopped by you.')")
    assert page.locator(".rr-frame").count() == 1
