"""A loop that waits, and a picture that is handed on, in real runs: what a person answers on the page is what happens."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_loop_page import WIDGETS as ENDLESS
from tests.browser.test_page_details import NODE, workflow
from workflows.source.frontend import Frontend

END = NODE.format("RR_LoopUntilScore")
SET = f"""wishes => {{ for (const [name, value] of Object.entries(wishes)) {{
  const widget = {END}.widgets.find(one => one.name === name); widget.value = value; widget.callback?.(value); }} }}"""
DROP = """async ([encoded, name]) => {
  const bytes = Uint8Array.from(atob(encoded), one => one.charCodeAt(0));
  await app.handleFile(new File([bytes], name, { type: 'image/png' })); }"""
WAITS = "seed => !document.querySelector('.rr-pause').hidden && document.querySelector('.rr-pause h3').textContent.includes(seed)"
ENDED = "count => document.querySelectorAll('.rr-frame').length === count && !document.querySelector('.rr-status').textContent.startsWith('Running')"


def run(frontend: Frontend, **wishes: Any) -> None:
    frontend.page.evaluate(SET, {**ENDLESS, "max_iterations": 2, **wishes})
    frontend.queue()


@pytest.fixture
def page(frontend: Frontend, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A loop with a seed of the test's own: nothing of it is kept yet, and its first picture is always the same one."""
    frontend.load(workflow("1_miniature_loop"))
    frontend.page.evaluate(
        f"""seed => {{ const start = {NODE.format("RR_LoopStart")};
        start.widgets.find(one => one.name === 'seed').value = seed; }}""",
        zlib.crc32(request.node.name.encode()) % 1_000_000 * 100,
    )
    yield frontend.page
    frontend.page.evaluate("() => app.api.interrupt(null)")
    frontend.idle()


def seed_of(page: Any) -> int:
    return int(page.evaluate(f"() => {NODE.format('RR_LoopStart')}.widgets.find(one => one.name === 'seed').value"))


def test_the_next_prompt_is_changed_on_the_node(frontend: Frontend, page: Any, pictures: Path) -> None:
    seed = seed_of(page)
    run(frontend, pause=True)
    page.wait_for_function(WAITS, arg=str(seed + 1), timeout=90_000)
    assert "Running" in page.inner_text(".rr-status")
    frontend.show()
    (pictures / "pause.png").write_bytes(page.screenshot())
    box = page.locator(".rr-pause-prompt")
    assert box.input_value().strip()
    assert box.bounding_box()["height"] > 10, "there is room to type"
    box.fill("a small green triangle")
    page.evaluate("() => document.querySelector('.rr-take').click()")
    page.wait_for_function(ENDED, arg=2, timeout=90_000)
    assert page.locator(".rr-pause").is_hidden()
    page.evaluate("() => document.querySelectorAll('.rr-frame')[1].click()")
    assert page.locator("dialog.rr-dialog .rr-diff ins").all_inner_texts()
    assert "green triangle" in page.locator("dialog.rr-dialog .rr-text").inner_text()
    page.keyboard.press("Escape")


def test_a_loop_that_waits_ends_when_it_is_told_to_stop(frontend: Frontend, page: Any) -> None:
    seed = seed_of(page)
    run(frontend, pause=True)
    page.wait_for_function(WAITS, arg=str(seed + 1), timeout=90_000)
    page.evaluate("() => document.querySelector('.rr-stop').click()")
    page.wait_for_function(ENDED, arg=1, timeout=30_000)
    assert page.locator(".rr-pause").is_hidden()


def test_an_iteration_is_saved_with_the_workflow_that_makes_it(frontend: Frontend, page: Any, tmp_path: Path) -> None:
    seed = seed_of(page)
    run(frontend, pause=False)
    page.wait_for_function(ENDED, arg=2, timeout=90_000)
    frontend.idle()
    page.evaluate("() => document.querySelectorAll('.rr-frame')[1].click()")
    dialog = page.locator("dialog.rr-dialog")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Save").click()
    assert dialog.locator(".rr-told").inner_text() == "Saved."
    page.keyboard.press("Escape")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert re.fullmatch(r"reward_[01]\.\d{3}_iteration_2\.png", file.name)
    page.evaluate("() => app.clean()")
    with file.open("rb") as content:
        encoded = base64.b64encode(content.read()).decode()
    page.evaluate(DROP, [encoded, file.name])
    page.wait_for_function(f"() => {NODE.format('RR_LoopStart')}")
    assert seed_of(page) == seed + 1, "dropped into ComfyUI it makes this picture"


def test_a_person_overrules_the_judge(frontend: Frontend, page: Any, pictures: Path) -> None:
    run(frontend, pause=False)
    page.wait_for_function(ENDED, arg=2, timeout=90_000)
    frontend.idle()
    best = page.evaluate(
        "() => [...document.querySelectorAll('.rr-frame')].findIndex(one => one.classList.contains('rr-best'))"
    )
    other = 1 if best == 0 else 0
    page.evaluate("place => document.querySelectorAll('.rr-frame')[place].click()", other)
    page.locator("dialog.rr-dialog").get_by_role("button", name="Hand on this one").click()
    page.wait_for_function(
        "() => document.querySelector('dialog.rr-dialog .rr-told')?.textContent === 'The next Run hands on this one.'"
    )
    page.keyboard.press("Escape")
    frontend.queue()
    page.wait_for_timeout(500)
    frontend.idle()
    page.wait_for_timeout(500)
    frontend.show()
    (pictures / "overruled.png").write_bytes(page.screenshot())
    button = page.locator(".rr-choice button", has_text="Hand on the best again")
    assert button.count() == 1
    assert not button.evaluate("button => button.hidden"), "the way back is offered"
