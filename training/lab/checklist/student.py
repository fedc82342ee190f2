"""The shipped miniature, fine-tuned a little further: to judge by checklists, or as before for as many steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from rationalrewards_core.critique import render_critique
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.checklist import checklist_critique, checklist_rubric
from rationalrewards_core.miniature.flaws import Example
from rationalrewards_core.miniature.world import parse_request
from rationalrewards_core.rubric import JUDGEMENT, JUSTIFICATION

from ...run import RunDir
from ..miniature.optimiser import MuonAdamW
from ..miniature.sft import BatchMaker, answer_loss
from ..miniature.student import answer_text, rubrics, save_student

Lesson = Literal["checklist", "fixed"]
TITLES: Final = (
    *("Circle", "Square", "Triangle", "Placement", "Nothing Else", "Word", "Sharpness", "Cleanness", "Outlines"),
)


@dataclass(frozen=True, kw_only=True)
class ChecklistLesson:
    """One fine-tuning; both lessons see the same pictures in the same order."""

    lesson: Lesson = "checklist"
    seed: int = 11
    steps: int = 200
    batch: int = 24
    lr: float = 8e-4
    warmup: int = 20
    chunk: int = 5
    """Batches whose examples are drawn and bucketed by length together."""
    save_every: int = 20


def checklist_text(example: Example) -> str:
    """The true critique by the checklist of the example's own request."""
    wish = parse_request(example.request)
    return render_critique(checklist_critique(wish, example.depiction), checklist_rubric(wish))


ANSWERS: Final[dict[Lesson, Callable[[Example], str]]] = {"checklist": checklist_text, "fixed": answer_text}


def headings() -> list[str]:
    """The fixed stretches of a checklist's critique, one token each: the student need not spell them."""
    return [f"# {JUDGEMENT}\n1. ", *(f"{title}:\n## {JUSTIFICATION}: " for title in TITLES)]


def load_student(lesson: Lesson) -> tuple[Qwen3VLForConditionalGeneration, PreTrainedTokenizerFast]:
    """The shipped judge in fp32, its tokeniser with a checklist's headings where those are taught."""
    tokeniser: Any = AutoTokenizer.from_pretrained(scorer_folder())
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(scorer_folder(), dtype=torch.float32)
    if lesson == "checklist":
        tokeniser.add_tokens([AddedToken(heading, normalized=False, special=False) for heading in headings()])
        if len(tokeniser) > model.config.text_config.vocab_size:
            torch.manual_seed(0)
            model.resize_token_embeddings(-(-len(tokeniser) // 64) * 64, mean_resizing=False)
    for parameter in model.model.visual.parameters():
        parameter.requires_grad_(False)  # it reads the pictures already; what is taught is what to say of them
    return model, tokeniser


def teach(config: ChecklistLesson, path: Path, out: Path, stop: int | None = None) -> None:
    """Fine-tune, resumably, and write the judge to `out`; `stop` is a step before the lesson's end to do so at."""
    end = config.steps if stop is None else min(stop, config.steps)
    model, tokeniser = load_student(config.lesson)
    run = RunDir(path, config)
    maker = BatchMaker(model, tokeniser, rubrics(), config.batch, ANSWERS[config.lesson])
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimiser = MuonAdamW(parameters, lr=config.lr, steps=config.steps, warmup=config.warmup)
    parts = {"model": model, "optimiser": optimiser}
    span = range(run.resume(parts), end)
    losses: list[float] = []
    for step, batch in maker.steps(partial(maker.sample, edits=0.0), (config.seed, 3), span, config.chunk):
        loss, _ = answer_loss(model, batch, frozen_tower=True)
        loss.backward()
        optimiser.step(step)
        losses.append(loss.item())
        if (step + 1) % 10 == 0:
            run.log(step + 1, loss=float(np.mean(losses)))
            losses.clear()
        if (step + 1) % config.save_every == 0 or step + 1 == end:
            run.save_parts(parts, step + 1)
    run.close()
    save_student(model, tokeniser, out, torch.float32)
