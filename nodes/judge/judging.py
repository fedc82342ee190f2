"""From a node's inputs to `Critiques`: request, source images, the scorer's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...rationalrewards_core.critique import Unscored
from ...rationalrewards_core.errors import RequestError
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.rubric import Rubric
from ..context import executing_node
from ..tensors import sound_pictures

if TYPE_CHECKING:
    from ...rationalrewards_core.replies.parsing import Mode
    from ..sockets import Critiques
    from .scorers import LoadedScorer


def requests_of(prompt: str, count: int, sources: Any | None) -> list[UserRequest]:
    """The request that each of `count` candidates answers.

    `sources` is None, one source image for all, or one per candidate ([B, H, W, C]).
    """
    if sources is None:
        return [UserRequest(prompt)] * count
    pictures = sound_pictures(sources)
    if len(pictures) not in (1, count):
        raise RequestError(
            f"There are {len(pictures)} source images for {count} images; give one for all of them, or one for each."
        )
    requests = [UserRequest(prompt, (picture,)) for picture in pictures]
    return requests if len(requests) == count else requests * count


async def judged(
    scorer: LoadedScorer,
    requests: list[UserRequest],
    pictures: list[Image.Image],
    mode: Mode,
    *,
    flaws: Mapping[int, str],
    rubric: Rubric | None = None,
    weights: Mapping[str, float] | None = None,
) -> Critiques:
    """Outcomes in the order of the pictures, by one call: a judge that is freed after each is loaded once.

    Pictures with a flaw (`tensors.pictures_and_flaws`) are unscored and cost nothing. RequestError if all have one.
    """
    sound = [index for index in range(len(pictures)) if index not in flaws]
    if not sound:
        raise RequestError(flaws[0])
    critiques = await scorer.critique_many(
        [requests[index] for index in sound],
        [pictures[index] for index in sound],
        mode,
        executing_node(),
        rubric=rubric,
        weights=dict(weights) if weights else None,
    )
    outcomes = dict(zip(sound, critiques.outcomes, strict=True))
    outcomes |= {index: Unscored(reason=RequestError.reason, message=why) for index, why in flaws.items()}
    return replace(critiques, outcomes=tuple(outcomes[index] for index in range(len(pictures))))
