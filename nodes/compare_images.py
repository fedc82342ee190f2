"""Judge Two Images (the core has a Compare Images of its own): which of two images answers the prompt better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import RequestError
from .context import executing_node
from .schema import schema
from .sockets import ScorerSocket

if TYPE_CHECKING:
    from ..rationalrewards_core.comparison import Comparison
    from ..rationalrewards_core.rubric import Rubric
    from ..rationalrewards_core.scorer import CompareMethod

METHODS: tuple[CompareMethod, ...] = ("pointwise", "pairwise")


class CompareImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_CompareImages",
            display_name="Judge Two Images",
            description="Which of two images is better: by two separate critiques, or side by side in both orders.",
            search_aliases=["compare images", "pairwise", "a/b test", "preference", "winner", "rationalrewards"],
            inputs=_inputs(),
            outputs=[
                io.String.Output("winner", tooltip="A, B or TIE."),
                io.Image.Output("better_image", tooltip="The winning image; A if it is a tie."),
                io.String.Output("report", tooltip="Both scores per dimension and the evidence, as Markdown."),
                io.Float.Output("margin", tooltip="Reward of A minus reward of B, -1 to 1."),
                io.Boolean.Output(
                    "orders_agree",
                    tooltip="Whether both orders name the same winner; pointwise always does, it shows one at a time.",
                ),
            ],
        )

    @classmethod
    async def execute(
        cls, scorer: Any, image_a: Any, image_b: Any, prompt: str, method: str, source_image: Any = None
    ) -> io.NodeOutput:
        from ..rationalrewards_core.comparison import Verdict, pair_rewards
        from .judge.judging import requests_of

        request = requests_of(prompt, 1, source_image)[0]
        comparison = await scorer.compare(request, _only(image_a, "A"), _only(image_b, "B"), method, executing_node())
        rubric = scorer.rubric_for(request)
        reward_a, reward_b = pair_rewards(comparison.judgements, rubric)
        return io.NodeOutput(
            comparison.verdict.value,
            image_b if comparison.verdict is Verdict.B else image_a,
            comparison_report(comparison, rubric),
            reward_a - reward_b,
            comparison.orders_agree is not False,
        )


def _inputs() -> list[Any]:
    return [
        ScorerSocket.Input("scorer", tooltip="The judge, from Load Rational Scorer."),
        io.Image.Input("image_a", tooltip="The first image."),
        io.Image.Input("image_b", tooltip="The second image."),
        io.String.Input(
            "prompt",
            multiline=True,
            default="",
            tooltip="What both images were asked to show; for an edit, the instruction.",
        ),
        io.Combo.Input(
            "method",
            options=list(METHODS),
            default="pointwise",
            tooltip="pointwise: score each by itself. pairwise: show both in one prompt, in both orders; a winner that "
            "changes with the order is a tie.",
        ),
        io.Image.Input("source_image", optional=True, tooltip="For edits: the image before them."),
    ]


def _only(images: Any, name: str) -> Any:
    from .tensors import sound_pictures

    pictures = sound_pictures(images)
    if len(pictures) != 1:
        raise RequestError(
            f"Image {name} is a batch of {len(pictures)}; Judge Two Images takes one (Multi-Dim Score ranks batches)."
        )
    return pictures[0]


def comparison_report(comparison: Comparison, rubric: Rubric) -> str:
    """The comparison as Markdown; whatever the judge wrote is shown as text."""
    from ..rationalrewards_core.comparison import Verdict, pair_rewards
    from .show.markdown import as_text

    verdict = "It is a tie" if comparison.verdict is Verdict.TIE else f"Image {comparison.verdict.value} is better"
    rewards = " to ".join(f"{value:.3f}" for value in pair_rewards(comparison.judgements, rubric))
    lines = [f"**{verdict}** (rewards of A and B: {rewards})", ""]
    if comparison.orders_agree is False:
        lines += ["The two orders disagree: the judge also goes by the place of an image.", ""]
    lines += ["| Dimension | A | B |", "| --- | --- | --- |"]
    lines += [
        f"| {as_text(rubric.dimension(j.key).title)} | {_score(j.score_a, rubric)} | {_score(j.score_b, rubric)} |"
        for j in comparison.judgements
    ]
    lines += [
        f"\n**{as_text(rubric.dimension(j.key).title)}**: {as_text(j.justification)}"
        for j in comparison.judgements
        if j.justification.strip()
    ]
    return "\n".join([*lines, *([f"\n**Summary**: {as_text(comparison.summary)}"] if comparison.summary else [])])


def _score(score: float | None, rubric: Rubric) -> str:
    from ..rationalrewards_core.rubric import NOT_APPLICABLE

    return NOT_APPLICABLE if score is None else rubric.scale.format(score)
