"""The workflow that makes one iteration's picture: the one that was queued, with that prompt and seed at Loop Start.

Works on copies; parts that are not changed are shared. A node that cannot be told apart (a subgraph used twice) is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .ends import CLOSE_CLASS, OPEN_CLASS

Graph = dict[str, Any]
WIDGETS: Final = {
    OPEN_CLASS: ("prompt", "seed", "control_after_generate", "seed_policy"),
    CLOSE_CLASS: (
        "threshold",
        "max_iterations",
        "patience",
        "minimum_gain",
        "minimum_score",
        "keep",
    ),
}
"""Places of widgets in a workflow file, as far as they are needed here (a test compares them with the schemas)."""


def picture_values(prompt: str, seed: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Widgets of Loop Start and of Loop Until Score for one image with this prompt; the seed is left where none counts."""
    seeds = {} if seed is None else {"seed": seed}
    return {"prompt": prompt, **seeds, "control_after_generate": "fixed"}, {"max_iterations": 1}


def chain_values(iteration: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same for an image that earlier ones led to: the loop from its beginning up to it."""
    return {"control_after_generate": "fixed"}, {"max_iterations": iteration + 1, "keep": "last"}


def page_text(prompt: str) -> str:
    """A prompt for a widget whose choices in curly braces are resolved: these were resolved before the loop began."""
    return re.sub(r"[{}|]", r"\\\g<0>", prompt)


def with_widgets(workflow: Graph, node: str, values: Mapping[str, Any]) -> Graph:
    """A workflow file's graph with other widgets on one node; `node` is an id such as `7`, or `12:7` in a subgraph."""
    path = node.split(":")
    name = _graph_of(workflow, path[:-1])
    if name is None:
        return workflow

    def changed(graph: Graph) -> Graph:
        return _with_node(graph, path[-1], lambda one: _set(one, values), values)

    if name == "":
        return changed(workflow)
    definitions = workflow["definitions"]
    subgraphs = [changed(one) if one.get("id") == name else one for one in definitions["subgraphs"]]
    return {**workflow, "definitions": {**definitions, "subgraphs": subgraphs}}


def with_inputs(prompt: Graph, node: str, values: Mapping[str, Any]) -> Graph:
    """The same in API form."""
    if node not in prompt:
        return prompt
    present = {name: value for name, value in values.items() if name in prompt[node]["inputs"]}
    return {**prompt, node: {**prompt[node], "inputs": {**prompt[node]["inputs"], **present}}}


def _graph_of(workflow: Graph, path: Sequence[str]) -> str | None:
    """Id of the subgraph that a path of nodes leads to, "" for the workflow itself; None if it cannot be told apart."""
    subgraphs = {one.get("id"): one for one in (workflow.get("definitions") or {}).get("subgraphs") or ()}
    graphs, graph, name = [workflow, *subgraphs.values()], workflow, ""
    for part in path:
        instance = next((one for one in graph.get("nodes") or () if str(one.get("id")) == part), {})
        name = instance.get("type", "")
        uses = sum(one.get("type") == name for each in graphs for one in each.get("nodes") or ())
        if name not in subgraphs or uses != 1:
            return None
        graph = subgraphs[name]
    return name


def _with_node(graph: Graph, node: str, change: Callable[[Graph], Graph], values: Mapping[str, Any]) -> Graph:
    target = next((one for one in graph.get("nodes") or () if str(one.get("id")) == node), None)
    if target is None:
        return graph
    links = {one.get("link") for one in target.get("inputs") or () if one.get("name") in values}
    links.discard(None)
    nodes = [change(one) if one is target else _without_links(one, links) for one in graph["nodes"]]
    others = [
        link for link in graph.get("links") or () if (link["id"] if isinstance(link, dict) else link[0]) not in links
    ]
    inner = {"inputs": [_unlinked(one, "linkIds", links) for one in graph["inputs"]]} if "inputs" in graph else {}
    return {**graph, "nodes": nodes, "links": others, **inner}


def _set(node: Graph, values: Mapping[str, Any]) -> Graph:
    """With its widgets set, and free of the wires that would set them."""
    inputs = [{**one, "link": None} if one.get("name") in values else one for one in node.get("inputs") or ()]
    by_name = node.get("widgets_values_named")
    if isinstance(by_name, dict):  # what newer pages write beside the row
        node = {
            **node,
            "widgets_values_named": {**by_name, **{name: values[name] for name in values if name in by_name}},
        }
    stored = node.get("widgets_values")
    if isinstance(stored, dict):
        return {**node, "inputs": inputs, "widgets_values": {**stored, **values}}
    row = list(stored or ())
    for name, value in values.items():
        place = WIDGETS[node["type"]].index(name)
        if place < len(row):
            row[place] = value
    return {**node, "inputs": inputs, "widgets_values": row}


def _without_links(node: Graph, links: set[Any]) -> Graph:
    if not links or not any(links & set(one.get("links") or ()) for one in node.get("outputs") or ()):
        return node
    return {**node, "outputs": [_unlinked(one, "links", links) for one in node["outputs"]]}


def _unlinked(socket: Graph, key: str, links: set[Any]) -> Graph:
    return {**socket, key: [link for link in socket.get(key) or () if link not in links]}
