"""One run of one loop: what its copies of Loop Until Score hand on to each other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.loop.policy import RefinePolicy
from ...rationalrewards_core.loop.refine import RefineState
from ...rationalrewards_core.messages import UserRequest
from ..show.origin import workflow_file, workflow_of
from .ends import IMAGE_SLOT, ITERATION_SLOT, NEGATIVE_SLOT, SEED_SLOT
from .files import LoopFiles
from .graph import LoopBody, card_nodes, find_body, find_open, image_varies, is_output
from .graph_keys import Key
from .kept_iterations import kept_iterations
from .replay import Replay, replay_of
from .state import Flow, LoopPlace, LoopState
from .story import LoopStory


@dataclass
class Held:
    """The image that the loop would hand on if it ended now; one per loop, whatever the number of iterations."""

    image: Any = None
    """[1, H, W, C]."""
    key: Key = None
    """Same key, same image; None where that cannot be known."""
    name: str = ""
    """What the next Loop Start asks for it by."""

    preview: str = ""
    """Name of the file that the film shows of it, made of its content."""

    def hold(self, image: Any, key: Key, preview: str) -> None:
        self.image, self.key, self.preview = image, key, preview
        self.name = key or uuid.uuid4().hex
        _HELD[self.name] = self


_HELD: WeakValueDictionary[str, Held] = WeakValueDictionary()


def held_image(name: str) -> Any:
    """The image that a loop handed on to its next Loop Start: of the run, or the kept iteration `<picture>[/<index>]`."""
    hold = _HELD.get(name)
    if hold is not None and hold.name == name:
        return hold.image
    picture, _, index = name.partition("/")
    batches = kept_iterations().images(picture)
    if not batches:
        raise ConfigError("An iteration that this one goes on from is no longer kept: queue the workflow again.")
    if not index:
        return batches[0]
    return picked(batches, int(index)).clone()


def picked(batches: Any, index: int) -> Any:
    """Image `index` of all batches, [1, H, W, C]."""
    for batch in batches:
        if index < len(batch):
            return batch[index : index + 1]
        index -= len(batch)
    raise ConfigError("There is no image to judge; the batch is empty.")


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """One run of one loop, as its copies hand it on."""

    root: str
    """Id of the node the run began at; ids of copies begin with it."""
    story: LoopStory
    files: LoopFiles
    replay: Replay
    state: LoopState
    held: Held = field(default_factory=Held)
    goes_on: bool = False
    """Whether the next iteration goes on from the held image, and not from the one that Loop Start was given."""
    since: float | None = None
    """When the iteration under way began (`time.monotonic`), if that is known."""
    picture: Key = None
    """Of the iteration under way."""

    @property
    def place(self) -> LoopPlace:
        return self.story.place

    @property
    def body(self) -> LoopBody:
        return self.story.body

    @property
    def carries(self) -> bool:
        """Whether the body goes on from an image that Loop Start hands on."""
        return self._takes(IMAGE_SLOT)

    @property
    def parts(self) -> bool:
        """Whether the body takes the negative prompt of Loop Start."""
        return self._takes(NEGATIVE_SLOT)

    def _takes(self, slot: int) -> bool:
        links = (value for node in self.body.nodes.values() for value in node["inputs"].values())
        return any(link == [self.body.open_id, slot] for link in links)

    @property
    def carried(self) -> Key:
        """Of the image that the iteration under way goes on from."""
        if self.goes_on:
            return self.held.key
        return None if self.replay.keys is None else self.replay.keys.given


def begin(prompt: Any, node_id: str, extra: Any, flow: Flow, policy: RefinePolicy) -> LoopRun:
    """The run of a loop that has not been through its end yet. `extra` is the `extra_pnginfo` that was queued with it."""
    import folder_paths

    body = find_body(prompt, find_open(prompt, node_id), node_id, is_output)
    seed_wired = image_varies(body, frozenset({SEED_SLOT}))
    if not image_varies(body, frozenset({SEED_SLOT, ITERATION_SLOT, IMAGE_SLOT})):
        policy = replace(policy, seeds="fixed")  # the same prompt would only give the same image again
    refine = RefineState(request=UserRequest(flow.original), base_seed=flow.base_seed, policy=policy)
    place = _place(prompt, node_id, workflow_of(extra))
    files = LoopFiles(Path(folder_paths.get_temp_directory()), place.prompt_id, node_id)
    files.start(refine)
    return LoopRun(
        root=node_id,
        story=_story(prompt, place, body, extra, flow),
        files=files,
        replay=replay_of(prompt, place.prompt_id, body.open_id),
        state=LoopState(refine=refine, seed_wired=seed_wired),
        since=flow.began if flow.prompt_id == place.prompt_id and not flow.skipped else None,
    )


def _story(prompt: Any, place: LoopPlace, body: LoopBody, extra: Any, flow: Flow) -> LoopStory:
    nodes = prompt.get_original_prompt().items()
    return LoopStory(
        place=place,
        body=body,
        request=flow.original,
        queued={name: {part: node[part] for part in node if part != "is_changed"} for name, node in nodes},
        workflow=workflow_file(extra),
    )


def _place(prompt: Any, node_id: str, workflow: str | None) -> LoopPlace:
    from server import PromptServer

    cards = card_nodes(prompt.get_node(node_id), lambda name: prompt.get_node(name)["class_type"])
    return LoopPlace(
        prompt_id=running_prompt_id(),
        node=prompt.get_display_node_id(node_id),
        start=prompt.get_display_node_id(find_open(prompt, node_id)),
        workflow=workflow,
        client=PromptServer.instance.client_id,
        **{part: prompt.get_display_node_id(name) for part, name in cards.items()},
    )


def running_prompt_id() -> str | None:
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return None if context is None else context.prompt_id
