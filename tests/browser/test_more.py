"""`3 more` on the film: the run that is shown goes on, and nothing of it is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.test_page_details import NODE
from tests.browser.test_pause_page import ENDED, page, run, seed_of
from workflows.source.frontend import Frontend

__all__ = ["page"]
WIDGET = "name => ({}).widgets.find(one => one.name === name).value"
SEEDS_AND_REPLAYS = """async () => (await (await fetch('/rationalrewards/loops?workflow=' + app.graph.id)).json()).loops
  .find(one => one.iterations.length === 5).iterations.map(one => [one.seed, one.replayed])"""


def test_three_more_go_on_with_the_run_that_is_shown(frontend: Frontend, page: Any, pictures: Path) -> None:
    seed = seed_of(page)
    run(frontend, patience=1, pause=False)
    page.wait_for_function(ENDED, arg=2, timeout=90_000)
    before = page.locator(".rr-frame b").all_inner_texts()
    best = page.evaluate(
        "() => [...document.querySelectorAll('.rr-frame')].findIndex(one => one.classList.contains('rr-best'))"
    )
    frontend.show()
    (pictures / "three_more.png").write_bytes(page.screenshot())
    start, end = (NODE.format(kind) for kind in ("RR_LoopStart", "RR_LoopUntilScore"))
    page.evaluate(
        f"() => {{ for (const w of {start}.widgets) if (w.name === 'seed') w.value = 1; }}"
    )  # as `randomize` does
    page.locator(".rr-more").click()
    page.wait_for_function(ENDED, arg=5, timeout=120_000)
    frontend.idle()
    assert seed_of(page) == seed
    assert page.evaluate(WIDGET.format(end), "max_iterations") == 5
    assert page.evaluate(WIDGET.format(end), "patience") == 4 - best
    assert page.evaluate(SEEDS_AND_REPLAYS) == [[seed + place, place < 2] for place in range(5)]
    assert page.locator(".rr-frame b").all_inner_texts()[:2] == before


def test_no_more_is_offered_while_a_loop_runs_and_where_it_reached_its_threshold(frontend: Frontend, page: Any) -> None:
    run(frontend, pause=False, threshold=0.0, minimum_score=0.0)
    page.wait_for_function(ENDED, arg=1, timeout=90_000)
    assert page.locator(".rr-status").inner_text().startswith("Threshold 0.00 reached")
    assert page.locator(".rr-more").is_hidden()
