"""Preferences in the page: candidates of two runs, answered with mouse and keyboard, found again after a reload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from workflows.source.frontend import Frontend

ATTACK = 'a red circle <img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def graph(dataset: str) -> dict[str, Any]:
    def node(kind: str, at: list[int], widgets: dict[str, Any], wires: dict[str, str]) -> dict[str, Any]:
        return {"type": kind, "at": at, "size": [330, 260], "title": "", "widgets": widgets, "wires": wires}

    drawn = {"prompt": "a red circle", "batch_size": 3, "scale": 4, "method": "render"}
    return {
        "id": "00000000-0000-4000-8000-000000000077",
        "name": dataset,
        "nodes": {
            "gen": node("RR_MiniatureGenerate", [0, 0], drawn, {}),
            "pick": node(
                "RR_PreferencePick", [380, 0], {"prompt": ATTACK, "dataset": dataset}, {"images": "gen.image"}
            ),
        },
        "groups": [],
    }


def ask(frontend: Frontend, seed: int, waiting: int) -> None:
    """Queue with another seed, until the node has heard of the new question."""
    frontend.page.evaluate(
        """seed => { const node = app.graph.nodes.find(n => n.type === 'RR_MiniatureGenerate');
                     node.widgets.find(w => w.name === 'seed').value = seed;
                     node.widgets.find(w => w.name === 'control_after_generate').value = 'fixed'; }""",
        seed,
    )
    frontend.queue()
    frontend.idle()
    frontend.page.wait_for_function(
        "said => document.querySelector('.rr-pick .rr-comments').textContent.includes(said)",
        arg=f"{waiting} waiting",
        timeout=20_000,
    )


@pytest.fixture
def picker(frontend: Frontend, request: pytest.FixtureRequest) -> Any:
    """The picker of a node that has asked two questions, in a data set of this test's own."""
    built = frontend.build(graph("a" + re.sub(r"\W", "_", request.node.name)[-60:]))
    frontend.load(built["ui"])
    frontend.show()
    frontend.page.mouse.move(2, 2)
    ask(frontend, 0, 1)
    ask(frontend, 4, 2)
    return frontend.page.locator(".rr-pick")


def shown(picker: Any) -> str:
    return str(picker.locator("button.rr-candidate img").first.get_attribute("src"))


def counted(picker: Any) -> list[int]:
    """(answered, waiting, pairs) as the node says."""
    text = picker.locator(".rr-comments").inner_text().split(":")[1]
    return [int(number) for number in re.findall(r"\d+", text)][:3]


def until(picker: Any, *expected: int) -> None:
    for _ in range(60):
        if counted(picker) == list(expected):
            return
        picker.page.wait_for_timeout(100)
    raise AssertionError(f"the node says {counted(picker)}, not {list(expected)}")


def test_candidates_are_answered_with_mouse_and_keyboard(frontend: Frontend, picker: Any, pictures: Path) -> None:
    page = frontend.page
    assert picker.locator(".rr-request").inner_text() == ATTACK
    assert page.evaluate("() => window.hacked") is None
    page.wait_for_timeout(500)
    (pictures / "preference.png").write_bytes(page.screenshot())
    frames = [candidate.bounding_box() for candidate in picker.locator("button.rr-candidate").all()]
    around = picker.locator(".rr-candidates").bounding_box()
    for start, length in (("x", "width"), ("y", "height")):
        end = around[start] + around[length] + 1
        assert all(frame[start] + frame[length] <= end for frame in frames), "all in sight"
    picker.locator("button.rr-candidate").nth(1).dblclick()
    until(picker, 1, 1, 2)
    page.keyboard.press("t")
    until(picker, 2, 0, 5)
    assert picker.locator(".rr-told").inner_text() == "Your answer: tie"
    page.keyboard.press("u")
    until(picker, 1, 1, 2)
    page.keyboard.press("9")
    page.keyboard.press("Control+b")
    page.keyboard.press("2")
    until(picker, 2, 0, 4)
    assert (
        picker.locator("button.rr-candidate[aria-pressed=true]").get_attribute("aria-label")
        == "Image 2 is better (key 2)"
    )
    page.keyboard.press("e")
    assert page.locator("dialog.rr-dialog h2").inner_text() == "Image 1"
    page.keyboard.press("Escape")
    picker.locator(".rr-export").click()
    page.wait_for_function("() => document.querySelector('.rr-told').textContent.startsWith('4 pairs in output/')")
    (pictures / "preference_exported.png").write_bytes(page.screenshot())
    picker.locator(".rr-undo").click()
    until(picker, 1, 1, 2)
    page.reload()
    frontend.wait()
    again = page.locator(".rr-pick")
    again.locator("button.rr-candidate").first.wait_for(timeout=20_000)
    assert counted(again) == [1, 1, 2]
    assert again.locator("button.rr-candidate[aria-pressed=true]").count() == 0
    assert frontend.errors == []


def test_a_run_replaces_the_question_unless_somebody_is_about_to_answer_it(frontend: Frontend, picker: Any) -> None:
    newest = shown(picker)
    picker.hover()
    ask(frontend, 9, 3)
    assert shown(picker) == newest, "a click must not meet another question than the one that was looked at"
    frontend.page.mouse.move(2, 2)
    frontend.page.evaluate("() => document.activeElement?.blur()")
    ask(frontend, 12, 4)
    latest = shown(picker)
    assert latest != newest
    picker.locator(".rr-later").click()
    frontend.page.wait_for_function(
        "before => document.querySelector('button.rr-candidate img').getAttribute('src') !== before", arg=latest
    )


def test_a_page_tells_the_server_whose_it_is(frontend: Frontend) -> None:
    """Where there are several users, its runs then ask the user of this page; here there is one."""
    frontend.show()
    with frontend.page.expect_response("**/rationalrewards/client") as told:
        frontend.page.reload()
        frontend.wait()
    assert told.value.json() == {"user": None}
    assert told.value.request.post_data_json["client_id"] == frontend.page.evaluate("window.name")
