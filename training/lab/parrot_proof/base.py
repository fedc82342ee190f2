"""The base student: the architecture of the shipped scorer, which can see and write, and cannot judge.

The vision tower is the shipped scorer's and frozen; its projector starts there. The language model is new. Half of
what it learns are true captions of pictures; the other half are critiques in the student's own prompt and grammar
that are of *another* attempt at the same request and have scores drawn at random. So it knows how a critique is
written and how words are compared with words, as an instruct model does; of the picture before it, and of what a
flaw is worth, its critiques say nothing. Its pair accuracy is that of a coin, and is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from rationalrewards_core.backends.device import fast_autocast
from rationalrewards_core.backends.qwen_chat import chat_text, expand_images
from rationalrewards_core.critique import Critique, render_critique
from rationalrewards_core.messages import Message
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import Example, flawed
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import PictureContent, describe, judge_generation, visual_flaws
from rationalrewards_core.miniature.world import Content, sample_wish, short_request

from ...run import RunDir
from ..miniature.optimiser import MuonAdamW
from ..miniature.sft import BatchMaker, answer_loss, prompt_text
from ..miniature.student import IMAGE_TOKENS, rubrics, save_student

ASK: Final = "Describe the image."
SCORES: Final = (10, 41)
"""Tenths that a random score is drawn from, the last one excluded."""


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    seed: int = 11
    steps: int = 280
    horizon: int = 700
    """Steps of the learning rate's cosine; the run ends earlier, by cooling down."""
    cooldown: int = 80
    batch: int = 48
    lr: float = 2e-3
    warmup: int = 60
    captions: float = 0.5
    """Share of captions; the rest are critiques that do not look."""
    chunk: int = 8
    """Batches whose examples are drawn and bucketed by length together."""
    save_every: int = 40


@dataclass(frozen=True, kw_only=True)
class Lesson(Example):
    """An example with what is to be written about it."""

    answer: str
    asks_caption: bool


def caption(picture: PictureContent) -> str:
    """What a picture shows and what is wrong with it as a picture; nothing of what was asked."""
    word, faint = picture.content.word, picture.defects.faint
    sentences = [f"It shows {describe(picture.content)}."]
    sentences += [f'It reads "{word}"' + (" but the letters are faint." if faint else ".")] if word else []
    sentences += [flaw.sentence for flaw in visual_flaws(picture)] or ["It is sharp and clean."]
    return " ".join(sentences)


def blind_critique(rng: np.random.Generator, wish: Content) -> str:
    """A critique of another attempt at the same request, with scores that mean nothing."""
    guess = judge_generation(wish, flawed(rng, wish))
    judgements = tuple(
        j if j.score is None else replace(j, score=int(rng.integers(*SCORES)) / 10) for j in guess.judgements
    )
    critique: Critique = replace(guess, judgements=judgements)
    return render_critique(critique, rubrics()["generation"])


def sample_lesson(rng: np.random.Generator, captions: float) -> Lesson:
    """One example. No reserved request is asked for; a flawed picture may show one by accident."""
    wish = sample_wish(rng, omit=0.2 if rng.random() < 0.3 else 0.0)
    content = flawed(rng, wish)
    example = Example(
        request=short_request(wish),
        rendering=render(rng, content, place(rng, content.content)),
        critique=judge_generation(wish, content),
        depiction=content,
    )
    asks_caption = bool(rng.random() < captions)
    answer = caption(content) if asks_caption else blind_critique(rng, wish)
    fields_of_example = {f.name: getattr(example, f.name) for f in fields(Example)}
    return Lesson(**fields_of_example, answer=answer, asks_caption=asks_caption)


class LessonMaker(BatchMaker):
    """Batches of lessons: the student's own prompt, or a question for a caption."""

    def _encode(self, example: Example) -> tuple[list[int], int]:
        assert isinstance(example, Lesson)
        tokeniser = self._tokeniser
        prompt = tokeniser(self._prompt(example), add_special_tokens=False).input_ids
        answer = tokeniser(example.answer, add_special_tokens=False).input_ids
        return [*prompt, *answer, tokeniser.eos_token_id], len(prompt)

    def _prompt(self, lesson: Lesson) -> str:
        if not lesson.asks_caption:
            return prompt_text(self._tokeniser, lesson, self._rubrics)
        message = Message("user", (Image.fromarray(lesson.picture), ASK))
        return expand_images(chat_text(self._tokeniser, [message]), [IMAGE_TOKENS])


def new_base(seed: int) -> tuple[Qwen3VLForConditionalGeneration, PreTrainedTokenizerFast]:
    """The shipped scorer with its language model forgotten."""
    tokeniser = AutoTokenizer.from_pretrained(scorer_folder())
    model = Qwen3VLForConditionalGeneration.from_pretrained(scorer_folder(), dtype=torch.float32)
    torch.manual_seed(seed)
    language = model.model.language_model
    fresh = type(language)(language.config)
    language.load_state_dict(fresh.state_dict())
    model.tie_weights()
    # Spelled-out attention is faster on a CPU for sequences as short as these, backwards most of all.
    model.model.language_model.config._attn_implementation = "eager"
    return model, tokeniser


def train_base(config: BaseConfig, path: Path) -> Path:
    """Train, or go on, or find it finished. Returns the checkpoint folder, in bf16 as the shipped scorer's is."""
    checkpoint = path / "checkpoint"
    if (checkpoint / "rubric_generation.toml").is_file():
        return checkpoint
    run = RunDir(path, config)
    model, tokeniser = new_base(config.seed)
    maker = LessonMaker(model, tokeniser, rubrics(), config.batch)
    optimiser = MuonAdamW(
        model.named_parameters(),
        lr=config.lr,
        steps=config.steps,
        warmup=config.warmup,
        horizon=config.horizon,
        cooldown=config.cooldown,
    )
    parts = {"model": model, "optimiser": optimiser}
    span = range(run.resume(parts), config.steps)
    losses: list[float] = []

    def lessons(rng: np.random.Generator, count: int) -> list[Example]:
        return [sample_lesson(rng, config.captions) for _ in range(count)]

    for step, batch in maker.steps(lessons, (config.seed,), span, config.chunk):
        with fast_autocast("cpu"):
            loss, _ = answer_loss(model, batch, frozen_tower=True)
        loss.backward()
        optimiser.step(step)
        losses.append(loss.item())
        finished = step + 1
        if finished % 20 == 0 or finished == config.steps:
            run.log(finished, loss=float(np.mean(losses)))
            losses.clear()
        if finished % config.save_every == 0 or finished == config.steps:
            run.save_parts(parts, finished)
    save_student(model, tokeniser, checkpoint, torch.bfloat16)
    return checkpoint
