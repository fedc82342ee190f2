"""What is asked: sources of prompts whose draw depends on the epoch alone, so that no position has to be saved."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.images import MAX_PIXELS, open_image
from rationalrewards_core.jsonl import whole_lines
from rationalrewards_core.loop.history import FILE, has_begun, load_history
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.world import sample_wish, short_request

from ..left_out import LeftOut
from .config import PromptsConfig
from .timesteps import seeded

log = logging.getLogger("rationalrewards.training.nft")

FIELDS = {"prompt", "image", "generate_with"}


@dataclass(frozen=True)
class TrainingPrompt:
    """One group's request."""

    request: UserRequest
    """What is judged."""
    generate_with: str = ""
    """What the old policy is asked instead, such as a refined prompt; empty for the request itself."""
    train_refined: bool = False
    """Train the current policy under `generate_with`, too; otherwise under the request."""

    @property
    def sampled(self) -> UserRequest:
        return UserRequest(self.generate_with or self.request.text, self.request.sources)

    @property
    def trained(self) -> UserRequest:
        """What the current policy is trained under."""
        return self.sampled if self.train_refined else self.request

    @property
    def key(self) -> str:
        """Text and source images: one instruction on two images is two groups."""
        return request_key(self.request)


def request_key(request: UserRequest) -> str:
    digest = hashlib.sha256(request.text.encode())
    for source in request.sources:
        digest.update(f"{source.mode}{source.size}".encode() + source.tobytes())
    return digest.hexdigest()[:16]


class PromptSource(Protocol):
    def draw(self, epoch: int, count: int) -> list[TrainingPrompt]:
        """The epoch's prompts."""
        ...


class MiniaturePrompts:
    """Short requests of the closed world; held-out ones share no two-thing request with the others."""

    def __init__(self, config: PromptsConfig, seed: int, *, reserved: bool) -> None:
        self._two, self._seed, self._reserved = config.two, seed, reserved

    def draw(self, epoch: int, count: int) -> list[TrainingPrompt]:
        rng = np.random.default_rng([self._seed, int(self._reserved), epoch])
        requests: dict[str, None] = {}
        while len(requests) < count:
            requests.setdefault(short_request(sample_wish(rng, two=self._two, reserved=self._reserved)))
        return [TrainingPrompt(UserRequest(text)) for text in requests]


class ListedPrompts:
    """A fixed list, gone through in an order that is shuffled anew on every pass."""

    def __init__(self, prompts: Sequence[TrainingPrompt], seed: int) -> None:
        self._prompts, self._seed = list(prompts), seed

    def draw(self, epoch: int, count: int) -> list[TrainingPrompt]:
        if count > len(self._prompts):
            raise ConfigError(f"There are {len(self._prompts)} prompts; a draw of {count} would repeat a group.")
        start = epoch * count
        return [self._prompts[self._order(start + i)] for i in range(count)]

    def _order(self, position: int) -> int:
        number, place = divmod(position, len(self._prompts))
        order = torch.randperm(len(self._prompts), generator=seeded("prompts", self._seed, number))
        return int(order[place])


class MixedPrompts:
    """A share of every draw in refined wording, the rest from another source; the refined ones come last."""

    def __init__(self, plain: PromptSource, refined: PromptSource, share: float) -> None:
        self._plain, self._refined, self._share = plain, refined, share

    def draw(self, epoch: int, count: int) -> list[TrainingPrompt]:
        refined = round(self._share * count)
        refined_part = self._refined.draw(epoch, refined) if refined else []
        return self._plain.draw(epoch, count - refined) + [
            replace(prompt, train_refined=True) for prompt in refined_part
        ]


def training_prompts(config: PromptsConfig, seed: int) -> PromptSource:
    """What a run is trained on."""
    plain = make_prompts(config.source, config, seed)
    if not config.refined:
        return plain
    return MixedPrompts(plain, make_prompts(config.refined, config, seed), config.refined_share)


def make_prompts(name: str, config: PromptsConfig, seed: int, *, held_out: bool = False) -> PromptSource:
    """A source by its name in the configuration."""
    kind, _, target = name.partition(":")
    if name == "miniature":
        return MiniaturePrompts(config, seed, reserved=held_out)
    if kind == "file" and target:
        return ListedPrompts(read_prompts(Path(target)), seed)
    if kind == "history" and target:
        return ListedPrompts(refined_prompts(Path(target)), seed)
    raise ConfigError(f"Unknown prompts {name!r}; use miniature, file:PATH or history:FOLDER.")


def read_prompts(file: Path) -> list[TrainingPrompt]:
    """JSON lines with `prompt`, and where needed `image` (beside the file) and `generate_with`. Duplicates go.

    A line that is no prompt costs itself alone: it is counted, and said as a warning. ConfigError if none is left, and
    for what is wrong with the file as a whole: its encoding, a field that is not known.
    """
    if not file.is_file():
        raise ConfigError(f"There is no prompt file {file}.")
    prompts: dict[str, TrainingPrompt] = {}
    left, lines = LeftOut(), list(whole_lines(file, finished=True))
    for line in lines:
        where = f"{file}:{line.number}"
        try:
            prompt = _prompt(line.content, where, file.parent)
        except (_NoPrompt, RequestError) as error:
            left.add("that are no prompts", f"{where}: {error}")
        else:
            prompts.setdefault(prompt.key, prompt)
    sentence = left.sentence(len(lines), "lines")
    if not prompts:
        raise ConfigError(f"{file} holds no prompts. {sentence}".strip())
    if sentence:
        log.warning("%s", sentence)
    return list(prompts.values())


class _NoPrompt(Exception):
    """Why a line holds no prompt."""


def _prompt(line: bytes, where: str, folder: Path) -> TrainingPrompt:
    try:
        row: Any = json.loads(line)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not in UTF-8; save the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise _NoPrompt(f"not JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise _NoPrompt("a text `prompt` is needed")
    if unknown := set(row) - FIELDS:
        raise ConfigError(f"{where} has unknown fields {sorted(unknown)}; known are {', '.join(sorted(FIELDS))}.")
    image, generate_with = row.get("image"), row.get("generate_with") or ""
    if not isinstance(image, str | None) or not isinstance(generate_with, str):
        raise _NoPrompt("`image` and `generate_with` must be texts")
    sources = (open_image(folder / image, MAX_PIXELS),) if image else ()
    return TrainingPrompt(UserRequest(row["prompt"], sources), generate_with)


def refined_prompts(folder: Path) -> list[TrainingPrompt]:
    """Loops that refined with success: the refined prompt generates, the user's own is judged and trained."""
    prompts: dict[str, TrainingPrompt] = {}
    for file in sorted(folder.rglob(FILE)):
        if not has_begun(file.parent):
            continue  # ended before it began
        state = load_history(file.parent)
        best = state.best
        if best is not None and best.origin == "refined" and best.request != state.request.text:
            prompt = TrainingPrompt(state.request, best.request)
            prompts.setdefault(prompt.key, prompt)
    if not prompts:
        raise ConfigError(f"No history below {folder} has an accepted refinement.")
    return list(prompts.values())
