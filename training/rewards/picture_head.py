"""A scalar head on the same preferences: the reward that says a number and no words, for comparison.

A small convolutional picture encoder and the request's parts, trained by the Bradley-Terry likelihood of which of two
pictures of one request is better: the oracle says which, and the pictures are rendered or drawn by the shipped
generator, as those of the scorer's training are. The core sees it as a judge of one dimension.

    python -m training.rewards.picture_head --out runs/scalar
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn

from rationalrewards_core.backends.device import fast_autocast
from rationalrewards_core.backends.loading_report import fill
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.world import COLOURS, RELATIONS, SHAPES, SIZES, parse_request
from rationalrewards_core.pixels import to_rgb
from rationalrewards_core.storage import replacing_together

from .rendered_preferences import Preference, drawn_preferences, rendered_preferences
from .scalar_judge import ScalarRewardJudge

FILE = "scalar.safetensors"
LETTERS = 26
WORDS = (*SHAPES, *COLOURS, *SIZES, *RELATIONS)


def request_features(request: str) -> Tensor:
    """Which of two things is what, their relation, and the word's letters, `[F]`."""
    content = parse_request(request)
    things = torch.zeros(2, len(WORDS))
    for index, thing in enumerate(content.things):
        for part in (thing.shape, thing.colour, thing.size):
            if part is not None:
                things[index, WORDS.index(part)] = 1.0
    if content.relation is not None:
        things[0, WORDS.index(content.relation)] = 1.0
    letters = torch.zeros(2, LETTERS)
    for index, letter in enumerate((content.word or "")[:2]):
        letters[index, ord(letter) - ord("A")] = 1.0
    return torch.cat([things.flatten(), letters.flatten()])


class ScalarHead(nn.Module):
    """(picture `[B 3 48 48]`, request features `[B F]`) -> score `[B]`, unbounded."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        features = 2 * len(WORDS) + 2 * LETTERS
        self.request = nn.Linear(features, 4 * width)
        self.picture = nn.Sequential(
            nn.Conv2d(5, width, 5, 2, 2), nn.GELU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GELU(),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
        )  # fmt: skip
        self.mixed = nn.Sequential(nn.Conv2d(4 * width, 4 * width, 3, 1, 1), nn.GELU())
        self.head = nn.Sequential(nn.Linear(8 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, 1))

    def forward(self, pictures_B: Tensor, requests_B: Tensor) -> Tensor:
        side = torch.linspace(-1.0, 1.0, pictures_B.shape[-1], device=pictures_B.device)
        grid = torch.stack(torch.meshgrid(side, side, indexing="ij")).expand(len(pictures_B), -1, -1, -1)
        request_B = self.request(requests_B)
        features_B = self.picture(torch.cat([pictures_B, grid], dim=1)) + request_B[:, :, None, None]
        mixed = self.mixed(nn.functional.gelu(features_B))
        scores: Tensor = self.head(torch.cat([mixed.mean(dim=(2, 3)), mixed.amax(dim=(2, 3))], dim=1)).squeeze(1)
        return scores


def to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """`[B 3 H W]` in -1..1."""
    stacked = np.stack([np.asarray(to_rgb(picture), np.float32) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2) / 127.5 - 1.0


def stacked(preferences: Sequence[Preference]) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures `[N 2 3 H W]`, features `[N F]` and the differences of true rewards `[N]`."""
    pictures = torch.stack([to_pixels(p.pictures) for p in preferences])
    features = torch.stack([request_features(p.request) for p in preferences])
    return pictures, features, torch.tensor([p.gap for p in preferences])


def train_scalar(
    path: Path, *, pairs: int = 12_000, drawn_requests: int = 512, epochs: int = 6, batch: int = 64, seed: int = 5
) -> dict[str, float]:
    """Train on `pairs` rendered preferences and those among four pictures of `drawn_requests` requests each, and save.

    Returns the share of held-out pairs (reserved requests) that it orders right, rendered and drawn.
    """
    torch.manual_seed(seed)
    generator = MiniatureGenerator.load(generator_folder()) if drawn_requests else None
    preferences = rendered_preferences(np.random.default_rng([seed, 12]), pairs)
    if generator is not None:
        preferences += drawn_preferences(generator, np.random.default_rng([seed, 14]), drawn_requests)
    model = ScalarHead()
    fit(model, stacked(preferences), epochs, batch)
    held_out = {
        "held_out_rendered": rendered_preferences(
            np.random.default_rng([seed, 13]), max(64, pairs // 20), reserved=True
        )
    }
    if generator is not None:
        held_out["held_out_drawn"] = drawn_preferences(
            generator, np.random.default_rng([seed, 15]), max(2, drawn_requests // 5), reserved=True
        )
    figures = {
        "pairs": float(len(preferences)),
        **{name: ordered_right(model, part) for name, part in held_out.items()},
    }
    with replacing_together(path, [FILE, "figures.json"]) as (weights, table):
        weights.write(save(model.state_dict()))
        table.write(json.dumps(figures, indent=2).encode())
    return figures


def fit(model: ScalarHead, pairs: tuple[Tensor, Tensor, Tensor], epochs: int, batch: int) -> None:
    """Bradley-Terry: -log sigmoid of the margin by which the better picture leads."""
    pictures, features, gaps = pairs
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    steps = epochs * -(-len(gaps) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        order = torch.randperm(len(gaps), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(batch):
            with fast_autocast("cpu"):
                margin = model(pictures[rows, 0], features[rows]) - model(pictures[rows, 1], features[rows])
            nn.functional.softplus(-margin.float() * gaps[rows].sign()).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()


@torch.no_grad()
def ordered_right(model: ScalarHead, preferences: Sequence[Preference]) -> float:
    """Share of pairs whose better picture gets the higher score."""
    pictures, features, gaps = stacked(preferences)
    margin = model(pictures[:, 0], features) - model(pictures[:, 1], features)
    return float((margin * gaps > 0).float().mean())


def scalar_judge(folder: Path) -> ScalarRewardJudge:
    """A trained head as the trainer's judge. ConfigError if there is none in the folder."""
    file = folder / FILE
    if not file.is_file():
        raise ConfigError(f"There is no scalar head at {file}; train one with python -m training.rewards.picture_head.")
    model = ScalarHead()
    fill(model, load_file(file), str(file))
    model.eval()

    def rewards(cases: Sequence[Case]) -> list[float]:
        features = torch.stack([request_features(case.request.text) for case in cases])
        with torch.inference_mode():
            return [float(r) for r in model(to_pixels([case.candidate for case in cases]), features)]

    return ScalarRewardJudge(rewards, batch=64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/scalar"))
    parser.add_argument("--pairs", type=int, default=12_000, help="rendered preferences")
    parser.add_argument("--drawn", type=int, default=512, help="requests whose pictures the generator draws")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    figures = train_scalar(
        arguments.out, pairs=arguments.pairs, drawn_requests=arguments.drawn, epochs=arguments.epochs
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
