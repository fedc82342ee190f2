"""Get the judge on the page: an offer, what would be fetched, a bar, and the judge is chosen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.test_page_details import workflow
from tests.core.hub_server import HubServer
from workflows.source.frontend import Frontend

NAME = "RationalRewards-8B-T2I"
CHECKPOINT = "() => app.graph.nodes.find(n => n.type === 'RR_LoadScorer').widgets.find(w => w.name === 'engine.checkpoint').value"


@pytest.fixture(autouse=True)
def no_judge(frontend: Frontend, models: Path, hub: HubServer) -> Iterator[None]:
    """Other tests of the page expect that there is none, before and after."""
    hub.asked.clear()
    hub.spans.clear()
    yield
    hub.seconds = 0
    shutil.rmtree(models / "LLM")
    (models / "LLM").mkdir()
    frontend.page.evaluate("() => app.refreshComboInNodes()")


def test_a_missing_judge_is_offered_fetched_and_chosen(
    frontend: Frontend, models: Path, hub: HubServer, pictures: Path
) -> None:
    frontend.load(workflow("5_sdxl_loop"))
    page = frontend.page
    offer = page.locator(".rr-get")
    page.wait_for_selector(".rr-get-ask", timeout=20_000)
    frontend.show(box=[0, 380, 420, 600])
    (pictures / "judge_offer.png").write_bytes(page.screenshot())
    assert hub.asked == [], "nothing is asked of the hub unasked"
    page.click(".rr-get-ask")
    page.wait_for_selector(".rr-get-question")
    text = offer.inner_text()
    for part in (f"TIGER-Lab/{NAME}", "Apache-2.0", f"models/LLM/{NAME}", "0.0 GB into", "free", "hash"):
        assert part in text
    (pictures / "judge_question.png").write_bytes(page.screenshot())
    assert not hub.spans, "nothing is fetched before its user agreed"
    hub.seconds = 0.3
    page.click(".rr-get-start")
    page.wait_for_selector(".rr-get-bar")
    (pictures / "judge_bar.png").write_bytes(page.screenshot())
    page.click(".rr-get-stop")
    page.wait_for_selector(".rr-get-discard")
    assert not (models / "LLM" / NAME).exists()
    hub.seconds = 0
    page.click(".rr-get-start")
    page.wait_for_function(
        f"() => ({CHECKPOINT})() === 'LLM/{NAME}' && !document.querySelector('.rr-notice')", timeout=30_000
    )
    assert (models / "LLM" / NAME / "config.json").is_file()
    frontend.show(box=[0, 380, 420, 600])
    (pictures / "judge_here.png").write_bytes(page.screenshot())
