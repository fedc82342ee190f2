"""Valid replies under random rubrics, broken in one way each: the parser may refuse them, but reads no wrong number.

    python -m benchmarks.parser_mutations --count 100000 --seed 0

The oracle is the reply as it was written: the scores that come back are its own, or there are none. Prints how often
each way of breaking was read and refused, and every wrong number; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.parsing import parse_critique
from rationalrewards_core.rubric import Dimension, Layout, Rubric, Scale

TITLES = (
    "Text Faithfulness",
    "Image Faithfulness",
    "Text Rendering",
    "Colour & Light",
    "3D Consistency",
    "Größe",
    "色彩",
)
WORDS = (
    "The hat is red.",
    "Two of 3 cats\n- one black\n- one white",
    'It reads "OPEN"',
    "Fine: nothing is missing.",
    "色は正しい。",
)
OTHERS = ("Overall", "Overall Quality", "Average", "Aesthetics", "Composition", "Final Assessment", "Mood and Style")


@dataclass(frozen=True)
class Written:
    """A valid reply and what it says."""

    rubric: Rubric
    text: str
    scores: dict[str, float | None]

    def blocks(self) -> tuple[str, list[str], str]:
        """What stands before the dimensions, each dimension's lines, and what follows."""
        starts = [self.text.index(f"\n{n}. {d.title}:\n") + 1 for n, d in enumerate(self.rubric.dimensions, 1)]
        end = self.text.index("\n# Summary:") + 1
        bounds = [*starts, end]
        return (
            self.text[: starts[0]],
            [self.text[a:b] for a, b in itertools.pairwise(bounds)],
            self.text[end:],
        )


def written(rng: random.Random) -> Written:
    """A valid reply under a random rubric."""
    low, span = rng.choice((0, 1, 9)), rng.choice((3, 3, 5, 10, 91))
    # On a scale of four numbers every one could be taken, and none would be left to tempt the parser with.
    scale = Scale(minimum=low, maximum=low + span, decimals=rng.choice((1, 1, 2) if span == 3 else (0, 1, 2)))
    titles = rng.sample(TITLES, rng.randint(1, 4))
    dimensions = tuple(
        Dimension(key=f"d{n}", title=title, optional=n > 0 and rng.random() < 0.4) for n, title in enumerate(titles)
    )
    layout = Layout(analysis=rng.random() < 0.8, score_first=rng.random() < 0.3, refinement=rng.random() < 0.8)
    rubric = Rubric(name="random", kind="generation", dimensions=dimensions, scale=scale, layout=layout)
    steps = round((scale.maximum - scale.minimum) * 10**scale.decimals)
    scores = {
        d.key: None
        if d.optional and rng.random() < 0.3
        else float(scale.format(low + rng.randint(0, steps) / 10**scale.decimals))
        for d in dimensions
    }
    critique = Critique(
        rubric="random",
        analysis=rng.choice(WORDS),
        judgements=tuple(Judgement(key=k, justification=rng.choice(WORDS), score=s) for k, s in scores.items()),
        summary=rng.choice(WORDS),
        refinement=Refinement(comments="More.", request="a red hat, 2 cats") if layout.refinement else None,
    )
    return Written(rubric, render_critique(critique, rubric), scores)


def _number_beside(reply: Written, rng: random.Random) -> str:
    """A number of the scale that no dimension has."""
    scale = reply.rubric.scale
    while True:
        number = scale.format(scale.minimum + rng.random() * (scale.maximum - scale.minimum))
        if float(number) not in reply.scores.values() and scale.contains(float(number)):
            return number


def _foreign(reply: Written, rng: random.Random) -> str:
    """Lines that judge something else."""
    name, number = rng.choice(OTHERS), _number_beside(reply, rng)
    heading = rng.choice(("## {}", "### {}:", "**{}**", "**{}:**", "{}:", f"{len(reply.rubric.dimensions) + 1}. {{}}:"))
    words = rng.choice(("", "## Justification: j\n", "Justification: j\n"))
    return f"{heading.format(name)}\n{words}{rng.choice(('## Score', 'Score', '**Score**'))}: {number}\n"


