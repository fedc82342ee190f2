"""Pictures that the miniature generator drew, judged by the oracle: what the scorer meets when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from rationalrewards_core.miniature.flaws import Example, Picture, flawed
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.oracle import read_picture
from rationalrewards_core.miniature.render import Rendering
from rationalrewards_core.miniature.truth import judge_generation
from rationalrewards_core.miniature.world import (
    SIDE,
    Content,
    detailed_request,
    is_reserved,
    sample_wish,
    short_request,
)

from ...run import RunDir


@dataclass(frozen=True, kw_only=True)
class DrawnConfig:
    seed: int = 5
    pool: int = 1536
    """Pictures."""
    detailed: float = 0.5
    """Share drawn from the detailed request; the others from the short one."""
    other: float = 0.25
    """Share drawn from a request that differs from the one the picture is judged by."""
    batch: int = 64


def drawn_examples(config: DrawnConfig, generator: MiniatureGenerator, path: Path) -> list[Example]:
    """Draw the pool once and keep it beside the run. No reserved request occurs in it."""
    RunDir(path, config, saved_files=("pool.safetensors",)).close()
    rng = np.random.default_rng([config.seed, 4])
    wishes = [sample_wish(rng, omit=0.2 if rng.random() < 0.3 else 0.0) for _ in range(config.pool)]
    requests = [_asked(rng, wish, config) for wish in wishes]
    file = path / "pool.safetensors"
    if not file.exists():
        pictures: list[Image.Image] = []
        for start in tqdm(range(0, config.pool, config.batch), desc="drawing", disable=None):
            part = requests[start : start + config.batch]
            pictures += generator.generate_many(part, [config.seed * 1_000_003 + start + i for i in range(len(part))])
        save_file({"pictures": torch.from_numpy(np.stack([np.asarray(p.convert("RGB")) for p in pictures]))}, file)
    return [judged(wish, picture) for wish, picture in zip(wishes, load_file(file)["pictures"].numpy(), strict=True)]


def _asked(rng: np.random.Generator, wish: Content, config: DrawnConfig) -> str:
    """What the generator is given."""
    content = wish
    if rng.random() < config.other:
        content = flawed(rng, wish).content
        while is_reserved(content) or not content.things:
            content = flawed(rng, wish).content
    return detailed_request(content) if rng.random() < config.detailed else short_request(content)


def judged(wish: Content, picture: Picture) -> Example:
    """The picture as a training example; the oracle says what it shows."""
    content = read_picture(picture)
    nothing = np.zeros((SIDE, SIDE), np.float32)
    return Example(
        request=short_request(wish),
        rendering=Rendering(picture, np.zeros((0, SIDE, SIDE), np.float32), nothing.astype(np.int64), nothing),
        critique=judge_generation(wish, content),
        depiction=content,
        masks_known=False,
    )
