"""The templates' thumbnails: what each workflow ends with, as pictures and rewards. `python -m workflows.source.thumbnails`

    workflows/NAME.jpg      beside NAME.json, which is where ComfyUI's template browser looks

Everything is a real run of the miniature: its generator draws held-out requests, its scorer judges, its loop refines.
Workflows of models that do not come with the pack show the miniature's run of the same nodes, and say so.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rationalrewards_core import Case, Critique, RefineLoop, RefinePolicy, Scorer, Unscored, UserRequest, make_scorer
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.demo import DemoOptions, demo_requests
from rationalrewards_core.miniature.flaws import sample_attempts
from rationalrewards_core.miniature.generator import MiniatureGenerator

FOLDER = Path(__file__).resolve().parents[1]
SIZE, EDGE, TOP = (640, 380), 20, 64
PAPER, INK, GREY, GREEN, RED, BAR = "#16181d", "#f2f2f2", "#8d939e", "#58b368", "#d9594c", "#2a2e37"
POLICY = RefinePolicy(threshold=0.95, max_iterations=6, patience=6)
BY_THE_MINIATURE = "the same nodes, run with the miniature"


@dataclass(frozen=True)
class Tile:
    """One picture of a thumbnail."""

    picture: Image.Image
    label: str
    good: bool = False
    """Whether it is the one that the workflow hands on."""


class Run:
    """The miniature's generator and judge, and the held-out requests that nobody has used yet."""

    def __init__(self) -> None:
        self.scorer: Scorer = make_scorer("miniature")
        self.generator = MiniatureGenerator.load(generator_folder())
        self._requests = iter(demo_requests(DemoOptions(prompts=200)))

    def loop(self) -> tuple[str, list[Tile]]:
        """The next request whose loop begins badly and ends well: its accepted pictures."""
        for text in self._requests:
            end = asyncio.run(RefineLoop(self.scorer, self.generator.generate, POLICY).run(UserRequest(text)))
            accepted = [step for step in end.state.steps if step.accepted]
            rewards = [step.reward for step in accepted if step.reward is not None]
            if end.state.reached and len(rewards) >= 2 and rewards[0] < 0.7:
                steps = [(step.image, step.reward) for step in accepted]
                return text, tiles([(image, reward) for image, reward in steps if image is not None], best=-1)
        raise SystemExit("no further request has a loop that becomes better")

    def batch(self, count: int) -> tuple[str, list[Image.Image], list[float | None]]:
        """The next request, pictures of it, and their rewards."""
        text = next(self._requests)
        pictures = self.generator.generate_many([text] * count, list(range(count)))
        return text, pictures, [reward for _, reward in self.judge(UserRequest(text), pictures)]

    def edits(self, count: int, seed: int) -> tuple[UserRequest, list[Image.Image]]:
        """An edit request with its source, and flawed and sound attempts at it."""
        attempts = sample_attempts(np.random.default_rng(seed), count, reserved=True)
        source = attempts[0].source
        assert source is not None
        request = UserRequest(attempts[0].request, (Image.fromarray(source),))
        return request, [Image.fromarray(attempt.picture) for attempt in attempts]

    def judge(
        self, request: UserRequest, pictures: Sequence[Image.Image]
    ) -> list[tuple[Critique | Unscored, float | None]]:
        judged = asyncio.run(self.scorer.judge_many([Case(request, picture) for picture in pictures]))
        return [(one.outcome, one.reward) for one in judged]


def tiles(pictures: Sequence[tuple[Image.Image, float | None]], best: int) -> list[Tile]:
    best %= len(pictures)
    return [
        Tile(picture, "unscored" if reward is None else f"{reward:.2f}", place == best)
        for place, (picture, reward) in enumerate(pictures)
    ]


def best_of(rewards: Sequence[float | None]) -> int:
    return max(range(len(rewards)), key=lambda place: -1.0 if rewards[place] is None else rewards[place] or 0.0)


