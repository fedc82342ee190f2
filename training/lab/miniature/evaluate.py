"""How well the miniature judges: `python -m training.lab.miniature.evaluate` (about ten minutes on two cores).

1,000 held-out pictures and 500 held-out pairs, reserved requests, seeds never used in training, through
the same `Scorer` and engine as everything else. Failures stay in the denominator. `--drawn N` judges N
pairs of pictures by the shipped generator instead of renderings; the oracle says which is better.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.flaws import Example, Picture, flawed, sample_edited, sample_generation
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import LEVELS, judge_generation
from rationalrewards_core.miniature.world import detailed_request, sample_wish, short_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

from ...rewards.figures import spearman
from .drawn import judged

SEED = 900_001
"""Held out: training seeds its generators with [seed, stage, step], never with this number."""
EDIT_SHARE = 0.3
MIN_GAP = 0.1
"""Pairs whose true rewards differ by less are not asked."""


@dataclass(frozen=True)
class Pair:
    first: Example
    second: Example


def true_reward(example: Example) -> float:
    return reward(example.critique, edit_rubric() if example.source is not None else generation_rubric())


def held_out(count: int) -> list[Example]:
    rng = np.random.default_rng(SEED)
    return [
        sample_edited(rng, reserved=True) if rng.random() < EDIT_SHARE else sample_generation(rng, reserved=True)
        for _ in range(count)
    ]


def held_out_pairs(count: int) -> list[Pair]:
    """Two pictures of one request whose true rewards differ by at least MIN_GAP."""
    rng = np.random.default_rng(SEED + 1)
    pairs = []
    while len(pairs) < count:
        wish = sample_wish(rng, reserved=True)
        pair = Pair(*(_picture(rng, wish) for _ in range(2)))
        if abs(true_reward(pair.first) - true_reward(pair.second)) >= MIN_GAP:
            pairs.append(pair)
    return pairs


def _picture(rng: np.random.Generator, wish: Any) -> Example:
    content = flawed(rng, wish)
    picture = render(rng, content, place(rng, content.content))
    return Example(
        request=short_request(wish), rendering=picture, critique=judge_generation(wish, content), depiction=content
    )


def drawn_pairs(count: int, batch: int = 64) -> list[Pair]:
    """Two pictures by the shipped generator for one reserved request; the second was asked for in detail."""
    generator = MiniatureGenerator.load(generator_folder())
    rng = np.random.default_rng(SEED + 2)
    wishes = [sample_wish(rng, two=0.5, reserved=True) for _ in range(count)]
    groups: list[list[Picture]] = []
    for place_in_pair, ask in enumerate((short_request, detailed_request)):
        pictures: list[Picture] = []
        for start in range(0, count, batch):
            part = wishes[start : start + batch]
            seeds = [SEED + 2 * (start + i) + place_in_pair for i in range(len(part))]
            pictures += [np.asarray(p.convert("RGB")) for p in generator.generate_many([ask(w) for w in part], seeds)]
        groups.append(pictures)
    return [Pair(judged(w, a), judged(w, b)) for w, a, b in zip(wishes, *groups, strict=True)]


def case_of(example: Example) -> Case:
    sources = () if example.source is None else (Image.fromarray(example.source),)
    return Case(UserRequest(example.request, sources), Image.fromarray(example.picture))


def judge(scorer: Scorer, examples: Sequence[Example], mode: str = "critique") -> list[Outcome]:
    async def work() -> list[Outcome]:
        with tqdm(total=len(examples), unit="image", disable=None) as bar:
            batch = await scorer.score_many([case_of(e) for e in examples], mode, lambda *_: bar.update())  # type: ignore[arg-type]
        return list(batch.outcomes)

    return asyncio.run(work())


def figures(examples: Sequence[Example], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Parse rate, error per dimension, N/A decisions, flaw naming."""
    errors: dict[str, list[float]] = {}
    truths: dict[str, list[float]] = {}
    guesses: dict[str, list[float]] = {}
    applicable: list[bool] = []
    flags: list[bool] = []
    rewards: list[tuple[float, float]] = []
    for example, outcome in zip(examples, outcomes, strict=True):
        single = single_flaw(example.critique)
        if not isinstance(outcome, Critique):
            if single:
                flags.append(False)
            continue
        rubric = edit_rubric() if example.source is not None else generation_rubric()
        rewards.append((true_reward(example), reward(outcome, rubric)))
        for judgement in example.critique.judgements:
            score = outcome.judgement(judgement.key).score
            applicable.append((score is None) == (judgement.score is None))
            if score is not None and judgement.score is not None:
                errors.setdefault(judgement.key, []).append(abs(score - judgement.score))
                truths.setdefault(judgement.key, []).append(judgement.score)
                guesses.setdefault(judgement.key, []).append(score)
        if single:
            key, sentence = single
            flags.append(_levelless(sentence) in _levelless(outcome.judgement(key).justification))
    everything = [error for values in errors.values() for error in values]
    truth, guess = (np.array(column) for column in zip(*rewards, strict=True))
    return {
        "images": len(examples),
        "parse_rate": len(rewards) / len(examples),
        "score_error": _mean(everything),
        "score_error_by_dimension": {key: _mean(values) for key, values in errors.items()},
        "rank_correlation_by_dimension": {key: spearman(truths[key], guesses[key]) for key in errors},
        "na_right": _mean(applicable),
        "reward_error": _mean(np.abs(truth - guess)),
        "reward_rank_correlation": spearman(truth, guess),
        "single_flaw_images": len(flags),
        "single_flaw_named": _mean(flags),
    }


