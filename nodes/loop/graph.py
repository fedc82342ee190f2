"""Which nodes a loop repeats, and a copy of them for the next iteration. Pure functions of a prompt.

The body is what lies between Loop Start and Loop Until Score, and the output nodes (previews, savers) that hang off it.
Copies get ids of the form `<root>.it<N>.<name>`: short, the same in every run (so that caches hit), and the root is
the loop's own node, so that a loop inside a loop cannot collide with its sibling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...rationalrewards_core.errors import ConfigError
from .ends import CLOSE_CLASS, CONSTANT_SLOTS, IMAGE_SLOT, OPEN_CLASS

Node = dict[str, Any]
"""A node in API form: `class_type`, `inputs`, and what the core keeps beside them."""

CORE_LOOP_CLASSES = frozenset({"LoopIteration", "LoopProgress", "LoopResult"})
"""What the core's own loops (0.36 and newer) add to a graph while they run; they belong to no body of ours."""
CRITIQUE_CLASSES = frozenset({"RR_RationalCritique", "RR_MultiDimScore"})
REFINE_CLASSES = frozenset({"RR_PromptRefine"})
CORE_LOOP_KEYS = ("_loop_body", "_loop_end")
"""Where the core's validator notes a core loop's extent; a copy needs it with the copy's ids."""


class PromptGraph(Protocol):
    """The part of ComfyUI's `DynamicPrompt` that is used here."""

    def get_node(self, node_id: str) -> Node: ...
    def all_node_ids(self) -> set[str]: ...
    def get_parent_node_id(self, node_id: str) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class LoopBody:
    """The nodes of one loop as they were submitted, its two ends included."""

    open_id: str
    close_id: str
    nodes: Mapping[str, Node]
    """By id. Templates of the copies; never changed."""
    names: Mapping[str, str]
    """Id -> the last part of a copy's id."""


def is_link(value: object) -> bool:
    """Whether an input is wired: [node id, output index]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
        and not isinstance(value[1], bool)
    )


def is_output(class_type: str) -> bool:
    """Whether the core runs nodes of this class for their own sake: savers and previews."""
    import nodes  # ComfyUI's own

    return bool(getattr(nodes.NODE_CLASS_MAPPINGS[class_type], "OUTPUT_NODE", False))


def find_open(prompt: PromptGraph, close_id: str) -> str:
    """The Loop Start that a Loop Until Score is wired to; ConfigError if `flow` comes from anything else."""
    link = prompt.get_node(close_id)["inputs"].get("flow")
    if not is_link(link) or prompt.get_node(link[0])["class_type"] != OPEN_CLASS:
        raise ConfigError("Wire the flow input of Loop Until Score to the flow output of a Loop Start.")
    return str(link[0])


def find_body(prompt: PromptGraph, open_id: str, close_id: str, is_output: Callable[[str], bool]) -> LoopBody:
    """The loop between `open_id` and `close_id`. `is_output(class_type)` tells savers and previews from other nodes.

    ConfigError if nothing lies between the two ends, or if another Loop Until Score shares the Loop Start.
    """
    parents = {node_id: _parents(prompt.get_node(node_id)) for node_id in sorted(prompt.all_node_ids())}
    children = _children(parents)
    after_open = _reachable(open_id, children)
    after_close = _reachable(close_id, children)
    before_close = _reachable(close_id, parents)
    inside = (before_close & after_open) - {close_id, open_id}
    if not inside:
        raise ConfigError(
            "Nothing between Loop Start and Loop Until Score changes: wire its prompt or seed into the body."
        )
    if _closes(prompt, open_id, after_open) != [close_id]:
        raise ConfigError("Two Loop Until Score nodes share one Loop Start: give each its own.")
    belongs = _same_generation(prompt, open_id)
    free = after_open - after_close - before_close - {close_id}
    for node_id in sorted(free):
        if belongs(node_id) and is_output(prompt.get_node(node_id)["class_type"]):
            chain = (_reachable(node_id, parents) | {node_id}) & (after_open - after_close)
            if all(belongs(link) for link in chain):
                inside |= chain - {open_id, close_id}
    members = sorted(inside | {open_id, close_id})
    return LoopBody(
        open_id=open_id,
        close_id=close_id,
        nodes={node_id: prompt.get_node(node_id) for node_id in members},
        names=_names(members),
    )


def after(prompt: PromptGraph, node_id: str) -> frozenset[str]:
    """Every node that depends on this one, whoever needs it."""
    parents = {each: _parents(prompt.get_node(each)) for each in sorted(prompt.all_node_ids())}
    return frozenset(_reachable(node_id, _children(parents)))


def loop_ends(prompt: PromptGraph, open_id: str) -> list[str]:
    """The Loop Until Score nodes whose flow is this Loop Start's."""
    return _closes(prompt, open_id, prompt.all_node_ids())


