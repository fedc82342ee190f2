"""From a node's inputs to `Critiques`: request, source images, the scorer's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..rationalrewards_core.errors import RequestError
from ..rationalrewards_core.messages import UserRequest
from ..rationalrewards_core.rubric import Rubric
from .tensors import to_pictures

if TYPE_CHECKING:
    from ..rationalrewards_core.parsing import Mode
    from .scorers import LoadedScorer
    from .sockets import Critiques


def requests_of(prompt: str, count: int, sources: Any | None) -> list[UserRequest]:
    """The request that each of `count` candidates answers.

    `sources` is None, one source image for all, or one per candidate ([B, H, W, C]).
    """
    if sources is None:
        return [UserRequest(prompt)] * count
    pictures = to_pictures(sources)
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
    rubric: Rubric | None = None,
    weights: Mapping[str, float] | None = None,
) -> Critiques:
    """Outcomes in the order of the pictures, by one call: a judge that is freed after each is loaded once."""
    if not pictures:
        raise RequestError("There is no image to judge; the batch is empty.")
    told = dict(weights) if weights else None
    return await scorer.critique_many(requests, pictures, mode, executing_node(), rubric=rubric, weights=told)


def executing_node() -> str | None:
    """Id of the node that runs now. A hidden UNIQUE_ID input would put it into the cache key; this does not."""
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return None if context is None else context.node_id
