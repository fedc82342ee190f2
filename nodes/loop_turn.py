"""One turn of Loop Until Score: judge the iteration, and make the graph of the next one or hand on the best.

Carried from one copy of the node to the next is one object, `LoopRun`; Loop Start is only told text and numbers.
That keeps every iteration cacheable and lets the tensors of finished iterations go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.messages import UserRequest
from ..rationalrewards_core.refine import Move, RefinePolicy, RefineState
from .cards import critique_cards
from .loop_board import BOARD
from .loop_files import LoopFiles
from .loop_graph import LoopBody, card_nodes, copied, copy_id, find_body, find_open, image_varies
from .loop_start import ITERATION_SLOT, SEED_SLOT, next_inputs
from .loop_state import Flow, Judged, Keep, LoopPlace, LoopState, best_of_batch
from .previews import TempImage, save_temp_image
from .sockets import Critiques
from .tensors import to_pictures

CARRIED = "carried_run"
"""The input under which a copy finds its `LoopRun`; it is not in the schema, so nobody can wire or type it."""


@dataclass
class Kept:
    """The image that the loop would hand on if it ended now; one per loop, whatever the number of iterations."""

    image: Any = None


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """One run of one loop, as its copies hand it on."""

    root: str
    """Id of the node the run began at; ids of copies begin with it."""
    place: LoopPlace
    body: LoopBody
    files: LoopFiles
    kept: Kept
    state: LoopState


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What the graph made and how it was judged."""

    flow: Flow
    images: Sequence[Any]
    """Batches [B, H, W, C]."""
    critiques: Sequence[Critiques]
    rewards: Sequence[float] | None
    """In [0, 1], NaN where unscored; None leaves the judgement to the critiques."""
    proposal: str | None
    """The prompt to try next; None leaves it to the critiques."""


def take_turn(
    prompt: Any, node_id: str, workflow: str | None, made: Iteration, policy: RefinePolicy, keep: Keep
) -> io.NodeOutput:
    """Count the iteration in, tell the page, and decide. `workflow` is the id of the one it was queued from."""
    run = _carried(prompt, node_id) or _begin(prompt, node_id, workflow, made.flow, policy)
    judged = best_of_batch(sum(len(batch) for batch in made.images), made.critiques, made.rewards)
    run = _with_iteration(run, made, judged, keep)
    state, move = run.state.decided(BOARD.take_stop(run.place.prompt_id, run.place.node))
    run = replace(run, state=state)
    _tell(run)
    return _next(prompt, run, node_id, made.flow, move) if move is not None else _end(run, keep)


def _carried(prompt: Any, node_id: str) -> LoopRun | None:
    """The run, if this is a copy that an earlier iteration made."""
    run = prompt.get_node(node_id)["inputs"].get(CARRIED)
    return run if isinstance(run, LoopRun) else None


def _begin(prompt: Any, node_id: str, workflow: str | None, flow: Flow, policy: RefinePolicy) -> LoopRun:
    import folder_paths

    body = find_body(prompt, find_open(prompt, node_id), node_id, is_output)
    seed_wired = image_varies(body, frozenset({SEED_SLOT}))
    if not image_varies(body, frozenset({SEED_SLOT, ITERATION_SLOT})):
        policy = replace(policy, seeds="fixed")  # the same prompt would only give the same image again
    refine = RefineState(request=UserRequest(flow.original), base_seed=flow.base_seed, policy=policy)
    place = _place(prompt, node_id, workflow)
    files = LoopFiles(Path(folder_paths.get_temp_directory()), place.prompt_id, node_id)
    files.start(refine)
    return LoopRun(
        root=node_id,
        place=place,
        body=body,
        files=files,
        kept=Kept(),
        state=LoopState(refine=refine, seed_wired=seed_wired),
    )


def _place(prompt: Any, node_id: str, workflow: str | None) -> LoopPlace:
    from server import PromptServer

    shown = card_nodes(prompt.get_node(node_id), lambda name: prompt.get_node(name)["class_type"])
    return LoopPlace(
        prompt_id=_prompt_id(),
        node=prompt.get_display_node_id(node_id),
        workflow=workflow,
        client=PromptServer.instance.client_id,
        **{part: prompt.get_display_node_id(name) for part, name in shown.items()},
    )


