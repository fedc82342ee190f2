"""What is wrong with a loop's wires, said by Loop Start: before the first image is made, and not after it."""

from __future__ import annotations

from collections.abc import Callable

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.rewording import split_negative
from .ends import IMAGE_SLOT
from .graph import PromptGraph, find_body, loop_ends

NO_JUDGEMENT = "Loop Until Score needs a critique or a reward: connect at least one of them."

NO_PROMPT = "refined_negative goes with refined_prompt: connect the prompt output of Prompt Refine as well."

NO_IMAGE = (
    "The loop goes on from the image of Loop Start, and Loop Start has none: connect an image to its image input."
)


def check_loop(prompt: PromptGraph, open_id: str, request: str, is_output: Callable[[str], bool]) -> None:
    """ConfigError or RequestError for what no iteration could be judged with. A Loop Start without an end is no loop."""
    for close_id in loop_ends(prompt, open_id):
        UserRequest(split_negative(request)[0])
        find_body(prompt, open_id, close_id, is_output)
        wired = prompt.get_node(close_id)["inputs"].keys()
        if not {"critique", "reward"} & wired:
            raise ConfigError(NO_JUDGEMENT)
        if "refined_negative" in wired and "refined_prompt" not in wired:
            raise ConfigError(NO_PROMPT)
    used = any([open_id, IMAGE_SLOT] in prompt.get_node(each)["inputs"].values() for each in prompt.all_node_ids())
    if used and "image" not in prompt.get_node(open_id)["inputs"]:
        raise ConfigError(NO_IMAGE)
