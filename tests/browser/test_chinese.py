"""What the server says in English is Chinese on a Chinese page; what a person or a model wrote stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_card import card, dimension
from tests.browser.test_film import Film
from tests.browser.test_page_details import workflow
from tests.browser.test_rewording import rewording
from workflows.source.frontend import Frontend

END = "() => app.graph.nodes.find(n => n.type === 'RR_LoopUntilScore').id"


@pytest.fixture
def chinese(frontend: Frontend) -> Iterator[Frontend]:
    nodes_2 = bool(frontend.page.evaluate("() => app.extensionManager.setting.get('Comfy.VueNodes.Enabled')"))
    frontend.open(nodes_2=nodes_2, language="zh")
    frontend.load(workflow("1_miniature_loop"))
    yield frontend
    frontend.open(nodes_2=nodes_2)


def test_dimensions_reasons_and_notes_are_chinese(chinese: Frontend, pictures: Path) -> None:
    def deck(shown: dict[str, Any]) -> str:
        chinese.executed("RR_RationalCritique", {"rr_critique": [shown]})
        return str(chinese.page.locator(".rr-deck").inner_text())

    low = card(0, passed=False, reward=0.5, dimensions=[dimension(score=2.0, minimum=3.0), dimension(title="My own")])
    text = deck(low)
    assert "文本忠实度 2.0 低于 3.0" in text
    assert "Text Faithfulness" not in text
    assert "My own" in text
    assert "The boat is there." in text
    unscored = {"reason": "truncated", "message": "The critique was cut off."}
    assert "评语未写完" in deck(card(0, reward=None, unscored=unscored, dimensions=[]))
    why = "Below the minimum: Text Faithfulness 2.0.\nThe boat is blue.\nPut back: <lora:paper:0.8>."
    chinese.executed("RR_PromptRefine", {"rr_refine": [rewording("a boat", "a red boat", why)]})
    comments = chinese.page.locator(".rr-rewording .rr-comments").inner_text()
    assert comments == "低于最低分：文本忠实度 2.0。\nThe boat is blue.\n已放回：<lora:paper:0.8>。"
    film = Film.__new__(Film)
    film.__dict__ |= {
        "frontend": chinese,
        "page": chinese.page,
        "workflow": chinese.page.evaluate("() => app.graph.id"),
    }
    film.ids = {"end": str(chinese.page.evaluate(END)), "critique": None, "refine": None}
    state = film.state("unscored", 0.5)
    state["iterations"][0] |= {"card": None, "reward": None, "unscored": unscored}
    film.end(state)
    assert "评语未写完" in film.text(".rr-detail")
    chinese.page.locator(".rr-frame").first.click()
    assert "评语未写完" in chinese.page.locator(".rr-dialog").inner_text()
    chinese.page.keyboard.press("Escape")
    note = chinese.page.evaluate("() => app.graph.nodes.find(n => n.type === 'MarkdownNote').widgets[0].value")
    assert "本次迭代后停止" in note
    chinese.show()
    (pictures / "chinese.png").write_bytes(chinese.page.screenshot())
