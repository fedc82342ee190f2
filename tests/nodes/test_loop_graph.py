"""Which nodes a loop repeats, and what a copy of them looks like."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack

OUTPUTS = {"Preview", "LoopProgress"}


class DynamicPrompt:
    """ComfyUI's, reduced to what the loop asks of it."""

    def __init__(self, nodes: dict[str, Any], parents: dict[str, str] | None = None) -> None:
        self.nodes, self.parents = nodes, parents or {}

    def get_node(self, node_id: str) -> dict[str, Any]:
        return dict(self.nodes[node_id])

    def all_node_ids(self) -> set[str]:
        return set(self.nodes)

    def get_parent_node_id(self, node_id: str) -> str | None:
        return self.parents.get(node_id)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Inputs are links to output 0 when they are `@id`."""
    links = {
        name: [value[1:], 0] if isinstance(value, str) and value.startswith("@") else value
        for name, value in inputs.items()
    }
    return {"class_type": class_type, "inputs": links}


def simple(**more: Any) -> dict[str, Any]:
    return {
        "model": node("Loader"),
        "open": node("RR_LoopStart", prompt="@words"),
        "words": node("Text"),
        "make": node("Make", prompt="@open", model="@model", size=8),
        "close": node("RR_LoopUntilScore", flow="@open", image="@make", critique="@judge"),
        "judge": node("Judge", image="@make"),
        **more,
    }


@pytest.fixture
def graph(pack: Pack) -> Any:
    return pack.module("nodes.loop.graph")


def body_of(graph: Any, nodes: dict[str, Any], parents: dict[str, str] | None = None, **ends: str) -> Any:
    open_id, close_id = ends.get("open_id", "open"), ends.get("close_id", "close")
    return graph.find_body(DynamicPrompt(nodes, parents), open_id, close_id, OUTPUTS.__contains__)


def test_the_body_is_what_lies_between_the_ends(graph: Any) -> None:
    assert set(body_of(graph, simple()).nodes) == {"open", "make", "judge", "close"}


def test_what_hangs_off_the_body_belongs_to_it_with_its_chain(graph: Any) -> None:
    nodes = simple(
        blur=node("Blur", image="@make"),
        shown=node("Preview", image="@blur"),
        words_shown=node("Preview", image="@open"),
        unused=node("Blur", image="@make"),
    )
    assert set(body_of(graph, nodes).nodes) == {"open", "make", "judge", "close", "blur", "shown", "words_shown"}


def test_nothing_downstream_of_the_end_or_outside_is_taken(graph: Any) -> None:
    nodes = simple(
        best=node("Preview", image="@close"),
        both=node("Mix", first="@make", second="@close"),
        both_shown=node("Preview", image="@both"),
        apart=node("Preview", image="@model"),
    )
    assert set(body_of(graph, nodes).nodes) == {"open", "make", "judge", "close"}


def test_copies_of_an_inner_loop_are_left_to_it(graph: Any) -> None:
    nodes = simple()
    nodes["close.it1.shown"] = node("Preview", image="@make")
    body = body_of(graph, nodes, {"close.it1.shown": "inner"})
    assert "close.it1.shown" not in body.nodes


def test_nodes_that_a_core_loop_adds_are_left_alone(graph: Any) -> None:
    nodes = simple(
        progress=node("LoopProgress", value="@make"),
        result=node("LoopResult", value="@make"),
        result_shown=node("Preview", image="@result"),
    )
    assert set(body_of(graph, nodes).nodes) == {"open", "make", "judge", "close"}


def test_an_inner_loop_is_part_of_the_outer_body_whole(graph: Any) -> None:
    nodes = simple(
        make=node("RR_LoopUntilScore", flow="@in", image="@draw", critique="@look"),
        **{"in": node("RR_LoopStart", prompt="@open")},
        draw=node("Make", prompt="@in"),
        look=node("Judge", image="@draw"),
        shown=node("Preview", image="@draw"),
    )
    outer = {"open", "in", "draw", "look", "make", "judge", "close", "shown"}
    assert set(body_of(graph, nodes).nodes) == outer
    inner = body_of(graph, nodes, open_id="in", close_id="make")
    assert set(inner.nodes) == {"in", "draw", "look", "make", "shown"}


def test_an_empty_body_and_a_shared_start_are_refused(graph: Any, pack: Pack) -> None:
    error = pack.core("errors").ConfigError
    nodes = simple(make=node("Make", prompt="fixed"))
    with pytest.raises(error, match="Nothing between Loop Start"):
        body_of(graph, nodes)
    with pytest.raises(error, match="share one Loop Start"):
        body_of(graph, simple(other=node("RR_LoopUntilScore", flow="@open", image="@make")))


def test_the_flow_must_come_from_a_loop_start(graph: Any, pack: Pack) -> None:
    nodes = simple()
    assert graph.find_open(DynamicPrompt(nodes), "close") == "open"
    nodes["close"]["inputs"]["flow"] = ["make", 0]
    with pytest.raises(pack.core("errors").ConfigError, match="Wire the flow input"):
        graph.find_open(DynamicPrompt(nodes), "close")


def test_a_copy_is_wired_to_itself_and_to_the_world(graph: Any) -> None:
    nodes = simple(shown=node("Preview", image="@make"))
    before = repr(nodes)
    body = body_of(graph, nodes)
    carried = object()
    copy = graph.copied(body, "close", 2, open_inputs={"prompt": "next", "seed": 5}, close_inputs={"run": carried})
    assert set(copy) == {f"close.it2.{name}" for name in ("open", "make", "judge", "close", "shown")}
    assert copy["close.it2.make"] == {
        "class_type": "Make",
        "inputs": {"prompt": ["close.it2.open", 0], "model": ["model", 0], "size": 8},
        "override_display_id": "make",
    }
    assert copy["close.it2.open"]["inputs"] == {"prompt": "next", "seed": 5}
    assert copy["close.it2.close"]["inputs"]["flow"] == ["close.it2.open", 0]
    assert copy["close.it2.close"]["inputs"]["run"] is carried
    assert repr(nodes) == before, "the submitted prompt is not touched"


def test_ids_stay_short_however_deep_and_whatever_the_names(graph: Any) -> None:
    prefix = "7.it3."
    nodes = {
        f"{prefix}12:1": node("RR_LoopStart"),
        f"{prefix}12:5": node("Make", prompt=f"@{prefix}12:1"),
        f"{prefix}9": node("RR_LoopUntilScore", flow=f"@{prefix}12:1", image=f"@{prefix}12:5"),
    }
    body = body_of(graph, nodes, dict.fromkeys(nodes, "7"), open_id=f"{prefix}12:1", close_id=f"{prefix}9")
    assert graph.copy_id(body, f"{prefix}9", 1, f"{prefix}12:5") == "7.it3.9.it1.12:5"
    assert graph.copy_id(body, f"{prefix}9", 40, f"{prefix}9") == "7.it3.9.it40.9"


def test_names_that_would_collide_stay_whole(graph: Any) -> None:
    nodes = simple(**{"a.x": node("Blur", image="@make"), "b.x": node("Preview", image="@a.x")})
    body = body_of(graph, nodes)
    copy = graph.copied(body, "close", 1, open_inputs={}, close_inputs={})
    assert {"close.it1.a.x", "close.it1.b.x"} <= set(copy)


def test_the_extent_of_a_core_loop_is_renamed_along(graph: Any) -> None:
    nodes = simple()
    nodes["make"]["_loop_body"] = ["make", "judge", "model"]
    nodes["make"]["_loop_end"] = "judge"
    nodes["judge"]["_loop_body"] = {"make": {"judge"}, "depth": 1}
    nodes["judge"]["is_changed"] = [1]
    copy = graph.copied(body_of(graph, nodes), "close", 1, open_inputs={}, close_inputs={})
    assert copy["close.it1.make"]["_loop_body"] == ["close.it1.make", "close.it1.judge", "model"]
    assert copy["close.it1.make"]["_loop_end"] == "close.it1.judge"
    assert copy["close.it1.judge"]["_loop_body"] == {"close.it1.make": {"close.it1.judge"}, "depth": 1}
    assert "is_changed" not in copy["close.it1.judge"], "a copy has a fingerprint of its own"


@pytest.mark.parametrize(
    ("value", "wired"),
    [(["3", 0], True), (["3", 1.0], True), (["3", True], False), (["a", "b"], False), ([3, 0], False), ("3", False)],
)
def test_links_are_told_from_values(graph: Any, value: Any, wired: bool) -> None:
    assert graph.is_link(value) is wired


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("close.it1.make", True),
        ("close.it12.open.kept", True),
        ("close.it1.elsewhere", False),
        ("close.it.make", False),
        ("other.it1.make", False),
    ],
)
def test_ids_that_copies_would_take_are_told_for_every_iteration(graph: Any, name: str, taken: bool) -> None:
    assert graph.is_copy_id(body_of(graph, simple()), "close", name) is taken