def pair_figures(pairs: Sequence[Pair], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Share of pairs ordered right; ties and failures count as wrong."""
    right, wide = [], []
    for index, pair in enumerate(pairs):
        a, b = outcomes[2 * index], outcomes[2 * index + 1]
        gap = true_reward(pair.first) - true_reward(pair.second)
        if abs(gap) < MIN_GAP:
            continue
        both = isinstance(a, Critique) and isinstance(b, Critique)
        guess = reward(a, generation_rubric()) - reward(b, generation_rubric()) if both else 0.0  # type: ignore[arg-type]
        right.append(guess * gap > 0)
        if abs(gap) >= 0.3:
            wide.append(guess * gap > 0)
    return {"pairs": len(right), "pair_accuracy": _mean(right), "pair_accuracy_wide": _mean(wide)}


def single_flaw(critique: Critique) -> tuple[str, str] | None:
    """(dimension key, sentence) of the only flaw, if there is exactly one."""
    if critique.summary != "One flaw.":
        return None
    key = next(j.key for j in critique.judgements if j.score is not None and j.score < 4.0)
    sentences = re.split(r"(?<=\.) ", critique.judgement(key).justification)
    return key, sentences[-1]


def _levelless(text: str) -> str:
    """Without `slightly`, `clearly`, `heavily`: naming a blur does not ask for its degree."""
    return re.sub(rf"\b(?:{'|'.join(LEVELS)}) ", "", text)


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else float("nan")


def evaluate_drawn(engine: str, precision: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The same figures on pictures that the generator drew."""
    scorer = make_scorer(engine, EngineOptions(precision=precision, batch_size=32, device="cpu"))
    examples = [example for pair in pairs for example in (pair.first, pair.second)]
    outcomes = judge(scorer, examples)
    asyncio.run(scorer.close())
    return {"precision": precision, "drawn": True, **figures(examples, outcomes), **pair_figures(pairs, outcomes)}


def evaluate(engine: str, precision: str, *, guided: bool, images: int, pairs: int) -> dict[str, Any]:
    """All figures of one checkpoint at one precision."""
    settings = ScorerSettings(guided=guided, ask_again=0, max_tokens=300)
    scorer = make_scorer(engine, EngineOptions(precision=precision, batch_size=32, device="cpu"), settings=settings)
    examples = held_out(images)
    started = time.perf_counter()
    table = figures(examples, judge(scorer, examples))
    table["seconds_per_image"] = round((time.perf_counter() - started) / images, 4)
    unseen_pairs = held_out_pairs(pairs) if pairs else []
    if unseen_pairs:
        table.update(pair_figures(unseen_pairs, judge(scorer, [e for p in unseen_pairs for e in (p.first, p.second)])))
    asyncio.run(scorer.close())
    return {"precision": precision, "guided": guided, **table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", "--backend", dest="backend", default="miniature", help="miniature or local:FOLDER")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "int8", "nf4"])
    parser.add_argument("--both", action="store_true", help="each precision with and without the grammar")
    parser.add_argument("--drawn", type=int, default=0, help="pairs of pictures by the shipped generator")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    for precision in arguments.precisions:
        for guided in (False, True) if arguments.both else (False,):
            row = evaluate(arguments.backend, precision, guided=guided, images=arguments.images, pairs=arguments.pairs)
            print(json.dumps(row, indent=2))
            rows.append(row)
    if arguments.drawn:
        rows.append(evaluate_drawn(arguments.backend, arguments.precisions[0], drawn_pairs(arguments.drawn)))
        print(json.dumps(rows[-1], indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