def leaks(prompt: PromptGraph, body: LoopBody) -> bool:
    """Whether a node behind the loop looks into it: at what its first iteration made, beside what the loop hands on."""
    constant = {(body.open_id, slot) for slot in CONSTANT_SLOTS}
    links = (
        link
        for node_id in after(prompt, body.close_id) - body.nodes.keys()
        for link in _links(prompt.get_node(node_id))
    )
    return any(link[0] in body.nodes and link[0] != body.close_id and tuple(link) not in constant for link in links)


def image_varies(body: LoopBody, slots: frozenset[int]) -> bool:
    """Whether the image that is judged depends on one of these outputs of Loop Start."""
    parents = {node_id: _parents(node) for node_id, node in body.nodes.items()}
    image = body.nodes[body.close_id]["inputs"].get("image")
    makers = {image[0], *_reachable(image[0], parents)} if is_link(image) else set()
    links = (value for name in makers & body.nodes.keys() - {body.close_id} for value in _links(body.nodes[name]))
    return any(node_id == body.open_id and slot in slots for node_id, slot in [*links, *filter(is_link, [image])])


def card_nodes(close: Node, class_of: Callable[[str], str]) -> dict[str, str]:
    """Which nodes of the body show what the loop shows, too: its critiques, and its rewordings."""
    outlets = {"critique": ("critique", CRITIQUE_CLASSES), "refine": ("refined_prompt", REFINE_CLASSES)}
    links = {part: (close["inputs"].get(socket), classes) for part, (socket, classes) in outlets.items()}
    return {part: link[0] for part, (link, classes) in links.items() if is_link(link) and class_of(link[0]) in classes}


def _links(node: Node) -> list[Any]:
    return [value for value in node.get("inputs", {}).values() if is_link(value)]


def _parents(node: Node) -> list[str]:
    return [link[0] for link in _links(node)]


