"""Valid replies under random rubrics, and ways to break them."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
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

    def said(self, key: str) -> str:
        return self.rubric.scale.format(self.scores[key])

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
    victim = rng.choice(lines)
    return reply.text[: victim.start()] + reply.text[victim.end() :]


def other_number(reply: Written, rng: random.Random) -> str:
    """One score in another form: a decimal comma, a broken line, a total, a range, a correction."""
    scale = reply.rubric.scale
    line = rng.choice(list(re.finditer(r"## Score: (.*)\n", reply.text)))
    number, beside = line[1], _number_beside(reply, rng)
    forms = [
        number.replace(".", ","), f"**{number}**", f"{number}/{scale.maximum:g}", f"{number}/{scale.maximum + 1:g}", f"\n{number}",
        f"{number} → {beside}", f"{number}-{beside}", f"{number} (Actually, {beside})",
        number.replace(".", "\n."), f"{number}\n/{scale.maximum * 10:g}", f"{number}\nto {scale.maximum:g}", f"{number}, out of twelve",
    ]  # fmt: skip
    return f"{reply.text[: line.start()]}## Score: {rng.choice(forms)}\n{reply.text[line.end() :]}"


def as_table(reply: Written, rng: random.Random) -> str:
    before, _, after = reply.blocks()
    return f"{before}{_table(reply, rng)}\n{after}"


def as_json(reply: Written, rng: random.Random) -> str:
    text = _json(reply, rng, {key: reply.said(key) for key in reply.scores})
    return f"Here it is:\n```json\n{text}\n```\n" if rng.random() < 0.3 else text


def cut_table(reply: Written, rng: random.Random) -> str:
    raw = as_table(reply, rng).encode()
    return raw[: rng.randrange(len(raw))].decode(errors="ignore")


def cut_json(reply: Written, rng: random.Random) -> str:
    raw = as_json(reply, rng).encode()
    return raw[: rng.randrange(len(raw))].decode(errors="ignore")


def _table(reply: Written, rng: random.Random, more: str = "") -> str:
    """Rows of dimensions or, without `more`, columns of them."""
    header = ("Dimension", rng.choice(("Score", "**Score**", f"Score (max {reply.rubric.scale.maximum:g})")))
    rows = [header, *((d.title, _dressed(reply.said(d.key), reply, rng)) for d in reply.rubric.dimensions)]
    if not more and rng.random() < 0.3:
        columns = list(zip(*rows, strict=True))
        return "\n".join([_row(columns[0]), "|---" * len(rows) + "|", _row(columns[1])])
    if not more and rng.random() < 0.5:
        words = ("Reason", *(rng.choice(("j", "2 of 3 cats", "red, not blue")) for _ in rows[1:]))
        rows = [(*row, word) for row, word in zip(rows, words, strict=True)]
    return "\n".join([_row(rows[0]), "|---" * len(rows[0]) + "|", *map(_row, rows[1:])]) + more


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _dressed(score: str, reply: Written, rng: random.Random) -> str:
    if score == "N/A":
        return score
    return rng.choice((score, f"**{score}**", score.replace(".", ","), f"{score}/{reply.rubric.scale.maximum:g}"))


def _json(reply: Written, rng: random.Random, scores: dict[str, str], behind: str = "") -> str:
    """Scores as JSON in one of the forms that judges write; `behind` stands in the first dimension's object."""
    number = {k: json.dumps(v) if v == "N/A" or rng.random() < 0.3 else v for k, v in scores.items()}
    inside = {key: f'{{"score": {value}, "justification": "j"}}' for key, value in number.items()}
    if behind:
        first = next(iter(inside))
        inside[first] = f"{inside[first][:-1]}, {behind}}}"
    elif rng.random() < 0.3:
        inside = number
    names = {d.key: json.dumps(rng.choice((d.title, d.key))) for d in reply.rubric.dimensions}
    if inside is not number and rng.random() < 0.4:
        listed = ",\n".join(f'{{"dimension": {names[key]}, {value[1:]}' for key, value in inside.items())
        return rng.choice((f"[{listed}]", f'{{"judgements": [{listed}], "summary": "Fine."}}'))
    pairs = ",\n".join(f"{names[key]}: {value}" for key, value in inside.items())
    return rng.choice(
        (f"{{{pairs}}}", f'{{"scores": {{{pairs}}}}}', f'{{"analysis": "2 cats", {pairs}, "summary": "3 of 4."}}')
    )


# What nobody may read: the reply says two things, and which of them counts is open.

