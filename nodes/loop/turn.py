"""One turn of Loop Until Score: judge the iteration, and make the graph of the next one or hand on the best.

Carried from one copy of the node to the next is one object, `LoopRun`; Loop Start is only told text and numbers.
That keeps every iteration cacheable and lets the tensors of finished iterations go. Iterations that are kept from an
earlier run are counted in here, without a graph.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy_api.latest import io

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.loop.policy import RefinePolicy
from ...rationalrewards_core.loop.refine import Move
from ..loop_start import giving_inputs, next_inputs
from ..show.cards import critique_cards
from ..show.origin import with_origin
from ..show.previews import TempImage, restored_temp_image, save_temp_image, temp_folder
from ..sockets import Critiques
from ..tensors import to_pictures
from .board import BOARD
from .graph import copied, copy_id, is_copy_id, with_picture
from .judgement import judgement_of
from .pause import paused
from .pictures import Save, describe, save_picture, settle
from .run import LoopRun, begin, picked
from .state import Flow, IterationCandidate, Keep, LoopState, best_of_batch

CARRIED = "carried_run"
"""The input under which a copy finds its `LoopRun`; it is not in the schema, so nobody can wire or type it."""
OUTPUTS = 7


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What the graph made and how it was judged."""

    images: Sequence[Any]
    """Batches [B, H, W, C]."""
    critiques: Sequence[Critiques]
    rewards: Sequence[float] | None
    """In [0, 1], NaN where unscored; None leaves the judgement to the critiques."""
    proposal: str | None
    """The prompt to try next; None leaves it to the critiques."""
    preview: TempImage | None = None
    """The picture as a file, of an iteration that was kept."""
    replayed: bool = False
    """Whether it comes from an earlier run as a whole."""


@dataclass(frozen=True, kw_only=True)
class LoopTurn:
    """Where a turn is taken, and what is to be done with its images."""

    prompt: Any
    node_id: str
    extra: Any
    """The `extra_pnginfo` of the prompt: its workflow, and what save nodes write beside it."""
    keep: Keep
    save: Save = "nothing"
    pause: bool = False


def take_turn(turn: LoopTurn, flow: Flow, iteration: Iteration | None, policy: RefinePolicy) -> io.NodeOutput:
    """Count the iteration in, tell the page, and decide. `iteration` is None if Loop Start has skipped the body."""
    run = _carried(turn) or begin(turn.prompt, turn.node_id, turn.extra, flow, policy)
    while True:
        run = replace(run, picture=run.replay.picture(flow, run.carried))
        iteration = iteration or _kept_iteration(run, flow)
        if iteration is None:
            return _expanded(turn, run, flow)
        run = _counted(turn, run, flow, iteration)
        state, move = run.state.decided(BOARD.take_stop(run.place.prompt_id, run.place.node))
        if turn.pause and move is not None:
            state, move = _pause_answer(replace(run, state=state), move)
        run, iteration = replace(run, state=state if move is not None else _overruled(run, state)), None
        _tell(run)
        if move is None:
            return _end(turn, run, flow)
        flow = _next(flow, move)


def _carried(turn: LoopTurn) -> LoopRun | None:
    """The run, if this is a copy that an earlier iteration made."""
    run = turn.prompt.get_node(turn.node_id)["inputs"].get(CARRIED)
    return run if isinstance(run, LoopRun) else None


def _next(flow: Flow, move: Move) -> Flow:
    return replace(flow, prompt=move.request, seed=move.seed, iteration=flow.iteration + 1)


def _kept_iteration(run: LoopRun, flow: Flow) -> Iteration | None:
    """The iteration as an earlier run left it; None if it was not made or not judged like this."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()
    store, picture = run.replay.store, run.picture
    if picture is None or not store.has(picture):
        return None
    judgement = run.replay.judgement(picture, flow, run.carried)
    images = None if judgement is None else store.images(picture)
    if judgement is None or images is None:
        return None
    return Iteration(
        images=images,
        critiques=judgement.critiques,
        rewards=judgement.rewards,
        proposal=judgement.proposal,
        preview=restored_temp_image(store.file(picture, judgement.preview)),
        replayed=True,
    )


def _counted(turn: LoopTurn, run: LoopRun, flow: Flow, iteration: Iteration) -> LoopRun:
    """Save this iteration, and hold its image if it would be handed on."""
    candidate = best_of_batch(sum(len(batch) for batch in iteration.images), iteration.critiques, iteration.rewards)
    image = picked(iteration.images, candidate.index)
    step = run.state.step(flow, candidate, iteration.proposal)
    temp = iteration.preview or _saved(iteration, candidate.index) or save_temp_image(to_pictures(image)[0])
    if not iteration.replayed:
        _keep(run, flow, iteration, temp)
    saved = run.files.add(step, temp)
    card = _card(iteration.critiques[0], candidate, saved, run.state.refine.policy) if iteration.critiques else None
    key = None if run.picture is None else f"{run.picture}/{candidate.index}"
    now = time.monotonic()
    seconds = None if run.since is None or iteration.replayed else round(now - run.since, 2)
    state = run.state.with_step(step, card, saved, kept=key, replayed=iteration.replayed, seconds=seconds)
    if state.chosen(turn.keep).index == step.index:
        run.held.hold(image.clone(), key, temp["filename"])  # not a view, which would hold the whole batch
    if turn.save == "every image":
        save_picture(run, state.rows[-1], image, temp["filename"])
    goes_on = turn.keep == "last" or state.refine.best is not None
    return replace(run, state=state, goes_on=goes_on, since=now)


def _keep(run: LoopRun, flow: Flow, iteration: Iteration, temp: TempImage) -> None:
    in_store = run.picture is not None and run.replay.store.has(run.picture)
    judgement = judgement_of(iteration.critiques, iteration.rewards, iteration.proposal, temp["filename"])
    batches = None if in_store else iteration.images
    run.replay.keep(run.picture, flow, run.carried, batches, judgement, temp_folder() / temp["filename"])


def _card(
    critiques: Critiques, candidate: IterationCandidate, saved: TempImage, policy: RefinePolicy
) -> dict[str, Any]:
    one_card = replace(critiques, outcomes=(candidate.outcome,))
    dimensions, lowest = critiques.rubric.dimensions, critiques.rubric.scale.minimum
    minimums = {d.key: policy.minimum_score for d in dimensions} if policy.minimum_score > lowest else {}
    card = critique_cards(one_card, [saved], minimums, policy.threshold)[0]
    return {**card, "reward": candidate.reward}  # a number of the graph's own counts before the critique's


def _saved(iteration: Iteration, index: int) -> TempImage | None:
    """Image `index` of all batches as a critique's card shows it; None if it is shown by none."""
    for batch, critiques in zip(iteration.images, iteration.critiques, strict=False):
        if index < len(batch):
            return None if critiques.saved is None else critiques.saved.picture(batch, index)
        index -= len(batch)
    return None