def page(title: str, row: Sequence[Tile], *, note: str = "", rows: int = 1, arrow: bool = False) -> Image.Image:
    """Pictures side by side in `rows`, each with its label below, the good one framed."""
    sheet, draw = titled(title, note)
    columns = -(-len(row) // rows)
    across = (SIZE[0] - EDGE * (columns + 1)) // columns
    down = (SIZE[1] - TOP - rows * 34) // rows
    side = min(across, down)
    left = (SIZE[0] - columns * side - (columns - 1) * EDGE) // 2
    for place, tile in enumerate(row):
        x, y = left + place % columns * (side + EDGE), TOP + place // columns * (side + 34)
        if rows == 1:
            y += (SIZE[1] - TOP - 34 - side) // 2
        if tile.good:
            draw.rectangle((x - 4, y - 4, x + side + 3, y + side + 3), fill=GREEN)
        sheet.paste(tile.picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
        draw.text((x, y + side + 7), tile.label, fill=GREEN if tile.good else INK, font=font(17))
        if arrow and place:
            middle = y + side // 2
            draw.polygon(((x - 15, middle - 8), (x - 15, middle + 8), (x - 5, middle)), fill=GREY)
    return sheet


def critique_page(title: str, picture: Image.Image, outcome: Critique | Unscored, reward: float | None) -> Image.Image:
    """One picture beside its reward and the scores of its dimensions."""
    sheet, draw = titled(title)
    sheet.paste(picture.resize((280, 280), Image.Resampling.NEAREST), (EDGE, TOP + 8))
    left, top = EDGE + 304, TOP + 4
    draw.text((left, top), "unscored" if reward is None else f"reward {reward:.2f}", fill=INK, font=font(26))
    top += 48
    for judgement in outcome.judgements if isinstance(outcome, Critique) else ():
        good = judgement.score is None or judgement.score >= POLICY.minimum_score
        score = "N/A" if judgement.score is None else f"{judgement.score:.1f}"
        name = judgement.key.replace("_", " ").capitalize()
        draw.text((left, top), f"{name}  {score}", fill=INK, font=font(14))
        draw.rectangle((left, top + 20, left + 290, top + 30), fill=BAR)
        if judgement.score is not None:
            draw.rectangle(
                (left, top + 20, left + round(290 * (judgement.score - 1) / 3), top + 30), fill=GREEN if good else RED
            )
        top += 40
    if isinstance(outcome, Critique):
        weakest = min((j for j in outcome.judgements if j.score is not None), key=lambda j: j.score or 0.0)
        for line in textwrap.wrap(weakest.justification, 44)[:4]:
            draw.text((left, top + 4), line, fill=GREY, font=font(13))
            top += 18
    return sheet


def titled(title: str, note: str = "") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((EDGE, 18), title[:76], fill=INK, font=font(16))
    draw.text((EDGE, 40), note, fill=GREY, font=font(12))
    return sheet, draw


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def thumbnails(run: Run) -> dict[str, Image.Image]:
    """Name of the workflow -> its thumbnail."""
    pages: dict[str, Image.Image] = {}
    text, steps = run.loop()
    pages["1_miniature_loop"] = page(text, steps, arrow=True)
    request, (edited, *_) = run.edits(2, seed=3)
    ((outcome, reward),) = run.judge(request, [edited])
    source = request.sources[0]
    pages["2_miniature_edit"] = critique_page(request.text, one_above_other(source, edited), outcome, reward)
    text, pictures, rewards = run.batch(6)
    weakest = min(range(6), key=lambda place: rewards[place] or 0.0)
    outcome, reward = run.judge(UserRequest(text), pictures)[weakest]
    pages["3_critique_one_image"] = critique_page(text, pictures[weakest], outcome, reward)
    text, pictures, rewards = run.batch(6)
    pages["4_best_of_batch_gate"] = page(
        text, tiles(list(zip(pictures, rewards, strict=True)), best_of(rewards)), rows=2
    )
    for name in ("5_sdxl_loop", "6_flux_loop", "8_comfy_clip_loop"):
        text, steps = run.loop()
        pages[name] = page(text, [steps[0], steps[-1]], note=BY_THE_MINIATURE, arrow=True)
    request, attempts = run.edits(6, seed=8)
    rewards = [reward for _, reward in run.judge(request, attempts)]
    worst, best = min(range(6), key=lambda place: rewards[place] or 0.0), best_of(rewards)
    row = [Tile(request.sources[0], "before"), *tiles([(attempts[n], rewards[n]) for n in (worst, best)], 1)]
    pages["7_kontext_edit_loop"] = page(request.text, row, note=BY_THE_MINIATURE, arrow=True)
    text, pictures, rewards = run.batch(4)
    row = [Tile(picture, f"image {place}") for place, picture in enumerate(pictures, 1)]
    pages["9_preference_pick"] = page(f"Which is better?  {text}", row)
    text, steps = run.loop()
    pages["10_img2img_loop"] = page(text, steps, note=BY_THE_MINIATURE, arrow=True)
    return pages


def one_above_other(before: Image.Image, after: Image.Image) -> Image.Image:
    """Before above after, in one square."""
    side, gap = before.width, 4
    both = Image.new("RGB", (2 * side + gap, 2 * side + gap), PAPER)
    both.paste(before, ((side + gap) // 2, 0))
    both.paste(after, ((side + gap) // 2, side + gap))
    return both


def write_thumbnails(folder: Path) -> None:
    for name, picture in thumbnails(Run()).items():
        picture.save(folder / f"{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    write_thumbnails(FOLDER)
