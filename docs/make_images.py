"""The README's moving picture: one real loop of the miniature, an image after the other.

    python docs/make_images.py      writes docs/images/loop-run.webp and loop-before-after.png

Of the held-out requests in `make demo`'s order, the first whose loop improves at least twice and ends above its threshold.
"""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rationalrewards_core import Critique, RefineLoop, RefinePolicy, RefineStep, UserRequest, make_scorer
from rationalrewards_core.loop.refine_loop import LoopEnd
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.demo import DemoOptions, demo_requests
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.rubric import Rubric

OUT = Path(__file__).parent / "images"
SIZE, PICTURE = (860, 372), 308
PAPER, INK, GREY, GREEN, RED = "#16181d", "#f2f2f2", "#8d939e", "#58b368", "#d9594c"
POLICY = RefinePolicy(threshold=0.95, max_iterations=6, patience=6)
BAR = 240


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def improving_loop() -> tuple[LoopEnd, Rubric]:
    """A run in which refining shows: it began badly, became better in steps, and ended well."""
    scorer = make_scorer("miniature")
    generator = MiniatureGenerator.load(generator_folder())
    for text in demo_requests(DemoOptions(prompts=32)):
        request = UserRequest(text)
        end = asyncio.run(RefineLoop(scorer, generator.generate, POLICY).run(request))
        gains = [step.reward for step in end.state.steps if step.accepted and step.reward is not None]
        if end.state.reached and len(gains) >= 3 and gains[0] < 0.6:
            return end, scorer.rubric_for(request)
    raise SystemExit("no loop of these improved twice")


def frame(step: RefineStep, request: str, rubric: Rubric) -> Image.Image:
    page = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(page)
    assert step.image is not None
    page.paste(step.image.resize((PICTURE, PICTURE), Image.Resampling.NEAREST), (32, 32))
    left, top = 32 + PICTURE + 32, 30
    draw.text((left, top), f"asked for: {request}"[:70], fill=GREY, font=font(15))
    good = step.reward is not None and step.reward >= POLICY.threshold
    draw.text((left, top + 30), f"image {step.index + 1}", fill=INK, font=font(26))
    reward = "unscored" if step.reward is None else f"reward {step.reward:.2f}"
    draw.text((left + 250, top + 30), reward, fill=GREEN if good else INK, font=font(26))
    top += 78
    if isinstance(step.outcome, Critique):
        for judgement in step.outcome.judgements:
            draw.text((left, top), rubric.dimension(judgement.key).title, fill=INK, font=font(14))
            draw.rectangle((left + 200, top + 3, left + 200 + BAR, top + 15), fill="#2a2e37")
            if judgement.score is not None:
                share = rubric.scale.normalise(judgement.score)
                colour = GREEN if judgement.score >= POLICY.minimum_score else RED
                draw.rectangle((left + 200, top + 3, left + 200 + round(BAR * share), top + 15), fill=colour)
            top += 24
        weakest = min((j for j in step.outcome.judgements if j.score is not None), key=lambda j: j.score or 0.0)
        words = "Good enough." if good else weakest.justification
        top = lines(draw, words, (left, top + 10), INK)
    if not good:
        lines(draw, f"drawn from: {step.request}", (left, max(top + 8, 250)), GREY)
    return page


def lines(draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], colour: str) -> int:
    """Text in lines; where the next one would begin."""
    left, top = at
    for line in textwrap.wrap(text, 62)[:4]:
        draw.text((left, top), line, fill=colour, font=font(15))
        top += 21
    return top


def main() -> None:
    end, rubric = improving_loop()
    request = end.state.request.text
    steps = [step for step in end.state.steps if step.image is not None]
    frames = [frame(step, request, rubric) for step in steps]
    durations = [2200] * (len(frames) - 1) + [4000]
    frames[0].save(
        OUT / "loop-run.webp", save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True
    )
    first, best = steps[0].image, next(step.image for step in steps if step is end.state.best)
    assert first is not None
    assert best is not None
    pair = Image.new("RGB", (2 * 240 + 24, 240), "white")
    for place, picture in enumerate((first, best)):
        pair.paste(picture.resize((240, 240), Image.Resampling.NEAREST), (place * 264, 0))
    pair.save(OUT / "loop-before-after.png")
    rewards = ", ".join("unscored" if step.reward is None else f"{step.reward:.2f}" for step in steps)
    print(f"{request}: {rewards}")  # noqa: T201


if __name__ == "__main__":
    main()