def _joined(reply: Written, change: Callable[[list[str]], list[str]]) -> str:
    before, blocks, after = reply.blocks()
    return before + "".join(change(blocks)) + after


def cut(reply: Written, rng: random.Random) -> str:
    raw = reply.text.encode()
    return raw[: rng.randrange(len(raw))].decode(errors="ignore")


def swapped(reply: Written, rng: random.Random) -> str:
    return _joined(reply, lambda blocks: rng.sample(blocks, len(blocks)))


def doubled(reply: Written, rng: random.Random) -> str:
    again = re.sub(r"Score: .*", f"Score: {_number_beside(reply, rng)}", rng.choice(reply.blocks()[1]))
    return _joined(reply, lambda blocks: [*blocks, again])


def with_foreign_section(reply: Written, rng: random.Random) -> str:
    place = rng.randint(1, len(reply.rubric.dimensions))
    return _joined(reply, lambda blocks: [*blocks[:place], _foreign(reply, rng), *blocks[place:]])


def foreign_section_in_a_gap(reply: Written, rng: random.Random) -> str:
    place = rng.randrange(len(reply.rubric.dimensions))
    gap = re.sub(r"## Score: .*\n", "", reply.blocks()[1][place]) + _foreign(reply, rng)
    return _joined(reply, lambda blocks: [*blocks[:place], gap, *blocks[place + 1 :]])


def without_a_score(reply: Written, rng: random.Random) -> str:
    lines = list(re.finditer(r"## Score: .*\n", reply.text))
    gone = rng.choice(lines)
    return reply.text[: gone.start()] + reply.text[gone.end() :]


def other_number(reply: Written, rng: random.Random) -> str:
    """One score in another form: a decimal comma, a broken line, a total, a range, a correction."""
    scale = reply.rubric.scale
    line = rng.choice(list(re.finditer(r"## Score: (.*)\n", reply.text)))
    said, beside = line[1], _number_beside(reply, rng)
    forms = [
        said.replace(".", ","), f"**{said}**", f"{said}/{scale.maximum:g}", f"{said}/{scale.maximum + 1:g}", f"\n{said}",
        f"{said}\n## Final Score: {beside}", f"{said}\nRevised score: {beside}", f"{said} → {beside}", f"{said}-{beside}",
        said.replace(".", "\n."), f"{said}\n/{scale.maximum * 10:g}", f"{said}\nto {scale.maximum:g}", f"{said}, out of twelve",
    ]  # fmt: skip
    return f"{reply.text[: line.start()]}## Score: {rng.choice(forms)}\n{reply.text[line.end() :]}"


def as_table(reply: Written, rng: random.Random) -> str:
    before, _, after = reply.blocks()
    rows = [f"| {d.title} | {reply.rubric.scale.format(reply.scores[d.key])} |" for d in reply.rubric.dimensions]
    return before + "\n".join(["| Dimension | Score |", "|---|---|", *rows]) + "\n" + after


def as_json(reply: Written, rng: random.Random) -> str:
    table = {d.title: {"justification": "j", "score": reply.scores[d.key]} for d in reply.rubric.dimensions}
    return json.dumps(table, ensure_ascii=False, indent=rng.choice((None, 2)))


def in_a_draft(reply: Written, rng: random.Random) -> str:
    draft = doubled(reply, rng)
    return (
        rng.choice((f"<think>{draft}</think>\n", f"{draft}\n</think>\n", f"Hm. <thinking>{draft}</thinking>"))
        + reply.text
    )


MUTATIONS = (
    *(cut, swapped, doubled, with_foreign_section, foreign_section_in_a_gap, without_a_score, other_number),
    *(as_table, as_json, in_a_draft),
)


def mutate(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how often each mutation was read or refused, every reply with a wrong number)."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for _ in range(count):
        reply, mutation = written(rng), rng.choice(MUTATIONS)
        text = mutation(reply, rng)
        try:
            scores = parse_critique(text, reply.rubric).scores
        except CritiqueParseError:
            outcomes[f"{mutation.__name__} refused"] += 1
            continue
        outcomes[f"{mutation.__name__} read"] += 1
        if scores != reply.scores:
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