def _children(parents: Mapping[str, list[str]]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for node_id, sources in parents.items():
        for source in sources:
            children.setdefault(source, []).append(node_id)
    return children


def _reachable(start: str, edges: Mapping[str, Iterable[str]]) -> set[str]:
    """Everything that `edges` lead to from `start`, itself left out unless there is a cycle."""
    reach: set[str] = set()
    ahead = list(edges.get(start, ()))
    while ahead:
        node_id = ahead.pop()
        if node_id not in reach:
            reach.add(node_id)
            ahead.extend(edges.get(node_id, ()))
    return reach


def _closes(prompt: PromptGraph, open_id: str, among: set[str]) -> list[str]:
    nodes = ((node_id, prompt.get_node(node_id)) for node_id in sorted(among))
    ends = ((node_id, node["inputs"].get("flow")) for node_id, node in nodes if node["class_type"] == CLOSE_CLASS)
    return [node_id for node_id, flow in ends if is_link(flow) and flow[0] == open_id]


def _same_generation(prompt: PromptGraph, open_id: str) -> Callable[[str], bool]:
    """Whether a node came into being together with the Loop Start, and not by another node's expansion.

    A node that hangs off the body may be a copy that an inner loop made; the inner loop takes care of those itself.
    """
    generation = prompt.get_parent_node_id(open_id)

    def belongs(node_id: str) -> bool:
        return (
            prompt.get_parent_node_id(node_id) == generation
            and prompt.get_node(node_id)["class_type"] not in CORE_LOOP_CLASSES
        )

    return belongs


def _names(members: list[str]) -> dict[str, str]:
    """The ids without their copy's prefix, or whole where that would make two alike.

    Only the last dot counts: the parts of `12:5`, a node in a subgraph, belong together.
    """
    short = {node_id: node_id.rsplit(".", 1)[-1] for node_id in members}
    names = list(short.values())
    return {node_id: name if names.count(name) == 1 else node_id for node_id, name in short.items()}


def copy_id(body: LoopBody, root: str, iteration: int, node_id: str) -> str:
    return f"{root}.it{iteration}.{body.names[node_id]}"


def is_copy_id(body: LoopBody, root: str, name: str) -> bool:
    """Whether a copy of any iteration would have this id: a workflow is refused for it whichever iterations are made."""
    prefix = f"{root}.it"
    number, _, rest = name.removeprefix(prefix).partition(".")
    return name.startswith(prefix) and number.isdecimal() and rest.removesuffix(".kept") in body.names.values()


def copied(
    body: LoopBody, root: str, iteration: int, *, open_inputs: Mapping[str, Any], close_inputs: Mapping[str, Any]
) -> dict[str, Node]:
    """The graph of one more iteration; `open_inputs` and `close_inputs` replace or join those of its two ends.

    Each copy is shown as the node it was made from. Inputs of the ends that are None are left out.
    """
    ids = {node_id: copy_id(body, root, iteration, node_id) for node_id in body.nodes}
    added = {body.open_id: open_inputs, body.close_id: close_inputs}
    graph: dict[str, Node] = {}
    for node_id, template in body.nodes.items():
        inputs = {name: _relinked(value, ids) for name, value in template.get("inputs", {}).items()}
        inputs |= {name: value for name, value in added.get(node_id, {}).items() if value is not None}
        copy: Node = {
            "class_type": template["class_type"],
            "inputs": inputs,
            "override_display_id": node_id,
        }
        copy.update({key: _renamed(template[key], ids) for key in CORE_LOOP_KEYS if key in template})
        graph[ids[node_id]] = copy
    return graph


def with_picture(
    graph: dict[str, Node], open_copy: str, close_copy: str, picture: Mapping[str, Any]
) -> dict[str, Node]:
    """A copy whose image is there already: only what judges it is left, and what else shows it.

    The image comes from a second Loop Start with the inputs `picture`, which hands it on.
    """
    source = graph[close_copy]["inputs"]["image"]
    giver = f"{open_copy}.kept"
    display = {"override_display_id": graph[open_copy]["override_display_id"]}
    giving: Node = {"class_type": OPEN_CLASS, "inputs": dict(picture), **display}
    graph = {node_id: _rewired(node, source, [giver, IMAGE_SLOT]) for node_id, node in graph.items()}
    graph[giver] = giving
    parents = {node_id: _parents(node) for node_id, node in graph.items()}
    needed = _reachable(close_copy, parents) | {close_copy}
    for node_id, node in graph.items():
        if is_output(node["class_type"]) and _reachable(node_id, parents) & graph.keys() <= needed:
            needed.add(node_id)
    return {node_id: node for node_id, node in graph.items() if node_id in needed}


def _rewired(node: Node, before: Any, now: Any) -> Node:
    inputs = {name: now if is_link(value) and value == before else value for name, value in node["inputs"].items()}
    return {**node, "inputs": inputs}


def _relinked(value: Any, ids: Mapping[str, str]) -> Any:
    return [ids.get(value[0], value[0]), value[1]] if is_link(value) else value


def _renamed(extent: Any, ids: Mapping[str, str]) -> Any:
    """A core loop's extent with the copies' ids, whatever containers it is kept in."""
    if isinstance(extent, str):
        return ids.get(extent, extent)
    if isinstance(extent, Mapping):
        return {_renamed(key, ids): _renamed(value, ids) for key, value in extent.items()}
    if isinstance(extent, list | tuple | set | frozenset):
        return type(extent)(_renamed(entry, ids) for entry in extent)
    return extent
