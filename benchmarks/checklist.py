"""Judging by a checklist made for the request, against the three fixed dimensions: which true flaws are named.

python -m benchmarks.checklist --checklist runs/checklist/judge --fixed runs/fixed/judge

The judges are the shipped miniature and those that `python -m training.lab.checklist train` makes of it. Also how often a flaw
is named that is not there, and how pairs are ordered; and the same of the oracle, which reads the pixels without a model.

Held-out pictures of reserved requests. A flaw counts as named when a justification holds its sentence, whatever its degree.
Pairs are ordered by what all flaws of a picture cost together, which favours neither way of judging. The checklist's leads over
the fixed dimensions have intervals of 95 % (10,000 bootstraps over the pictures, or the pairs).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.critique import Critique
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.checklist import checklist_critique, checklist_rubric
from rationalrewards_core.miniature.flaws import Example, flawed, sample_generation
from rationalrewards_core.miniature.oracle import read_picture
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import (
    LEVELS,
    Flaw,
    faithfulness_flaws,
    judge_generation,
    text_judgement,
    visual_flaws,
)
from rationalrewards_core.miniature.world import parse_request, sample_wish, short_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from training.lab.miniature.student import rubrics

SEED: Final = 900_101
TAUGHT: Final = "checklist, taught"
LEAST_GAP: Final = 0.3
"""Pairs whose flaws cost less apart than this are not asked."""
_WELL: Final = re.compile(
    r"It shows .*|It is (?:sharp and clean|sharp|clean)|It reads \"\w+\" as asked|No text was asked for"
    r"|There is (?:a (?!n extra).*|nothing else)|The shapes are whole|One of them is missing"
    r"|The \w+ is (?:left of|right of|above|below) the \w+"
)

Way = Callable[[Example], tuple[Rubric, Critique]]
"""A critique that no model writes, and its rubric."""


def true_flaws(example: Example) -> tuple[Flaw, ...]:
    wish = parse_request(example.request)
    faults = faithfulness_flaws(wish, example.depiction.content)
    return (*faults, *visual_flaws(example.depiction), *text_judgement(wish.word, example.depiction)[1])


def measure(checklist: Path | None, fixed: Path | None, pictures: int, pairs: int) -> dict[str, Any]:
    """Figures of every way of judging; the shipped judge with its own rubric is always among them."""
    rng = np.random.default_rng(SEED)
    examples = [sample_generation(rng, reserved=True) for _ in range(pictures)]
    pair_list = _pairs(np.random.default_rng(SEED + 1), pairs)
    pair_pictures = [example for pair in pair_list for example in pair]
    table = {"pictures": pictures, "pairs": pairs, "true_flaws": sum(len(true_flaws(e)) for e in examples)}
    judges: list[tuple[str, Path, Callable[[Example], Rubric]]] = [("fixed, shipped", scorer_folder(), _fixed)]
    judges += [("fixed, as many steps further", fixed, _fixed)] if fixed else []
    judges += [(TAUGHT, checklist, _checklist)] if checklist else []
    hits, right = {}, {}
    for name, folder, rubric_of in judges:
        outcomes = judge(folder, [*examples, *pair_pictures], rubric_of)
        table[name] = _figures(examples, outcomes[:pictures]) | _order(pair_list, outcomes[pictures:])
        hits[name], right[name] = _hits(examples, outcomes[:pictures]), _right(pair_list, outcomes[pictures:])
    for name in [other for other in hits if other != TAUGHT] if checklist else []:
        table[f"lead of the checklist over: {name}"] = {
            "flaws_named": lead(hits[TAUGHT], hits[name]),
            "pairs_ordered_right": lead([[one] for one in right[TAUGHT]], [[one] for one in right[name]]),
        }
    for name, way in (("fixed, by the oracle", _oracle_fixed), ("checklist, by the oracle", _oracle_checklist)):
        critiques = [way(example) for example in [*examples, *pair_pictures]]
        table[name] = _figures(examples, critiques[:pictures]) | _order(pair_list, critiques[pictures:])
    return table


def lead(ours: Sequence[Sequence[bool]], theirs: Sequence[Sequence[bool]], draws: int = 10_000) -> dict[str, Any]:
    """How much larger a share is right on our side, of answers grouped by picture, and the interval of 95 % of that."""
    counts = np.array([len(group) for group in ours])
    gaps = np.array([sum(a) - sum(b) for a, b in zip(ours, theirs, strict=True)])
    sample = np.random.default_rng(SEED).integers(len(gaps), size=(draws, len(gaps)))
    shares = gaps[sample].sum(1) / np.maximum(counts[sample].sum(1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return {"lead": round(float(gaps.sum() / counts.sum()), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}


def judge(
    folder: Path, examples: Sequence[Example], rubric_of: Callable[[Example], Rubric]
) -> list[tuple[Rubric, Outcome]]:
    """Every picture by its own rubric, through the engine and the guidance that everything else has."""
    engine = TransformersLocal(CheckpointConfig(model=str(folder), precision="fp32", device="cpu"), batch_size=16)
    settings = ScorerSettings(max_tokens=400, ask_again=0, alternatives=0)

    async def one(example: Example) -> tuple[Rubric, Outcome]:
        rubric = rubric_of(example)
        case = Case(UserRequest(example.request), Image.fromarray(example.picture))
        batch = await Scorer(engine, {"generation": rubric}, settings).score_many([case])
        return rubric, batch.outcomes[0]

    async def work() -> list[tuple[Rubric, Outcome]]:
        try:
            return list(await asyncio.gather(*map(one, examples)))
        finally:
            await engine.close()

    return asyncio.run(work())


def _pairs(rng: np.random.Generator, count: int) -> list[tuple[Example, Example]]:
    """Two pictures of one wish that clearly differ in what their flaws cost."""
    pairs: list[tuple[Example, Example]] = []
    while len(pairs) < count:
        wish = sample_wish(rng, reserved=True)
        pair = []
        for _ in range(2):
            content = flawed(rng, wish)
            rendering = render(rng, content, place(rng, content.content))
            pair.append(
                Example(
                    request=short_request(wish),
                    rendering=rendering,
                    critique=judge_generation(wish, content),
                    depiction=content,
                )
            )
        if abs(_cost(pair[0]) - _cost(pair[1])) >= LEAST_GAP:
            pairs.append((pair[0], pair[1]))
    return pairs


def _cost(example: Example) -> float:
    return sum(flaw.cost for flaw in true_flaws(example))


def _figures(examples: Sequence[Example], outcomes: Sequence[tuple[Rubric, Outcome]]) -> dict[str, Any]:
    """Unscored pictures name nothing, and stay in every denominator."""
    hits = _hits(examples, outcomes)
    by_number: dict[str, list[bool]] = {"1": [], "2": [], "3 and more": []}
    for group in filter(None, hits):
        by_number[str(len(group)) if len(group) < 3 else "3 and more"] += group
    flaw_claims = [{one for one in _claims(o) if not _WELL.fullmatch(one.rstrip("."))} for _, o in outcomes]
    false = sum(len(claims - _truth(e)) for e, claims in zip(examples, flaw_claims, strict=True))
    return {
        "unscored": sum(not isinstance(outcome, Critique) for _, outcome in outcomes),
        "flaws_named": _share([one for group in hits for one in group]),
        "flaws_named_by_number": {key: _share(group) for key, group in by_number.items() if group},
        "pictures_with_every_flaw_named": _share([all(group) for group in hits if group]),
        "claims_that_are_false": round(false / max(1, sum(map(len, flaw_claims))), 4),
    }


def _hits(examples: Sequence[Example], outcomes: Sequence[tuple[Rubric, Outcome]]) -> list[list[bool]]:
    """Of every picture's flaws, whether each is named."""
    return [
        [sentence in _claims(outcome) for sentence in sorted(_truth(example))]
        for example, (_, outcome) in zip(examples, outcomes, strict=True)
    ]


