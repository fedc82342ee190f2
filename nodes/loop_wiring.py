"""What is wrong with a loop's wires, said by Loop Start: before the first image is made, and not after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.messages import UserRequest
from .loop_ends import CLOSE_CLASS
from .loop_graph import Prompt, find_body, is_link

NO_JUDGEMENT = "Loop Until Score needs a critique or a reward: connect at least one of them."


def check_loop(prompt: Prompt, open_id: str, request: str, is_output: Callable[[str], bool]) -> None:
    """ConfigError or RequestError for what no iteration could be judged with. A Loop Start without an end is no loop."""
    for close_id in _ends(prompt, open_id):
        UserRequest(request)
        find_body(prompt, open_id, close_id, is_output)
        if not {"critique", "reward"} & prompt.get_node(close_id)["inputs"].keys():
            raise ConfigError(NO_JUDGEMENT)


def _ends(prompt: Prompt, open_id: str) -> list[str]:
    def flow(node: dict[str, Any]) -> Any:
        return node["inputs"].get("flow") if node["class_type"] == CLOSE_CLASS else None

    flows = {node_id: flow(prompt.get_node(node_id)) for node_id in sorted(prompt.all_node_ids())}
    return [node_id for node_id, link in flows.items() if is_link(link) and link[0] == open_id]
