"""Every view of the pack can be read under the dark and the light palette, and nothing of it lies beside its frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_card import card, dimension
from tests.browser.test_film import Film
from tests.browser.test_frame_dialog import PIXEL
from tests.browser.test_page_details import workflow
from workflows.source.frontend import Frontend

PALETTE = "name => app.extensionManager.setting.set('Comfy.ColorPalette', name)"
WIDE, LARGE = 4.5, 3.0
"""Least contrast of text by WCAG 2.2 AA, and of large text."""
READ = """() => {
  const brush = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const paper = element => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(rgba(getComputedStyle(one).backgroundColor));
      if (layers.at(-1)[3] > 0.99) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [0, 0, 0]); };
  const light = colour => colour.map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const texts = [];
  for (const root of document.querySelectorAll('.rr')) {
    const frame = root.getBoundingClientRect(), walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
      if (!walker.currentNode.data.trim() || !element.checkVisibility() || !box.width || element.closest(':disabled, option')) continue;
      const below = paper(element), ink = over(rgba(style.color), below);
      const [dark, bright] = [light(ink), light(below)].sort((a, b) => a - b);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      texts.push({ text: walker.currentNode.data.trim().slice(0, 40), contrast: (bright + 0.05) / (dark + 0.05), large,
        where: `${root.className} > ${element.className || element.tagName}`,
        beside: !element.closest('.rr-strip') && (box.left < frame.left - 1 || box.right > frame.right + 1) });
    }
  }
  return texts; }"""


@pytest.fixture(params=["dark", "light"])
def theme(frontend: Frontend, request: pytest.FixtureRequest) -> Iterator[str]:
    frontend.page.evaluate(PALETTE, request.param)
    frontend.page.wait_for_timeout(600)
    yield request.param
    frontend.page.evaluate("() => document.querySelectorAll('dialog.rr-dialog').forEach(box => box.close())")
    frontend.page.evaluate(PALETTE, "dark")
    frontend.page.wait_for_timeout(400)


@pytest.fixture
def pictures(pictures: Path, theme: str) -> Path:
    folder = pictures.parent / f"{pictures.name.replace(f'-{theme}', '').replace(f'{theme}-', '')}_{theme}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check(frontend: Frontend, picture: Path, *selectors: str) -> None:
    """What the selectors name is on the page, can be read, and lies in its frame."""
    frontend.page.wait_for_timeout(400)
    picture.write_bytes(frontend.page.screenshot())
    for selector in selectors:
        assert frontend.page.locator(selector).first.is_visible(), selector
    texts = frontend.page.evaluate(READ)
    assert texts
    faint = [one for one in texts if one["contrast"] < (LARGE if one["large"] else WIDE)]
    assert not faint, "\n".join(f"{one['contrast']:.2f} {one['where']}: {one['text']}" for one in faint)
    assert not [one for one in texts if one["beside"]]


def run(film: Film, **changed: Any) -> dict[str, Any]:
    """Three iterations with pictures; the second is the best, and the third could not be scored."""
    state = film.state("mine", 0.5, 0.9, 0.6, seed_wired=False, **changed)
    for row in state["iterations"]:
        low = dimension(score=2.2, minimum=3.0)
        row["card"]["dimensions"] = [dimension(score=3.6), low, dimension(score=3.1), dimension(score=None)]
        row.update(image=PIXEL, seconds=12.0)
    why = {"reason": "truncated", "message": "The reply was cut off.", "raw": "The image"}
    state["iterations"][2].update(reward=None, unscored=why)
    return state


@pytest.fixture
def film(frontend: Frontend, theme: str) -> Film:
    return Film(frontend)


def test_film_cards_and_rewording(film: Film, pictures: Path) -> None:
    film.end(run(film))
    film.frontend.show()
    check(
        film.frontend,
        pictures / "film.png",
        ".rr-frame.rr-best",
        ".rr-deck .rr-dimensions",
        ".rr-rewording .rr-diff",
        ".rr-short",
    )


def test_a_critique_with_all_its_parts(film: Film, pictures: Path) -> None:
    why = {"reason": "out_of_scope", "message": "The miniature knows only coloured shapes.", "raw": "?"}
    parts = {
        "analysis": "A boat.",
        "summary": "A fair boat.",
        "refinement": {"comments": "Say dawn.", "request": "a red boat, at dawn"},
    }
    for shown in (card(0, passed=False, reward=0.4, **parts), card(0, reward=None, passed=None, unscored=why)):
        film.frontend.executed("RR_RationalCritique", {"rr_critique": [shown]})
        check(
            film.frontend,
            pictures / f"critique_{'unscored' if shown['unscored'] else 'low'}.png",
            ".rr-deck .rr-badge, .rr-deck .rr-unscored",
        )


def test_a_pause(film: Film, pictures: Path) -> None:
    film.end(run(film, running=True, stopped=None, waiting={"prompt": "a boat, at dawn", "seed": 9}))
    film.frontend.show()
    check(film.frontend, pictures / "pause.png", ".rr-pause-prompt", ".rr-take", ".rr-stop")


def test_the_dialog_and_the_slider(film: Film, pictures: Path) -> None:
    film.end(run(film))
    film.page.evaluate("() => document.querySelectorAll('.rr-frame')[0].click()")
    check(film.frontend, pictures / "dialog.png", "dialog.rr-dialog .rr-dimensions")
    film.page.locator("dialog.rr-dialog").get_by_role("button", name="Best").click()
    check(film.frontend, pictures / "slider.png", ".rr-comparison figcaption")


def test_a_check_up(film: Film, pictures: Path) -> None:
    lines = [
        {"check": name, "state": state, "sentence": f"The judge is {state}."}
        for name, state in (("reached", "good"), ("speed", "poor"), ("sight", "stops"))
    ]
    film.frontend.executed("RR_LoadScorer", {"rr_check": lines})
    film.frontend.show()
    check(film.frontend, pictures / "check_up.png", ".rr-check li")


def test_a_missing_judge_and_a_pick(frontend: Frontend, theme: str, pictures: Path) -> None:
    frontend.load(workflow("5_sdxl_loop"))
    frontend.page.wait_for_selector(".rr-get-ask", timeout=20_000)
    frontend.show(box=[0, 380, 420, 600])
    check(frontend, pictures / "judge.png", ".rr-notice", ".rr-get-ask")
    frontend.load(workflow("9_preference_pick"))
    frontend.show()
    check(frontend, pictures / "pick.png", ".rr-pick")
