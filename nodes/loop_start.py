"""Loop Start: the prompt and the seed of each iteration."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from comfy_api.latest import io

from .context import executing_node
from .loop.ends import MAX_SEED, NEGATIVE_SLOT, OPEN_CLASS
from .schema import schema
from .sockets import FlowSocket

if TYPE_CHECKING:
    from .loop.state import Flow

TOLD: Final = ("iteration", "original", "base_seed", "carried", "parted")
"""Inputs that only a loop writes, on its copies of this node."""


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
                    "loop: iterations with the same prompt and seed are kept, and not made again.",
                ),
                io.Combo.Input(
                    "seed_policy",
                    options=["increment", "random", "fixed"],
                    default="increment",
                    tooltip="Seeds of later iterations. increment: base, base + 1, ... random: drawn from the base, "
                    "the same ones every time. fixed: always the base, so only the prompt changes.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="For loops that edit: the image to begin with. It comes out again in the first iteration; in "
                    "later ones, the best image so far does.",
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
                io.Image.Output(
                    "image",
                    tooltip="The image to go on from: the one you gave in the first iteration, then the best so far. Wire "
                    "it into an encoder or an edit model.",
                ),
                io.String.Output(
                    "negative_prompt",
                    tooltip="What stands behind `Negative prompt:` at the end of your prompt, and what Prompt Refine added "
                    "to it. Once this is wired, the prompt outputs come without it.",
                ),
            ],
            hidden=[io.Hidden.dynprompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_inputs: Any) -> str:
        """Asked again when the loop has changed: its first iteration may be kept from an earlier run."""
        from comfy_execution.progress import get_progress_state

        from .loop.replay import first_fingerprint

        prompt, node_id = get_progress_state().dynprompt, executing_node()
        if node_id is None or not prompt.has_node(node_id) or _told(prompt):
            return ""
        fingerprint = first_fingerprint(prompt, get_progress_state().prompt_id, node_id)
        return f"{fingerprint} parted" if _parts(prompt, node_id) else fingerprint

    @classmethod
    def execute(cls, prompt: str, seed: int, seed_policy: str, image: Any = None) -> io.NodeOutput:
        from ..rationalrewards_core.rewording import split_negative
        from .loop.run import held_image, running_prompt_id
        from .loop.state import first_flow

        dynprompt = cls.hidden.dynprompt
        literals = _told(dynprompt)
        flow = first_flow(prompt, seed, seed_policy)
        skipped = not literals and _skipped(dynprompt, flow)
        flow = replace(
            flow,
            original=literals.get("original", prompt),
            base_seed=literals.get("base_seed", flow.seed),
            iteration=literals.get("iteration", 0),
            skipped=skipped,
            prompt_id=running_prompt_id(),
            began=time.monotonic(),
        )
        parted = literals.get("parted", not literals and _parts(dynprompt, executing_node()))
        text, negative = split_negative(prompt) if parted else (prompt, "")
        original = split_negative(flow.original)[0] if parted else flow.original
        if skipped:
            return io.NodeOutput(*[_nothing()] * 3, flow, original, _nothing(), _nothing())
        image = held_image(literals["carried"]) if "carried" in literals else image
        return io.NodeOutput(text, flow.seed, flow.iteration, flow, original, image, negative)


def next_inputs(flow: Flow, carried: str | None, parted: bool = False) -> dict[str, Any]:
    """The inputs of the Loop Start of an iteration. Only text and numbers: they make cache keys, objects do not.

    `TOLD` are no inputs of the schema: nobody shall wire or type them. `carried` names the image to go on from; `parted`
    says that the body takes the negative prompt apart from the prompt.
    """
    return {
        "prompt": flow.prompt,
        "seed": flow.seed,
        "seed_policy": flow.seeds,
        "iteration": flow.iteration,
        "original": flow.original,
        "base_seed": flow.base_seed,
        "carried": carried,
        **({"parted": True} if parted else {}),  # absent elsewhere: what is cached of other loops stays
    }


def giving_inputs(carried: str) -> dict[str, Any]:
    """The inputs of a Loop Start that only hands on a kept image."""
    defaults = {"prompt": "", "seed": 0, "seed_policy": "fixed", "iteration": 0, "original": "", "base_seed": 0}
    return {**defaults, "carried": carried}


def _skipped(dynprompt: Any, flow: Flow) -> bool:
    """Whether the body need not run. What is wrong with the wires is said here, before anything is made."""
    from .loop.graph import is_output
    from .loop.replay import FIRST_ITERATIONS, replay_of
    from .loop.run import running_prompt_id
    from .loop.wiring import check_loop

    node_id = executing_node()
    if dynprompt is None or node_id is None:
        return False
    check_loop(dynprompt, node_id, flow.prompt, is_output)
    skipped = replay_of(dynprompt, running_prompt_id(), node_id).skips(flow)
    if skipped:
        FIRST_ITERATIONS.skipped(node_id)
    return skipped


def _parts(dynprompt: Any, node_id: str | None) -> bool:
    """Whether the negative prompt is wired to something, so that the prompt goes without it."""
    if dynprompt is None or node_id is None:
        return False
    wire = [node_id, NEGATIVE_SLOT]
    return any(wire in dynprompt.get_node(each)["inputs"].values() for each in dynprompt.all_node_ids())


def _nothing() -> Any:
    """An output that keeps the nodes it is wired to from running, without a word."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(None)


def _told(dynprompt: Any) -> dict[str, Any]:
    """What the loop wrote on its copy of this node; nothing for a node that a person placed."""
    node_id = executing_node()
    if dynprompt is None or node_id is None or dynprompt.get_parent_node_id(node_id) is None:
        return {}
    inputs = dynprompt.get_node(node_id)["inputs"]
    return {name: inputs[name] for name in TOLD if name in inputs}