def _truth(example: Example) -> set[str]:
    return {_levelless(flaw.sentence) for flaw in true_flaws(example)}


def _claims(outcome: Outcome) -> set[str]:
    """The sentences of its justifications; none if it is unscored."""
    judgements = outcome.judgements if isinstance(outcome, Critique) else ()
    return {one for judgement in judgements for one in _sentences(judgement.justification)}


def _share(answers: Sequence[bool]) -> float:
    return round(float(np.mean(answers)), 4)


def _order(pairs: Sequence[tuple[Example, Example]], outcomes: Sequence[tuple[Rubric, Outcome]]) -> dict[str, float]:
    """Share of pairs ordered right."""
    return {"pairs_ordered_right": _share(_right(pairs, outcomes))}


def _right(pairs: Sequence[tuple[Example, Example]], outcomes: Sequence[tuple[Rubric, Outcome]]) -> list[bool]:
    """Of every pair, whether it is ordered right; ties and failures are wrong."""
    right = []
    for number, (first, second) in enumerate(pairs):
        rewards = [
            reward(outcome, rubric) if isinstance(outcome, Critique) else None
            for rubric, outcome in outcomes[2 * number : 2 * number + 2]
        ]
        if rewards[0] is None or rewards[1] is None:
            right.append(False)
        else:
            right.append((rewards[0] - rewards[1]) * (_cost(second) - _cost(first)) > 1e-9)
    return right


def _sentences(text: str) -> list[str]:
    return [_levelless(one.strip()) for one in re.split(r"(?<=\.) ", text) if one.strip()]


def _levelless(text: str) -> str:
    return re.sub(rf"\b(?:{'|'.join(LEVELS)}) ", "", text)


def _fixed(_: Example) -> Rubric:
    return rubrics()["generation"]


def _checklist(example: Example) -> Rubric:
    return checklist_rubric(parse_request(example.request))


def _oracle_fixed(example: Example) -> tuple[Rubric, Critique]:
    wish = parse_request(example.request)
    return rubrics()["generation"], judge_generation(wish, read_picture(example.picture))


def _oracle_checklist(example: Example) -> tuple[Rubric, Critique]:
    return _checklist(example), checklist_critique(parse_request(example.request), read_picture(example.picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checklist", type=Path, help="a judge taught by `train checklist`")
    parser.add_argument("--fixed", type=Path, help="a judge taught by `train fixed`, for as many steps")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=150)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.checklist, arguments.fixed, arguments.pictures, arguments.pairs), indent=2))


if __name__ == "__main__":
    main()
