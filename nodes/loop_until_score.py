"""Loop Until Score: the end of a loop; what it does with an iteration is in `loop_turn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .loop_board import BOARD
from .loop_ends import CLOSE_CLASS
from .loop_inputs import until_inputs
from .schema import schema

if TYPE_CHECKING:
    from .loop_state import Flow, Keep
    from .sockets import Critiques


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
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt, io.Hidden.extra_pnginfo],
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
        from ..rationalrewards_core.refine import RefinePolicy
        from .loop_turn import Iteration, take_turn

        if len(flow) != 1:
            raise ConfigError("A loop runs over one prompt at a time: Loop Start was given a list of them.")
        policy = RefinePolicy(
            threshold=threshold[0],
            minimum_score=minimum_score[0],
            minimum_gain=minimum_gain[0],
            patience=patience[0],
            max_iterations=max_iterations[0],
            seeds=flow[0].seeds,
            refine_from=refine_from[0],
        )
        made = Iteration(
            flow=flow[0],
            images=image,
            critiques=critique or [],
            rewards=reward,
            proposal=refined_prompt[0] if refined_prompt else None,
        )
        hidden = cls.hidden
        return take_turn(hidden.dynprompt, hidden.unique_id, workflow_of(hidden.extra_pnginfo), made, policy, keep[0])


def workflow_of(extra_pnginfo: Any) -> str | None:
    """Id of the workflow that a page sends along with its prompt."""
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    name = workflow.get("id") if isinstance(workflow, dict) else None
    return name if isinstance(name, str) else None
