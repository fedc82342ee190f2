"""Which iterations of a loop are the same: by the key of their picture, and by that of their judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...rationalrewards_core.errors import RationalRewardsError
from .graph import LoopBody, PromptGraph, after, find_body, leaks, loop_ends
from .graph_keys import GraphKeys, Key, digest
from .state import Flow

PROMPT, SEED, ITERATION, FLOW, ORIGINAL, IMAGE, NEGATIVE = range(7)
"""All outputs of Loop Start."""
JUDGEMENT = ("critique", "reward", "refined_prompt")
"""The inputs of Loop Until Score that say what is thought of a picture; `image` is the picture."""

LATER = ("refined_negative",)
"""Further ones, which count where they are wired: the keys of loops without them stay what they were."""


class LoopKeys:
    """The keys of one loop's iterations."""

    def __init__(self, prompt: PromptGraph, prompt_id: str | None, body: LoopBody) -> None:
        self.body = body
        self._graph = GraphKeys(prompt, prompt_id, body.open_id, after(prompt, body.open_id))
        self._close = prompt.get_node(body.close_id)["inputs"]
        self._open = prompt.get_node(body.open_id)["inputs"]
        self.leaks = leaks(prompt, body)
        """Whether a node behind the loop looks at the first iteration's own nodes: they must run for it."""

    def picture(self, flow: Flow, carried: Key) -> Key:
        """Of all images of an iteration; `carried` is the key of the image that Loop Start hands on."""
        return self._digest(("image",), self._start_keys(flow, carried))

    def judgement(self, flow: Flow, carried: Key) -> Key:
        later = tuple(name for name in LATER if name in self._close)
        return self._digest((*JUDGEMENT, *later), self._start_keys(flow, carried))

    @property
    def given(self) -> Key:
        """Of the image that Loop Start was given; of none, where there is none."""
        return self._graph.value(self._open.get("image"), {})

    def whole(self) -> Key:
        """Of everything the loop depends on, its rules included; parts that cannot be known count as equal."""
        names = {PROMPT: "prompt", SEED: "seed", ORIGINAL: "prompt", IMAGE: "image", NEGATIVE: "prompt"}
        values: dict[int, Key] = {slot: self._graph.value(self._open.get(name), {}) for slot, name in names.items()}
        values |= {ITERATION: "0", FLOW: digest(self._open.get("seed_policy"))}
        keys = {name: self._graph.value(value, values) for name, value in self._close.items()}
        return digest([keys, list(values.values()), self.leaks])

    def _digest(self, names: tuple[str, ...], start_keys: Mapping[int, Key]) -> Key:
        keys = {name: self._graph.value(self._close.get(name), start_keys) for name in names}
        return None if None in keys.values() else digest(keys)

    def _start_keys(self, flow: Flow, carried: Key) -> dict[int, Key]:
        values = {PROMPT: flow.prompt, SEED: flow.seed, ITERATION: flow.iteration, ORIGINAL: flow.original}
        values |= {NEGATIVE: flow.prompt}  # which carries it
        return {**{slot: digest(value) for slot, value in values.items()}, IMAGE: carried}


def loop_keys(
    prompt: PromptGraph, prompt_id: str | None, open_id: str, is_output: Callable[[str], bool]
) -> LoopKeys | None:
    """Of the loop that begins at a Loop Start; None if it has no end, or is miswired (whoever runs it says how)."""
    ends = loop_ends(prompt, open_id)
    if len(ends) != 1:
        return None
    try:
        return LoopKeys(prompt, prompt_id, find_body(prompt, open_id, ends[0], is_output))
    except RationalRewardsError:
        return None
