"""The dialog of one iteration: what can be done with it, and how it stands against another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_film import Film
from workflows.source.frontend import Frontend

START = "app.graph.nodes.find(n => n.type === 'RR_LoopStart')"
PIXEL = {"filename": "example.png", "subfolder": "", "type": "input"}


@pytest.fixture
def film(frontend: Frontend) -> Iterator[Film]:
    film = Film(frontend)
    yield film
    film.page.evaluate("() => document.querySelectorAll('dialog.rr-dialog').forEach(box => box.close())")


def ended(film: Film, **changed: Any) -> dict[str, Any]:
    """A run of three iterations, the second the best; the third has a prompt with braces."""
    state = film.state("mine", 0.5, 0.9, 0.6, **changed)
    for row, time in zip(state["iterations"], (12.0, 8.5, 75.0), strict=True):
        row.update(image=PIXEL, seconds=time)
    state["iterations"][2]["prompt"] = "a {red|blue} circle"
    return state


def widgets(film: Film) -> dict[str, Any]:
    return dict(film.page.evaluate(f"() => Object.fromEntries({START}.widgets.map(w => [w.name, w.value]))"))


def opened(film: Film, place: int) -> Any:
    film.page.evaluate("place => document.querySelectorAll('.rr-frame')[place].click()", place)
    return film.page.locator("dialog.rr-dialog")


def test_prompt_and_seed_of_a_frame_go_back_into_loop_start_and_out_again(film: Film) -> None:
    before = widgets(film)
    film.end(ended(film))
    dialog = opened(film, 1)
    dialog.get_by_role("button", name="Use this prompt and seed").click()
    assert dialog.locator(".rr-told").inner_text() == "Prompt and seed are in Loop Start."
    after = widgets(film)
    assert (after["prompt"], after["seed"], after["control_after_generate"]) == ("mine prompt 1", 8, "fixed")
    film.page.keyboard.press("Escape")
    film.page.wait_for_timeout(300)
    film.page.evaluate("() => app.extensionManager.command.execute('Comfy.Undo')")
    film.page.wait_for_timeout(800)
    undone = widgets(film)
    assert {name: undone[name] for name in ("prompt", "seed")} == {name: before[name] for name in ("prompt", "seed")}


def test_braces_of_a_prompt_are_written_so_that_they_stay(film: Film) -> None:
    film.end(ended(film))
    opened(film, 2).get_by_role("button", name="Use this prompt and seed").click()
    queued = film.page.evaluate("async () => Object.values((await app.graphToPrompt()).output)")
    (start,) = [node for node in queued if node["class_type"] == "RR_LoopStart"]
    assert start["inputs"]["prompt"] == "a {red|blue} circle"


def test_a_prompt_that_comes_by_a_wire_is_written_where_the_wire_begins(film: Film) -> None:
    film.page.evaluate(
        f"""() => {{ const words = LiteGraph.createNode('PrimitiveStringMultiline'); app.graph.add(words);
            words.widgets[0].value = 'typed elsewhere'; const start = {START};
            words.connect(0, start, start.findInputSlot('prompt')); }}"""
    )
    film.end(ended(film))
    opened(film, 1).get_by_role("button", name="Use this prompt and seed").click()
    wired = "() => app.graph.nodes.find(n => n.type === 'PrimitiveStringMultiline').widgets[0].value"
    assert film.page.evaluate(wired) == "mine prompt 1"
    assert widgets(film)["seed"] == 8


def test_a_frame_is_laid_against_first_and_best_and_saved_without_a_story_where_there_is_none(
    film: Film, pictures: Path
) -> None:
    film.end(ended(film))
    dialog = opened(film, 2)
    assert dialog.locator(".rr-rivals button").all_inner_texts() == ["First", "Best"]
    dialog.get_by_role("button", name="Best").click()
    figure = dialog.locator(".rr-comparison")
    assert figure.locator("figcaption span").all_inner_texts() == ["Best", "Iteration 3 · 0.60"]
    line = figure.locator("input")
    line.focus()
    film.page.keyboard.press("ArrowRight")
    assert line.input_value() == "51"
    assert figure.evaluate("figure => figure.style.getPropertyValue('--rr-split')") == "51%"
    assert dialog.locator("h2").inner_text() == "Iteration 3 · 0.60", "the arrow moved the line, not the page"
    film.page.wait_for_timeout(400)
    (pictures / "against_best.png").write_bytes(film.page.screenshot())
    dialog.get_by_role("button", name="Best").focus()
    film.page.keyboard.press("ArrowLeft")
    assert dialog.locator(".rr-comparison").count() == 0, "the best is not laid against itself"
    assert dialog.locator(".rr-rivals button").all_inner_texts() == ["First"]
    with film.page.expect_download() as download:
        dialog.get_by_role("button", name="Save").click()
    assert download.value.suggested_filename == "example.png"
    assert dialog.locator(".rr-told").inner_text().startswith("Saved without the story of its making"), "nobody ran it"


def test_the_time_of_an_iteration_and_of_the_rest_is_said(film: Film) -> None:
    state = ended(film, running=True, stopped=None, max_iterations=6)
    film.live(state, 0)
    assert film.text(".rr-status").endswith("at most 1 min 0 s more")
    film.live(state, 1)
    assert film.text(".rr-detail h3").lower().endswith("8.5 s")
    film.end({**state, "running": False, "stopped": "budget"})
    dialog = opened(film, 2)
    assert "1 min 15 s" in dialog.locator(".rr-text").inner_text()
    assert "Text Faithfulness" in dialog.locator(".rr-dimensions").inner_text()
    assert "more" not in film.text(".rr-status")