CORRECTIONS = (
    "Actually, {}", "Actually, the score should be {}.", "EDIT: {}", "- **Edit** - {}", "Final answer: {}", "Update: {}", "Revised score: {}",
    "## Final Score: {}", "On second thought, this deserves a {}.", "I'd lower it to {}", "I will go with {}.", "Let me reconsider: {}.",
    "(changed to {})", "Corrected: {}", "> Correction: {}", "No, {}", "Hmm, more like {}", "~~{old}~~ {}", "<del>{old}</del> {}", "{old} → {}",
    "Korrektur: {}", "更正：{}", "Nota final: {}", "Score after review: {}", "Wait, {}", "Sorry, a typo: {}", "### EDIT\n## Score: {}", "{}",
)  # fmt: skip
FAR_CORRECTIONS = (
    "Actually, {title} should be {}.", "EDIT: {title} {}", "On second thought I'd give {} for {title}.", "{title}: {}",
    "Correction ({title}): {}", "I'd lower {title} to {}.",
)  # fmt: skip


def corrected(reply: Written, rng: random.Random) -> str:
    """A correction below a score: on the next line, after a blank one, after words, or at the end of the block."""
    line = rng.choice(list(re.finditer(r"## Score: (.*)\n", reply.text)))
    words = rng.choice(CORRECTIONS).format(_number_beside(reply, rng), old=line[1])
    between = rng.choice(("", "\n", "All of it is there.\n")) if not reply.rubric.layout.score_first else ""
    return f"{reply.text[: line.end()]}{between}{words}\n{reply.text[line.end() :]}"


def corrected_far_away(reply: Written, rng: random.Random) -> str:
    """A correction that names its dimension: after another one, before or in the summary, or at the very end."""
    dimension = rng.choice(reply.rubric.dimensions)
    words = rng.choice(FAR_CORRECTIONS).format(_number_beside(reply, rng), title=dimension.title)
    before, blocks, after = reply.blocks()
    places = (f"{words}\n{after}", after.replace("# Summary: ", f"# Summary: {words}\n", 1), f"{after}\n\n{words}")
    return before + "".join(blocks) + rng.choice(places)


def open_table(reply: Written, rng: random.Random) -> str:
    """A row twice, two scores in a row, two columns of scores, a correction behind the table."""
    before, _, after = reply.blocks()
    dimension, beside = rng.choice(reply.rubric.dimensions), _number_beside(reply, rng)
    rows = [f"| {d.title} | {reply.said(d.key)} | {beside} |" for d in reply.rubric.dimensions]
    two = "\n".join(
        [f"| Dimension | Score | {rng.choice(('Final score', 'Draft', 'Revised'))} |", "|---|---|---|", *rows]
    )
    more = rng.choice(
        (
            f"\n| {dimension.title} | {beside} |",
            f"\n\n{rng.choice(FAR_CORRECTIONS).format(beside, title=dimension.title)}",
            f"\n\nEDIT: {beside}",
        )
    )
    return f"{before}{rng.choice((two, _table(reply, rng, more)))}\n{after}"


def open_json(reply: Written, rng: random.Random) -> str:
    """A name twice, a second number beside a score, a correction inside or behind."""
    scores, beside = {key: reply.said(key) for key in reply.scores}, _number_beside(reply, rng)
    dimension = rng.choice(reply.rubric.dimensions)
    inside = rng.choice(
        (
            f'"score": {beside}',
            f'"final_score": {beside}',
            f'"note": "Actually, {beside}"',
            f'"parts": {{"hands": {beside}}}',
        )
    )
    behind = rng.choice(
        (
            f"EDIT: {beside}",
            rng.choice(FAR_CORRECTIONS).format(beside, title=dimension.title),
            f"{{{json.dumps(dimension.title)}: {beside}}}",
        )
    )
    return rng.choice((_json(reply, rng, scores, inside), f"{_json(reply, rng, scores)}\n{behind}"))


def table_beside_headings(reply: Written, rng: random.Random) -> str:
    """A table or JSON behind whole headings, with another number for one dimension."""
    dimension = rng.choice(reply.rubric.dimensions)
    other = {**{key: reply.said(key) for key in reply.scores}, dimension.key: _number_beside(reply, rng)}
    rows = "\n".join(f"| {d.title} | {other[d.key]} |" for d in reply.rubric.dimensions)
    return f"{reply.text}\n\n{rng.choice((f'| Dimension | Score |{chr(10)}|---|---|{chr(10)}{rows}', _json(reply, rng, other)))}"


def in_a_draft(reply: Written, rng: random.Random) -> str:
    draft = doubled(reply, rng)
    return (
        rng.choice((f"<think>{draft}</think>\n", f"{draft}\n</think>\n", f"Hm. <thinking>{draft}</thinking>"))
        + reply.text
    )


MUTATIONS = (
    *(cut, swapped, doubled, with_foreign_section, foreign_section_in_a_gap, without_a_score, other_number),
    *(as_table, as_json, cut_table, cut_json, in_a_draft),
)
"""The scores that come back are the reply's, or there are none."""
OPEN = (corrected, corrected_far_away, open_table, open_json, table_beside_headings)
"""There are no scores that could come back."""
