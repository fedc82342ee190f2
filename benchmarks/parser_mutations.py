"""Valid replies under random rubrics, broken in one way each: the parser may refuse them, but reads no wrong number.

    python -m benchmarks.parser_mutations --count 100000 --seed 0

The oracle is the reply as it was written: the scores that come back are its own, or there are none; of a reply that says
two things, such as one with a score and its correction, there are none. Prints how often
each way of breaking was read and refused, and every wrong number; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from typing import get_args

from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.replies.parsing import Mode, parse_critique

from .broken_replies import MUTATIONS, OPEN, cut, written


def mutate(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how often each mutation was read or refused, every reply with a wrong number)."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for _ in range(count):
        reply, mutation = written(rng), rng.choice((*MUTATIONS, *OPEN))
        text = mutation(reply, rng)
        # A score alone has no end: that `3` was to be `3.5` only the backend can tell, which says what ended the reply.
        mode: Mode = "critique" if mutation is cut else rng.choice(get_args(Mode))
        try:
            scores = parse_critique(text, reply.rubric, mode).scores
        except CritiqueParseError:
            outcomes[f"{mutation.__name__} refused"] += 1
            continue
        outcomes[f"{mutation.__name__} read"] += 1
        if mutation in OPEN or scores != reply.scores:
            wrong.append(f"{mutation.__name__}: {reply.scores} was read as {scores}\n{text}")
    return outcomes, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes, wrong = mutate(options.count, options.seed)
    for name, times in sorted(outcomes.items()):
        print(f"{times:8} {name}")
    for reply in wrong[:10]:
        print(f"\nWRONG NUMBER in {reply}")
    print(f"\n{len(wrong)} wrong numbers in {options.count} mutations")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
