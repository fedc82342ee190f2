"""Loop Until Score: judges an iteration, and either makes the graph of the next one or hands on the best.

Carried from one copy of this node to the next is one object, `LoopRun`; Loop Start is only told text and numbers.
That keeps every iteration cacheable and lets the tensors of finished iterations go.
"""

from __future__ import annotations

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
from .loop_graph import CLOSE_CLASS, LoopBody, copied, copy_id, find_body, find_open
from .loop_inputs import until_inputs
from .loop_start import next_inputs
from .loop_state import Flow, Judged, Keep, LoopState, best_of_batch
from .previews import TempImage
from .schema import schema
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
    node: str
    """Id of the node that the user sees."""
    prompt_id: str | None
    body: LoopBody
    files: LoopFiles
    kept: Kept
    state: LoopState


class LoopUntilScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id=CLOSE_CLASS,
            display_name="Loop Until Score",
            description="Where a loop ends: repeats everything since Loop Start until an image scores high enough, "
            "and hands on the best one. Every iteration is kept in ComfyUI's temp folder.",
            search_aliases=["loop", "while", "repeat", "best of", "early stop"],
            inputs=until_inputs(),
            outputs=[
                io.Image.Output("best_image", tooltip="The best image of all iterations (or the last, see keep)."),
                io.Float.Output("best_reward", tooltip="Its reward, 0 to 1; NaN if no iteration could be scored."),
                io.String.Output("best_prompt", tooltip="The prompt it was made with."),
                io.Int.Output("best_seed", tooltip="The seed it was made with."),
                io.Int.Output("iterations", tooltip="How many iterations were run."),
                io.Boolean.Output("reached", tooltip="Whether the threshold was reached, with no dimension failing."),
                io.String.Output("history", tooltip="Every iteration with its critique, as JSON."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_output_node=True,
            is_input_list=True,
            not_idempotent=True,  # two loops alike are two loops: each has its own iterations to show
            enable_expand=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_inputs: Any) -> int:
        """A loop that was stopped goes on when it is queued again, though nothing in the graph has changed."""
        return BOARD.stopped(cls.hidden.unique_id) if cls.hidden is not None else 0

    @classmethod
    def execute(
        cls,
        flow: list[Flow],
        image: list[Any],
        threshold: list[float],
        max_iterations: list[int],
        patience: list[int],
        minimum_gain: list[float],
        minimum_score: list[float],
        keep: list[Keep],
        refine_from: list[Any],
        critique: list[Critiques] | None = None,
        reward: list[float] | None = None,
        refined_prompt: list[str] | None = None,
    ) -> io.NodeOutput:
        if len(flow) != 1:
            raise ConfigError("A loop runs over one prompt at a time: Loop Start was given a list of them.")
        policy = RefinePolicy(
            threshold=threshold[0],
            minimum=minimum_score[0],
            margin=minimum_gain[0],
            patience=patience[0],
            max_images=max_iterations[0],
            seeds=flow[0].seeds,
            refine_from=refine_from[0],
        )
        node_id, prompt = cls.hidden.unique_id, cls.hidden.dynprompt
        run = _carried(prompt, node_id) or _begin(prompt, node_id, flow[0], policy)
        judged = best_of_batch(sum(len(batch) for batch in image), critique or [], reward)
        proposal = refined_prompt[0] if refined_prompt else None
        run = _with_iteration(run, flow[0], _picked(image, judged.index), judged, critique or [], proposal, keep[0])
        state, move = run.state.decided(BOARD.take_stop(run.prompt_id, run.node))
        run = replace(run, state=state)
        _tell(run)
        return _next(prompt, run, flow[0], move) if move is not None else _end(run, keep[0])


def _carried(prompt: Any, node_id: str) -> LoopRun | None:
    """The run, if this is a copy that an earlier iteration made."""
    run = prompt.get_node(node_id)["inputs"].get(CARRIED)
    return run if isinstance(run, LoopRun) else None


def _begin(prompt: Any, node_id: str, flow: Flow, policy: RefinePolicy) -> LoopRun:
    import folder_paths

    refine = RefineState(request=UserRequest(flow.original), base_seed=flow.base_seed, policy=policy)
    prompt_id = _prompt_id()
    files = LoopFiles(Path(folder_paths.get_temp_directory()), prompt_id, node_id)
    body = find_body(prompt, find_open(prompt, node_id), node_id, _is_output)
    files.start(refine)
    return LoopRun(
        root=node_id,
        node=prompt.get_display_node_id(node_id),
        prompt_id=prompt_id,
        body=body,
        files=files,
        kept=Kept(),
        state=LoopState(refine=refine),
    )


def _with_iteration(
    run: LoopRun,
    flow: Flow,
    image: Any,
    judged: Judged,
    critiques: list[Critiques],
    proposal: str | None,
    keep: Keep,
) -> LoopRun:
    """Save this iteration, and keep its image if it would be handed on."""
    step = run.state.step(flow, judged, proposal)
    saved = run.files.add(replace(step, image=to_pictures(image)[0]))
    card = _card(critiques[0], judged, saved, run.state.refine.policy) if critiques else None
    state = run.state.with_step(step, card, saved)
    if state.chosen(keep).index == step.index:
        run.kept.image = image.clone()  # not a view, which would hold the whole batch
    return replace(run, state=state)


def _card(critiques: Critiques, judged: Judged, saved: TempImage, policy: RefinePolicy) -> dict[str, Any]:
    shown = replace(critiques, outcomes=(judged.outcome,))
    dimensions, lowest = critiques.rubric.dimensions, critiques.rubric.scale.minimum
    minimums = {d.key: policy.minimum for d in dimensions} if policy.minimum > lowest else {}
    card = critique_cards(shown, [saved], minimums, policy.threshold)[0]
    return {**card, "reward": judged.reward}  # a number of the graph's own counts before the critique's


def _picked(batches: list[Any], index: int) -> Any:
    """Image `index` of all batches, [1, H, W, C]."""
    for batch in batches:
        if index < len(batch):
            return batch[index : index + 1]
        index -= len(batch)
    raise ConfigError("There is no image to judge; the batch is empty.")


def _next(prompt: Any, run: LoopRun, flow: Flow, move: Move) -> io.NodeOutput:
    """The graph of the next iteration; this node's outputs are those of its copy in there."""
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
    return io.NodeOutput(*([close, slot] for slot in range(7)), expand=graph)


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
        ui={"rr_loop": [state.to_page(run.node, run.prompt_id)]},
    )


def _tell(run: LoopRun) -> None:
    """Show the iteration on the page, now and after a reload."""
    from server import PromptServer

    page = run.state.to_page(run.node, run.prompt_id)
    BOARD.post(page)
    server = PromptServer.instance
    server.send_sync("rationalrewards.loop", page)
    server.send_progress_text(run.state.status(), run.node)


def _prompt_id() -> str | None:
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return None if context is None else context.prompt_id


def _is_output(class_type: str) -> bool:
    import nodes  # ComfyUI's own

    return bool(getattr(nodes.NODE_CLASS_MAPPINGS[class_type], "OUTPUT_NODE", False))
