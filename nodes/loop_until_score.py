"""Loop Until Score: the end of a loop; what it does with an iteration is in `loop.turn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .loop.board import BOARD
from .loop.ends import CLOSE_CLASS
from .loop.inputs import BODY_INPUTS, until_inputs
from .schema import schema

if TYPE_CHECKING:
    from .loop.pictures import Save
    from .loop.state import Flow, Keep
    from .sockets import Critiques


class LoopUntilScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id=CLOSE_CLASS,
            display_name="Loop Until Score",
            advanced=("patience", "minimum_gain", "keep", "refine_from"),
            description="Where a loop ends: repeats everything since Loop Start until an image scores high enough, "
            "and hands on the best one. Every iteration is kept, so that none is made twice.",
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
        """A loop that was stopped, or whose choice was overruled, runs again though nothing in the graph has changed."""
        return BOARD.wishes(cls.hidden.unique_id) if cls.hidden is not None else 0

    @classmethod
    def check_lazy_status(cls, flow: list[Flow], **inputs: list[Any]) -> list[str]:
        """All inputs are asked for when Loop Start has run; those of the body only if it has not skipped the body.

        All of them are lazy, so that the body is asked for before it runs for a preview's sake: without a cache it would
        run a second time.
        """
        unneeded = BODY_INPUTS if flow[0].skipped else ()
        return [name for name, values in inputs.items() if name not in unneeded and all(v is None for v in values)]

    @classmethod
    def execute(
        cls,
        flow: list[Flow],
        threshold: list[float],
        max_iterations: list[int],
        patience: list[int],
        minimum_gain: list[float],
        minimum_score: list[float],
        keep: list[Keep],
        refine_from: list[Any],
        image: Sequence[Any] = (None,),
        critique: Sequence[Critiques | None] = (None,),
        reward: Sequence[float | None] = (None,),
        refined_prompt: Sequence[str | None] = (None,),
        save: Sequence[Save] = ("nothing",),
        pause: Sequence[bool] = (False,),
        refined_negative: Sequence[str | None] = (None,),
    ) -> io.NodeOutput:
        from ..rationalrewards_core.loop.policy import RefinePolicy
        from ..rationalrewards_core.rewording import with_negative
        from .loop.turn import Iteration, LoopTurn, take_turn

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
        proposal = refined_prompt[0]
        if proposal and proposal.strip():
            proposal = with_negative(proposal, refined_negative[0] or "")
        iteration = Iteration(
            images=image,
            critiques=[one for one in critique if one is not None],
            rewards=[one for one in reward if one is not None] or None,
            proposal=proposal,
        )
        hidden = cls.hidden
        return take_turn(
            LoopTurn(
                prompt=hidden.dynprompt,
                node_id=hidden.unique_id,
                extra=hidden.extra_pnginfo,
                keep=keep[0],
                save=save[0],
                pause=pause[0],
            ),
            flow[0],
            None if flow[0].skipped else iteration,
            policy,
        )
