"""Loop Start: the prompt and the seed of each iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from comfy_api.latest import io

from .judging import executing_node
from .loop_ends import OPEN_CLASS
from .schema import schema
from .sockets import FlowSocket

if TYPE_CHECKING:
    from .loop_state import Flow

MAX_SEED = 2**32 - 1
SEED_SLOT: Final = 1
ITERATION_SLOT: Final = 2


class LoopStart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id=OPEN_CLASS,
            display_name="Loop Start",
            description="Where a loop begins. Everything between this node and Loop Until Score is repeated, "
            "each time with a better prompt and another seed.",
            search_aliases=["loop", "while", "repeat", "refine", "until"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What you want. The first iteration uses it as it is; comments and choices in curly braces "
                    "are resolved once per run, as in the core's text encoder.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the first iteration, and base of the others. Keep it fixed while you tune the "
                    "loop, so that iterations that have not changed are not made again.",
                ),
                io.Combo.Input(
                    "seed_policy",
                    options=["increment", "random", "fixed"],
                    default="increment",
                    tooltip="Seeds of later iterations. increment: base, base + 1, ... random: drawn from the base, "
                    "the same ones every time. fixed: always the base, so only the prompt changes.",
                ),
            ],
            outputs=[
                io.String.Output("prompt", tooltip="Prompt of this iteration: wire it into the text encoder."),
                io.Int.Output("seed", tooltip="Seed of this iteration: wire it into the sampler."),
                io.Int.Output("iteration", tooltip="Number of this iteration, from 0."),
                FlowSocket.Output("flow", tooltip="To the flow input of Loop Until Score."),
                io.String.Output(
                    "original_prompt",
                    tooltip="The prompt as you wrote it, in every iteration: wire it into the critique, so that a "
                    "refined prompt is never judged by its own words.",
                ),
            ],
            hidden=[io.Hidden.dynprompt],
        )

    @classmethod
    def execute(cls, prompt: str, seed: int, seed_policy: str) -> io.NodeOutput:
        from .loop_state import Flow

        told = _told(cls.hidden.dynprompt)
        if not told:
            _check(cls.hidden.dynprompt, prompt)
        iteration = told.get("iteration", 0)
        original = told.get("original", prompt)
        seed %= MAX_SEED + 1  # a linked seed may be larger
        flow = Flow(
            original=original,
            base_seed=told.get("base_seed", seed),
            seeds=seed_policy,
            prompt=prompt,
            seed=seed,
            iteration=iteration,
        )
        return io.NodeOutput(prompt, seed, iteration, flow, original)


def next_inputs(flow: Flow, prompt: str, seed: int) -> dict[str, Any]:
    """The inputs of the Loop Start of the next iteration. Only text and numbers: they make cache keys, objects do not.

    `iteration`, `original` and `base_seed` are no inputs of the schema: nobody shall wire or type them.
    """
    return {
        "prompt": prompt,
        "seed": seed,
        "seed_policy": flow.seeds,
        "iteration": flow.iteration + 1,
        "original": flow.original,
        "base_seed": flow.base_seed,
    }


def _check(dynprompt: Any, prompt: str) -> None:
    from .loop_turn import is_output
    from .loop_wiring import check_loop

    node_id = executing_node()
    if dynprompt is not None and node_id is not None:
        check_loop(dynprompt, node_id, prompt, is_output)


def _told(dynprompt: Any) -> dict[str, Any]:
    """What the loop wrote on its copy of this node; nothing for a node that a person placed."""
    node_id = executing_node()
    if dynprompt is None or node_id is None or dynprompt.get_parent_node_id(node_id) is None:
        return {}
    inputs = dynprompt.get_node(node_id)["inputs"]
    return {name: inputs[name] for name in ("iteration", "original", "base_seed") if name in inputs}
