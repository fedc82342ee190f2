"""Multi-Dim Score: the fast path over a batch, with a gate that needs no loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from comfy_api.latest import io

from ..rationalrewards_core.loop.policy import RefinePolicy
from ..rationalrewards_core.rubric_file import edit_rubric
from .schema import schema
from .sockets import Critiques, CritiqueSocket, RubricSocket, ScorerSocket

DIMENSION_SLOTS: Final = ("text_faithfulness", "image_faithfulness", "physical_quality", "text_rendering")
"""Outputs 1 to 4 of every saved workflow: they stay, whatever the shipped rubrics become. A dimension that these gain gets
an output after all others."""
NOT_JUDGED = "not a number (NaN) where it is N/A or the image could not be judged"


class MultiDimScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_MultiDimScore",
            display_name="Multi-Dim Score",
            advanced=("minimums", "weights"),
            description="Scores a batch per dimension in the judge's fast mode, ranks it, and tells whether the best "
            "image passes.",
            search_aliases=[
                "reward",
                "score",
                "rank images",
                "gate",
                "best of batch",
                "quality",
                "aesthetic",
                "evaluate",
                "rationalrewards",
            ],
            is_output_node=True,
            has_intermediate_output=True,
            hidden=[io.Hidden.extra_pnginfo],
            inputs=_inputs(),
            outputs=_outputs(),
        )

    @classmethod
    async def execute(
        cls,
        scorer: Any,
        images: Any,
        prompt: str,
        threshold: float,
        minimums: str,
        weights: str,
        source_image: Any = None,
        rubric: Any = None,
    ) -> io.NodeOutput:
        from ..rationalrewards_core.critique import Critique
        from .judge.judging import judged, requests_of
        from .judge.ranking import best_or_blocked, ranked
        from .judge.thresholds import Gate, parse_minimums, parse_weights
        from .show.cards import critique_cards
        from .show.origin import queued_from, with_origin
        from .show.previews import saved_batch, start_saving
        from .tensors import pictures_and_flaws

        pictures, flaws = pictures_and_flaws(images)
        requests = requests_of(prompt, len(pictures), source_image)
        # What the user typed is read before the judge is paid.
        own_rubric = rubric if rubric is not None else scorer.rubric_for(requests[0])
        gate = Gate(threshold=threshold, minimums=parse_minimums(minimums, own_rubric))
        saving = start_saving(pictures)
        critiques = await judged(
            scorer,
            requests,
            pictures,
            "score",
            flaws=flaws,
            rubric=rubric,
            weights=parse_weights(weights, own_rubric),
        )
        order = ranked(critiques, gate)
        best_index, best_image = best_or_blocked(critiques, order[0], images)
        best = critiques.outcomes[order[0]]
        saved = saved_batch(images, saving)
        values = {
            "reward": [math.nan if reward is None else reward for reward in critiques.rewards],
            **{key: [_score(outcome, key) for outcome in critiques.outcomes] for key in _dimensions()},
            "spread": [_spread(critiques, index) for index in range(len(pictures))],
            "passed": isinstance(best, Critique) and gate.passes(best, critiques.rubric),
            "best_index": best_index,
            "best_image": best_image,
            "ranked_images": images[order],
            "critique": replace(critiques, saved=saved),
        }
        cards = critique_cards(critiques, saved.pictures, gate.minimums, threshold)
        ui = with_origin({"rr_critique": cards}, queued_from(cls.hidden))
        return io.NodeOutput(*(values[output.id] for output in _outputs()), ui=ui)


def _inputs() -> list[Any]:
    return [
        ScorerSocket.Input("scorer", tooltip="The judge, from Load Rational Scorer."),
        io.Image.Input("images", tooltip="The images to score; a batch is ranked."),
        io.String.Input(
            "prompt",
            multiline=True,
            default="",
            tooltip="What the images were asked to show; for an edit, the instruction.",
        ),
        io.Float.Input(
            "threshold",
            default=RefinePolicy().threshold,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Reward from which an image passes, 0 to 1 (0.85 is a mean score of 3.55 on the scale 1 to 4).",
        ),
        io.String.Input(
            "minimums",
            multiline=True,
            default="",
            tooltip="Scores that single dimensions must reach, such as text_faithfulness=3.5, text_rendering=3. "
            "A dimension judged N/A fails nothing.",
        ),
        io.String.Input(
            "weights",
            multiline=True,
            default="",
            tooltip="Weights in the reward, such as text_faithfulness=2, physical_quality=1; empty keeps the rubric's.",
        ),
        io.Image.Input(
            "source_image",
            optional=True,
            tooltip="For edits: the image before it. One for the whole batch, or one for each image.",
        ),
        RubricSocket.Input(
            "rubric", optional=True, tooltip="Judge by this rubric (Custom Rubric) instead of the scorer's own."
        ),
    ]


def _dimensions() -> list[str]:
    """Keys of the dimensions that have an output: the slots of saved workflows, then what the shipped rubrics gained."""
    return list(dict.fromkeys((*DIMENSION_SLOTS, *(d.key for d in edit_rubric().dimensions))))


def _outputs() -> list[Any]:
    slots, gained = _dimensions()[: len(DIMENSION_SLOTS)], _dimensions()[len(DIMENSION_SLOTS) :]
    return [
        io.Float.Output(
            "reward",
            is_output_list=True,
            tooltip="Reward of each image, 0 to 1; not a number (NaN) where an image could not be judged.",
        ),
        *map(_dimension_output, slots),
        io.Float.Output(
            "spread",
            is_output_list=True,
            tooltip="Standard deviation of each reward under the token probabilities of its scores' digits; they follow the "
            "justification, so a small one says little about how sure the judge is. "
            "NaN where the engine tells no probabilities.",
        ),
        io.Boolean.Output(
            "passed", tooltip="Whether the best image reaches the threshold and every minimum; for an If/Else switch."
        ),
        io.Int.Output("best_index", tooltip="Position of the best image in the batch, from 0."),
        io.Image.Output("best_image", tooltip="The best image; images that pass come before images that don't."),
        io.Image.Output("ranked_images", tooltip="All images, best first; images that could not be judged come last."),
        CritiqueSocket.Output(
            "critique", tooltip="The scores as critiques (without a refined prompt), in batch order."
        ),
        # A new output goes here while no dimension was gained: what is gained later then stands behind it.
        *map(_dimension_output, gained),
    ]


def _dimension_output(key: str) -> Any:
    titles = {d.key: d.title for d in edit_rubric().dimensions}
    return io.Float.Output(key, is_output_list=True, tooltip=f"{titles.get(key, key)} of each image; {NOT_JUDGED}.")


def _score(outcome: object, key: str) -> float:
    """One dimension's score; NaN where it is N/A, unscored, or no dimension of the rubric."""
    from ..rationalrewards_core.critique import Critique

    score = outcome.scores.get(key) if isinstance(outcome, Critique) else None
    return math.nan if score is None else score


def _spread(critiques: Critiques, index: int) -> float:
    from ..rationalrewards_core.critique import Critique
    from ..rationalrewards_core.reward import reward_spread

    outcome = critiques.outcomes[index]
    spread = reward_spread(outcome, critiques.rubric) if isinstance(outcome, Critique) else None
    return math.nan if spread is None else spread
