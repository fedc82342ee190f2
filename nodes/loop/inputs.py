"""The inputs of Loop Until Score."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...rationalrewards_core.loop.policy import RefinePolicy
from ..sockets import CritiqueSocket, FlowSocket

MAX_ITERATIONS = 100
RULES = RefinePolicy()
"""The rules of a loop that nobody has told otherwise."""
BODY_INPUTS = ("image", "critique", "reward", "refined_prompt", "refined_negative")
"""What an iteration makes; a kept one is not asked for it."""


def until_inputs() -> list[Any]:
    """New widgets are appended last: workflow files hold widget values by position. Why they are lazy: `check_lazy_status`."""
    return [
        FlowSocket.Input("flow", tooltip="From the flow output of Loop Start."),
        io.Image.Input("image", lazy=True, tooltip="The image of this iteration; of a batch, its best one counts."),
        CritiqueSocket.Input(
            "critique", lazy=True, optional=True, tooltip="From Rational Critique. It or a reward is needed."
        ),
        io.Float.Input(
            "reward",
            lazy=True,
            optional=True,
            force_input=True,
            tooltip="A reward from 0 to 1, one per image, if you judge by something else than the critique's own "
            "reward. NaN means unscored.",
        ),
        io.String.Input(
            "refined_prompt",
            lazy=True,
            optional=True,
            force_input=True,
            tooltip="The prompt to try next, from Prompt Refine. Without it the critique's own refinement is used.",
        ),
        io.Float.Input(
            "threshold",
            lazy=True,
            default=RULES.threshold,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="The loop ends as soon as an image's reward is at least this, 0 to 1.",
        ),
        io.Int.Input(
            "max_iterations",
            lazy=True,
            default=RULES.max_iterations,
            min=1,
            max=MAX_ITERATIONS,
            tooltip="The loop ends after this many iterations.",
        ),
        io.Int.Input(
            "patience",
            lazy=True,
            default=RULES.patience,
            min=1,
            max=MAX_ITERATIONS,
            tooltip="The loop ends when this many iterations in a row brought no improvement.",
        ),
        io.Float.Input(
            "minimum_gain",
            lazy=True,
            default=RULES.minimum_gain,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="An image replaces the best so far only if its reward is higher by more than this.",
        ),
        io.Float.Input(
            "minimum_score",
            lazy=True,
            default=RULES.minimum_score,
            min=-100.0,
            max=100.0,
            step=0.1,
            tooltip="No dimension may score below this, on the rubric's own scale (1 to 4), for the loop to be "
            "content. 0 looks at the reward alone.",
        ),
        io.Combo.Input(
            "keep",
            lazy=True,
            options=["best", "last"],
            default="best",
            tooltip="Which image is handed on: the best of all iterations, or the last one.",
        ),
        io.Combo.Input(
            "refine_from",
            lazy=True,
            options=["best", "latest"],
            default=RULES.refine_from,
            tooltip="Whose refined prompt is tried next: the best iteration's, or the latest one's.",
        ),
        io.Combo.Input(
            "save",
            lazy=True,
            optional=True,
            options=["nothing", "best image", "every image"],
            default="nothing",
            tooltip="What the loop itself saves, as PNG in output/rationalrewards/loops: each with the prompt and seed that "
            "made it, its scores and its critique. Opened in ComfyUI, such a file makes this image again.",
        ),
        io.Boolean.Input(
            "pause",
            lazy=True,
            optional=True,
            default=False,
            tooltip="After each critique the loop waits for you: its node shows the next prompt, and you change it, take it or skip it. It waits as long as you like.",
        ),
        io.String.Input(
            "refined_negative",
            lazy=True,
            optional=True,
            force_input=True,
            tooltip="The negative prompt to try next, from Prompt Refine. Loop Start hands it out apart from the prompt.",
        ),
    ]