def _expanded(turn: LoopTurn, run: LoopRun, flow: Flow) -> io.NodeOutput:
    """The graph of an iteration; this node's outputs are those of its copy in there.

    The first node of a run names the run to the page: when a cache answers for the whole loop, that is all that is sent.
    """
    carried = run.held.name if run.carries and run.goes_on else None
    graph = copied(
        run.body,
        run.root,
        flow.iteration,
        open_inputs=next_inputs(flow, carried, run.parts),
        close_inputs={CARRIED: run},
    )
    opened, closed = (
        copy_id(run.body, run.root, flow.iteration, each) for each in (run.body.open_id, run.body.close_id)
    )
    if run.picture is not None and len(run.replay.store.images(run.picture) or ()) == 1:
        graph = with_picture(graph, opened, closed, giving_inputs(run.picture))
    copies = [name for name in sorted(turn.prompt.get_original_prompt()) if is_copy_id(run.body, run.root, name)]
    if copies:
        raise ConfigError(f"The workflow already has a node with the id {copies[0]!r}; rename it.")
    describe(turn.extra, run, flow, None)
    address = {"prompt_id": run.place.prompt_id, "node": run.place.node}
    return io.NodeOutput(
        *([closed, slot] for slot in range(OUTPUTS)),
        expand=graph,
        ui=with_origin({"rr_loop_run": [address]}, run.place.workflow) if turn.node_id == run.root else None,
    )


def _pause_answer(run: LoopRun, move: Move) -> tuple[LoopState, Move | None]:
    """The next move as a person wants it, or the reason to stop."""
    place, row = run.place, run.state.rows[-1]

    def show(waits: bool) -> None:
        waiting = {"prompt": move.request, "seed": move.seed} if waits else None
        _tell(replace(run, state=replace(run.state, waiting=waiting)))

    best = run.state.refine.best
    again = run.state.refine.request.text if best is None else best.request
    choice = paused((place.prompt_id, place.node), run.picture, row["replayed"], move, again, show)
    return (run.state, choice) if isinstance(choice, Move) else (replace(run.state, stop=choice), None)


def _overruled(run: LoopRun, state: LoopState) -> LoopState:
    """With the iteration that a person wants, if it is among these; its image is held then."""
    choice = BOARD.choice(run.place.workflow, run.place.node)
    index = next((row["index"] for row in state.rows if choice is not None and row["kept"] == choice), None)
    if index is None or choice is None:
        return state
    batches = run.replay.store.images(choice.partition("/")[0])
    if not batches:
        return state
    image = picked(batches, int(choice.rpartition("/")[2])).clone()
    run.held.hold(image, choice, choice.partition("/")[0])
    return replace(state, overruled=index)


def _end(turn: LoopTurn, run: LoopRun, flow: Flow) -> io.NodeOutput:
    state, handed = run.state, run.state.chosen(turn.keep)
    flow = replace(flow, prompt=handed.request, seed=handed.seed, iteration=handed.index)
    row = state.rows[handed.index]
    if turn.save == "best image":
        save_picture(run, row, run.held.image, run.held.preview)
    describe(turn.extra, run, flow, row)
    run.replay.store.settle()
    settle()
    return io.NodeOutput(
        run.held.image,
        float("nan") if handed.reward is None else handed.reward,
        handed.request,
        handed.seed,
        len(state.refine.steps),
        state.refine.reached,
        state.to_history(),
        ui=with_origin({"rr_loop": [state.to_page(run.place)]}, run.place.workflow),
    )


def _tell(run: LoopRun) -> None:
    """Show the iteration in the browser that queued it, now and after a reload."""
    from server import PromptServer

    BOARD.post(run.state.to_page(run.place), run.story)
    if run.place.client is not None:  # nobody else is told: other browsers have other runs
        PromptServer.instance.send_sync("rationalrewards.loop", run.state.to_event(run.place), run.place.client)