def _with_iteration(run: LoopRun, made: Iteration, judged: Judged, keep: Keep) -> LoopRun:
    """Save this iteration, and keep its image if it would be handed on."""
    image = _picked(made.images, judged.index)
    step = run.state.step(made.flow, judged, made.proposal)
    saved = run.files.add(step, _saved(made, judged.index) or save_temp_image(to_pictures(image)[0]))
    card = _card(made.critiques[0], judged, saved, run.state.refine.policy) if made.critiques else None
    state = run.state.with_step(step, card, saved)
    if state.chosen(keep).index == step.index:
        run.kept.image = image.clone()  # not a view, which would hold the whole batch
    return replace(run, state=state)


def _card(critiques: Critiques, judged: Judged, saved: TempImage, policy: RefinePolicy) -> dict[str, Any]:
    shown = replace(critiques, outcomes=(judged.outcome,))
    dimensions, lowest = critiques.rubric.dimensions, critiques.rubric.scale.minimum
    minimums = {d.key: policy.minimum_score for d in dimensions} if policy.minimum_score > lowest else {}
    card = critique_cards(shown, [saved], minimums, policy.threshold)[0]
    return {**card, "reward": judged.reward}  # a number of the graph's own counts before the critique's


def _saved(made: Iteration, index: int) -> TempImage | None:
    """Image `index` of all batches as a critique's card shows it; None if it is shown by none."""
    for batch, critiques in zip(made.images, made.critiques, strict=False):
        if index < len(batch):
            return None if critiques.saved is None else critiques.saved.picture(batch, index)
        index -= len(batch)
    return None


def _picked(batches: Sequence[Any], index: int) -> Any:
    """Image `index` of all batches, [1, H, W, C]."""
    for batch in batches:
        if index < len(batch):
            return batch[index : index + 1]
        index -= len(batch)
    raise ConfigError("There is no image to judge; the batch is empty.")


def _next(prompt: Any, run: LoopRun, node_id: str, flow: Flow, move: Move) -> io.NodeOutput:
    """The graph of the next iteration; this node's outputs are those of its copy in there.

    The first node of a run names the run to the page: when a cache answers for the whole loop, that is all that is sent.
    """
    graph = copied(
        run.body,
        run.root,
        flow.iteration + 1,
        open_inputs=next_inputs(flow, move.request, move.seed),
        close_inputs={CARRIED: run},
    )
    taken = sorted(graph.keys() & prompt.get_original_prompt().keys())
    if taken:
        raise ConfigError(f"The workflow already has a node with the id {taken[0]!r}; rename it.")
    close = copy_id(run.body, run.root, flow.iteration + 1, run.body.close_id)
    named = {"prompt_id": run.place.prompt_id, "node": run.place.node}
    return io.NodeOutput(
        *([close, slot] for slot in range(7)),
        expand=graph,
        ui={"rr_loop_run": [named]} if node_id == run.root else None,
    )


def _end(run: LoopRun, keep: Keep) -> io.NodeOutput:
    state, chosen = run.state, run.state.chosen(keep)
    return io.NodeOutput(
        run.kept.image,
        float("nan") if chosen.reward is None else chosen.reward,
        chosen.request,
        chosen.seed,
        len(state.refine.steps),
        state.refine.reached,
        state.to_history(),
        ui={"rr_loop": [state.to_page(run.place)]},
    )


def _tell(run: LoopRun) -> None:
    """Show the iteration in the browser that queued it, now and after a reload."""
    from server import PromptServer

    BOARD.post(run.state.to_page(run.place))
    if run.place.client is not None:  # nobody else is told: other browsers have other runs
        PromptServer.instance.send_sync("rationalrewards.loop", run.state.to_event(run.place), run.place.client)


def _prompt_id() -> str | None:
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return None if context is None else context.prompt_id


def is_output(class_type: str) -> bool:
    """Whether the core runs nodes of this class for their own sake: savers and previews."""
    import nodes  # ComfyUI's own

    return bool(getattr(nodes.NODE_CLASS_MAPPINGS[class_type], "OUTPUT_NODE", False))
