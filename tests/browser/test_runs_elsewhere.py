"""A run that another page queued, or that goes on behind another workflow tab: a page shows it, whole, and no other run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.test_kept_outputs import SET
from tests.browser.test_page_details import workflow
from workflows.source.frontend import Frontend

FIRST, SECOND = "a small green triangle", "a large red circle left of a small blue square"
NEVER_CONTENT = {"threshold": 1.0, "minimum_score": 100.0, "patience": 9}
WAITS = "() => document.querySelector('.rr-pause')?.hidden === false"
ENDED = "count => document.querySelectorAll('.rr-frame').length === count && document.querySelector('.rr-status').textContent.startsWith('All iterations')"
REWORDED = "() => document.querySelector('.rr-rewording')?.innerText ?? ''"
CARDS = """() => ({ judged: document.querySelector('.rr-deck .rr-request')?.textContent,
  cards: document.querySelector('.rr-deck .rr-pager')?.innerText ?? 'one', frames: document.querySelectorAll('.rr-frame').length })"""


class Page:
    """The first template in a page, as one file that every page of a test opens."""

    def __init__(self, frontend: Frontend, file: dict[str, Any]) -> None:
        self.frontend, self.page, self.file = frontend, frontend.page, file

    def open(self, name: str) -> None:
        self.frontend.load(self.file, name)

    def run(self, prompt: str, iterations: int, *, pause: bool = False) -> None:
        loop = {**NEVER_CONTENT, "max_iterations": iterations, "pause": pause}
        start = {"prompt": prompt, "seed": time.time_ns() % 2**31}
        self.page.evaluate(SET, {"RR_LoopUntilScore": loop, "RR_LoopStart": start})
        self.frontend.queue()

    def wait(self, condition: str, arg: Any = None) -> None:
        self.page.wait_for_function(condition, arg=arg, timeout=60_000)

    def reload(self) -> None:
        self.page.reload()
        self.frontend.wait()

    def answer(self) -> None:
        self.page.evaluate("() => document.querySelector('.rr-take').click()")

    def go(self, way: str) -> None:
        self.page.evaluate("name => app.extensionManager.command.execute(name)", f"Workspace.{way}OpenedWorkflow")
        self.page.wait_for_timeout(1500)

    def shows_only_the_second_run(self) -> None:
        """Of the run that waits behind its first iteration; nothing of the one before it, which judged another prompt."""
        assert self.page.evaluate(CARDS) == {"judged": SECOND, "cards": "one", "frames": 1}
        assert "triangle" not in self.page.evaluate(REWORDED)


@pytest.fixture
def here(frontend: Frontend, request: pytest.FixtureRequest) -> Iterator[Page]:
    """One iteration has run, and its cards are shown."""
    page = Page(frontend, {**workflow("1_miniature_loop"), "id": str(uuid.uuid4())})
    page.open(request.node.name.replace("[", " ").strip("]"))
    page.run(FIRST, 1)
    page.wait(ENDED, 1)
    frontend.idle()
    yield page
    frontend.page.evaluate("() => app.api.interrupt(null)")
    frontend.idle()


@pytest.fixture
def there(here: Page) -> Iterator[Page]:
    """The same file in another page of the same browser."""
    other = Frontend(here.page.context.browser.new_page(), here.frontend.address)
    other.page.goto(other.address)
    other.wait()
    page = Page(other, here.file)
    page.open("there")
    yield page
    other.page.close()


def test_cards_are_of_the_run_that_goes_on_after_a_look_at_another_tab_and_after_a_reload(here: Page) -> None:
    here.run(SECOND, 2, pause=True)
    here.wait(WAITS)
    here.shows_only_the_second_run()
    here.frontend.load(workflow("1_miniature_loop"), "another")
    here.page.wait_for_timeout(1000)
    assert here.page.evaluate(CARDS) == {"judged": None, "cards": "one", "frames": 0}
    here.go("Previous")
    here.wait(WAITS)
    here.shows_only_the_second_run()
    here.reload()
    here.wait(WAITS)
    here.page.wait_for_timeout(1000)  # what the history tells comes after the loop
    here.shows_only_the_second_run()
    here.answer()
    here.wait(ENDED, 2)
    assert here.frontend.errors == []


def test_a_page_follows_what_another_page_queued_to_its_end(here: Page, there: Page) -> None:
    """Events of a run go to the page that queued it, and to no other."""
    there.run(SECOND, 2, pause=True)
    here.wait(WAITS)
    here.shows_only_the_second_run()
    here.reload()
    here.wait(WAITS)
    here.shows_only_the_second_run()
    there.answer()
    there.wait(ENDED, 2)
    here.wait(ENDED, 2)
    assert "/ 2" in here.page.evaluate(CARDS)["cards"]
    assert here.frontend.errors == there.frontend.errors == []
