"""Prompt Refine: a better prompt where the critique says that something is missing, and the same prompt where not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.limits import MAX_REQUEST_CHARACTERS
from .schema import schema
from .show.origin import queued_from, with_origin
from .sockets import Critiques, CritiqueSocket

if TYPE_CHECKING:
    from ..rationalrewards_core.judged import Outcome
    from ..rationalrewards_core.rewording import Rewording, RewordingRules
    from ..rationalrewards_core.rubric import Rubric

STYLES = ("full rewrite", "minimal change")
MINIMUM = 3.0
MAX_LENGTH = 1500
"""What the core's rules say (a test compares them); they are imported when a prompt is reworded, not when ComfyUI starts."""


class PromptRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_PromptRefine",
            display_name="Prompt Refine",
            advanced=("minimums", "trigger_words", "prefix", "suffix", "max_length", "index"),
            description="Rewords the prompt where the critique finds a dimension below its minimum; what you fixed "
            "(quotes, trigger words, LoRA tags, weights, embeddings) stays.",
            search_aliases=["rewrite prompt", "improve prompt", "negative prompt", "refine", "rationalrewards"],
            has_intermediate_output=True,
            hidden=[io.Hidden.extra_pnginfo],
            inputs=[*_critique_inputs(), *_wording_inputs()],
            outputs=[
                io.String.Output("prompt", tooltip="The prompt to try next."),
                io.Boolean.Output("changed", tooltip="Whether it differs from the prompt that went in."),
                io.String.Output(
                    "comments", tooltip="Why: failing dimensions, the judge's comments, what was put back."
                ),
                io.String.Output("diff", tooltip="What changed, word by word, as Markdown."),
                io.String.Output(
                    "negative_prompt",
                    tooltip="The negative prompt to try next: yours, with what the critique says should not be there.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        critique: Critiques,
        prompt: str,
        style: str,
        minimum: float,
        minimums: str,
        trigger_words: str,
        prefix: str,
        suffix: str,
        max_length: int,
        index: int,
        negative_prompt: str = "",
    ) -> io.NodeOutput:
        from ..rationalrewards_core.rewording import RewordingRules
        from .judge.thresholds import parse_minimums
        from .show.markdown import word_diff

        outcome = _outcome_at(critique, index)
        before = prompt if prompt.strip() else critique.request.text
        rules = RewordingRules(
            style=style,  # type: ignore[arg-type]
            trigger_words=tuple(word.strip() for word in re.split(r"[,\n]", trigger_words) if word.strip()),
            prefix=prefix,
            suffix=suffix,
            max_length=max_length,
        )
        lowest = parse_minimums(minimums, critique.rubric)
        rewording = refined(before, outcome, critique.rubric, rules, minimum, lowest)
        negative, notes = _negative(negative_prompt, before, outcome, failing_below=(lowest, minimum))
        changed, comments = rewording.prompt != before, "\n".join((*rewording.notes, *notes))
        card = {"before": before, "after": rewording.prompt, "changed": changed, "comments": comments}
        return io.NodeOutput(
            rewording.prompt,
            changed,
            comments,
            word_diff(before, rewording.prompt),
            negative,
            ui=with_origin({"rr_refine": [card]}, queued_from(cls.hidden)),
        )


def refined(
    prompt: str,
    outcome: Outcome,
    rubric: Rubric,
    rules: RewordingRules,
    minimum: float,
    minimums: Mapping[str, float],
) -> Rewording:
    """The prompt, reworded only if a dimension fails and the judge wrote how; the notes say why in either case."""
    from ..rationalrewards_core.critique import Unscored
    from ..rationalrewards_core.reward import failing
    from ..rationalrewards_core.rewording import Rewording, reworded

    if isinstance(outcome, Unscored):
        return Rewording(prompt=prompt, notes=(f"The image could not be judged: {outcome.message}",))
    low = failing(outcome, minimums, minimum)
    if not low:
        return Rewording(prompt=prompt, notes=("Every dimension reaches its minimum; the prompt stays.",))
    scores = ", ".join(f"{rubric.dimension(key).title} {rubric.scale.format(outcome.scores[key])}" for key in low)
    why = f"Below the minimum: {scores}."
    if outcome.refinement is None:
        return Rewording(
            prompt=prompt, notes=(why, "The critique has no refined prompt: connect Rational Critique, not a score.")
        )
    rewording = reworded(prompt, outcome.refinement.request, rules)
    comments = outcome.refinement.comments.strip()
    return Rewording(prompt=rewording.prompt, notes=(why, *([comments] if comments else []), *rewording.notes))


def _negative(
    negative: str, prompt: str, outcome: Outcome, failing_below: tuple[Mapping[str, float], float]
) -> tuple[str, tuple[str, ...]]:
    """The negative prompt with what the critique says should not be there, if a dimension fails; and a note on it."""
    from ..rationalrewards_core.critique import Unscored
    from ..rationalrewards_core.reward import failing
    from ..rationalrewards_core.rewording import refined_negative

    if isinstance(outcome, Unscored) or not failing(outcome, *failing_below):
        return negative, ()
    refined, added = refined_negative(negative, prompt, outcome)
    return refined, ((f"Should not be there: {', '.join(added)}.",) if added else ())


def _outcome_at(critiques: Critiques, index: int) -> Outcome:
    """The critique of one image: by its position, or of the best image for -1."""
    count = len(critiques.outcomes)
    if index >= count:
        raise ConfigError(f"index is {index}, and there are {count} critiques: 0 to {count - 1}, or -1 for the best.")
    best: int = critiques.best or 0
    outcome: Outcome = critiques.outcomes[best if index < 0 else index]
    return outcome


def _critique_inputs() -> list[Any]:
    return [
        CritiqueSocket.Input(
            "critique", tooltip="From Rational Critique: why the image falls short, and a better prompt."
        ),
        io.String.Input(
            "prompt",
            multiline=True,
            default="",
            tooltip="The prompt that made the image, with its tags and weights. Empty takes the prompt that was judged.",
        ),
        io.Combo.Input(
            "style",
            options=list(STYLES),
            default=STYLES[0],
            tooltip="full rewrite: the judge's text, with what you fixed put back. minimal change: your prompt, with only "
            "what is new in the judge's text added.",
        ),
        io.Float.Input(
            "minimum",
            default=MINIMUM,
            min=-100.0,
            max=100.0,
            step=0.1,
            tooltip="Score below which a dimension may change the prompt.",
        ),
        io.String.Input(
            "minimums",
            multiline=True,
            default="",
            tooltip="Other minimums for single dimensions, such as text_rendering=3.5.",
        ),
    ]


def _wording_inputs() -> list[Any]:
    return [
        io.String.Input(
            "trigger_words",
            multiline=True,
            default="",
            tooltip="Words your LoRA was trained on, separated by commas or lines; those in the prompt are never lost.",
        ),
        io.String.Input("prefix", default="", tooltip="Every reworded prompt begins with exactly this."),
        io.String.Input("suffix", default="", tooltip="Every reworded prompt ends with exactly this."),
        io.Int.Input(
            "max_length",
            default=MAX_LENGTH,
            min=1,
            max=MAX_REQUEST_CHARACTERS,
            tooltip="Characters at most. Clauses are dropped from the end; what you fixed is never cut.",
        ),
        io.Int.Input(
            "index", default=-1, min=-1, max=4095, tooltip="Which image's critique, from 0; -1 takes the best image's."
        ),
        io.String.Input(
            "negative_prompt",
            multiline=True,
            default="",
            optional=True,
            tooltip="Your negative prompt, or Loop Start's. What a critique says should not be there (extra, unwanted, "
            "without, ...) is added to it on the negative_prompt output.",
        ),
    ]
