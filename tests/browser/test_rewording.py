"""What Prompt Refine says of its work, on a real node: words that changed are marked, and every text is only text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend

ATTACK = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script><b>bold</b> {{7*7}} ${'a'}"


def rewording(before: str, after: str, comments: str = "") -> dict[str, Any]:
    return {"before": before, "after": after, "changed": before != after, "comments": comments}


@pytest.fixture
def card(frontend: Frontend) -> Any:
    """Gives rewordings to the node as ComfyUI does, and returns what is then on the page."""
    workflow = json.loads((PACK / "workflows" / "1_miniature_loop.json").read_text(encoding="utf-8"))
    frontend.load({**workflow, "id": "00000000-0000-4000-8000-000000000002"})

    def show(*rewordings: dict[str, Any]) -> Any:
        frontend.executed("RR_PromptRefine", {"rr_refine": list(rewordings)})
        return frontend.page.locator(".rr-rewording")

    return show


def test_changed_words_are_marked_and_the_reasons_follow(frontend: Frontend, card: Any, pictures: Path) -> None:
    assert frontend.page.locator(".rr-rewording .rr-empty").count() == 1
    why = "Below the minimum: Text Faithfulness 2.0.\nPut back: <lora:paper:0.8>."
    shown = card(rewording("a red boat, <lora:paper:0.8>", "a large red boat at dawn, <lora:paper:0.8>", why))
    assert shown.locator(".rr-verdict").inner_text() == "Prompt reworded"
    assert [text.strip() for text in shown.locator("ins").all_inner_texts()] == ["large", "at dawn"]
    assert shown.locator(".rr-comments").inner_text() == why
    shown = card(rewording("a small red boat", "a red boat"))
    assert [text.strip() for text in shown.locator("del").all_inner_texts()] == ["small"]
    frontend.show()
    (pictures / "rewording.png").write_bytes(frontend.page.screenshot())
    frame = frontend.page.evaluate("() => app.graph.nodes.find(n => n.type === 'RR_PromptRefine').getBounding()[3]")
    scale = frontend.page.evaluate("() => app.canvas.ds.scale")
    assert 140 <= shown.bounding_box()["height"] / scale < frame, "the card lies within its node"


def test_a_prompt_that_stays_is_said_to_stay(card: Any) -> None:
    shown = card(rewording("a red boat", "a red boat", "Every dimension reaches its minimum; the prompt stays."))
    assert shown.locator(".rr-verdict").inner_text() == "Prompt kept"
    assert shown.locator("ins, del").count() == 0
    assert shown.locator(".rr-diff").inner_text() == "a red boat"


def test_a_list_of_critiques_shows_every_rewording(card: Any) -> None:
    shown = card(rewording("a", "a b"), rewording("c", "c"))
    assert shown.locator(".rr-verdict").all_inner_texts() == ["Prompt reworded", "Prompt kept"]


def test_prompts_and_comments_are_text_and_nothing_else(frontend: Frontend, card: Any) -> None:
    shown = card(rewording(ATTACK, ATTACK + " more", ATTACK))
    frontend.page.wait_for_timeout(300)
    assert frontend.page.evaluate("() => window.hacked") is None
    assert shown.locator("img, script, b").count() == 0
    assert shown.locator(".rr-comments").inner_text() == ATTACK
    assert shown.locator(".rr-diff").inner_text() == ATTACK + " more"
    assert frontend.errors == []
