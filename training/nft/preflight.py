"""What can be found out before the generator is loaded: prompts that do not suffice, judges that do not answer."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError
from typing import Final

from PIL import Image

from rationalrewards_core.critique import Unscored
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest

from .config import NFTConfig
from .families import family_class
from .prompts import PromptSource
from .rewards import RewardQueue

log = logging.getLogger("rationalrewards.training.nft")

ELSEWHERE: Final = ("server", "reward-server")
"""Judges that may be down; those in this process load when they are first asked."""


def check_prompts(config: NFTConfig, prompts: PromptSource, held_out: PromptSource | None) -> UserRequest:
    """The first request. ConfigError if an epoch or an evaluation cannot be drawn, or an edit has no image."""
    sample = prompts.draw(0, config.rollout.prompts)
    if held_out is not None and config.run.evaluate_every:
        sample += held_out.draw(0, config.run.evaluate_prompts)
    if family_class(config.model.family).edits:
        lacking = [one.request.text for one in sample if not one.request.sources]
        if lacking:
            raise ConfigError(
                f"{config.model.family} edits images and {len(lacking)} of {len(sample)} prompts have no `image`, such as "
                f"{lacking[0]!r:.120}."
            )
    return sample[0].request


def check_judge(name: str, key: str, queue: RewardQueue, request: UserRequest) -> None:
    """Ask a judge elsewhere about a plain picture. ConfigError, naming the setting `key`, if it does not answer."""
    if name.partition(":")[0] not in ELSEWHERE:
        return
    case = Case(request, Image.new("RGB", (64, 64), (128, 128, 128)))
    try:
        (outcome,) = queue.submit([case]).result().outcomes
    except (BackendError, CancelledError) as error:
        raise ConfigError(_silent(key, name, str(error))) from error
    if isinstance(outcome, Unscored):
        if not outcome.raw:
            raise ConfigError(_silent(key, name, outcome.message))
        log.warning("%s %s answers, but not readably about a plain grey picture: %s", key, name, outcome.message)


def _silent(key: str, name: str, why: str) -> str:
    return f"{key} {name!r} does not judge, so nothing has been loaded yet: {why}"
