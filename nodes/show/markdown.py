"""Critiques as text for people: Markdown and plain. Whatever a model or a user wrote is shown as text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...rationalrewards_core.critique import Critique, Unscored
from ...rationalrewards_core.rubric import NOT_APPLICABLE, Rubric
from ..sockets import Critiques

if TYPE_CHECKING:
    from ...rationalrewards_core.judged import Outcome

LONG_DIFF = 2000
"""Words above which frequent ones are no anchors of a diff, which would take quadratic time."""

_MARKS = re.compile(r"([\\`*_~\[\]|])")
_LINE_START = re.compile(r"(?m)^[^\S\n]*(\d*)([#+=.)-]?)")


def as_text(text: str) -> str:
    """`text` so that Markdown shows its words and marks: no HTML, no links, no pictures, no headings, no code."""
    html = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINE_START.sub(_plain_line_start, _MARKS.sub(r"\\\1", html))


def _plain_line_start(match: re.Match[str]) -> str:
    """No indentation, which would make code, and no mark that opens a list, a heading or a rule."""
    number, mark = match.groups()
    return f"{number}\\{mark}" if mark else number


def markdown(critiques: Critiques, indices: Sequence[int] | None = None) -> str:
    """The critiques of the images at `indices` (all of them by default) as Markdown."""
    return _joined(critiques, indices, _markdown_of, "## Image {} of {}")


def plain(critiques: Critiques, indices: Sequence[int] | None = None) -> str:
    """The same without any marks, for text boxes and files."""
    return _joined(critiques, indices, _plain_of, "Image {} of {}")


def scores_only(critiques: Critiques, indices: Sequence[int] | None = None) -> str:
    """One line per image: reward and every score."""
    rewards = critiques.rewards
    return "\n".join(
        _score_line(critiques.outcomes[index], rewards[index], critiques.rubric)
        for index in _indices(critiques, indices)
    )


def word_diff(before: str, after: str) -> str:
    """`after` as Markdown, with new words bold and the words of `before` that went struck out; commas do not count."""
    old, new = before.split(), after.split()
    pieces: list[str] = []
    matcher = difflib.SequenceMatcher(a=_bare(old), b=_bare(new), autojunk=len(old) + len(new) > LONG_DIFF)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            pieces.append(as_text(" ".join(new[j1:j2])))
            continue
        if i2 > i1:
            pieces.append(f"~~{as_text(' '.join(old[i1:i2]))}~~")
        if j2 > j1:
            pieces.append(f"**{as_text(' '.join(new[j1:j2]))}**")
    return " ".join(pieces)


def _bare(words: Sequence[str]) -> list[str]:
    return [word.strip(",.;:!?") or word for word in words]


def reward_text(value: float | None) -> str:
    return "unscored" if value is None else f"{value:.3f}"


def _joined(
    critiques: Critiques,
    indices: Sequence[int] | None,
    write: Callable[[Outcome, float | None, Rubric], str],
    heading: str,
) -> str:
    count, rewards = len(critiques.outcomes), critiques.rewards
    blocks = []
    for index in _indices(critiques, indices):
        body = write(critiques.outcomes[index], rewards[index], critiques.rubric)
        blocks.append(body if count == 1 else heading.format(index + 1, count) + "\n\n" + body)
    return "\n\n".join([*blocks, *critiques.notes])


def _indices(critiques: Critiques, indices: Sequence[int] | None) -> Sequence[int]:
    return range(len(critiques.outcomes)) if indices is None else indices


def _markdown_of(outcome: Outcome, reward: float | None, rubric: Rubric) -> str:
    if isinstance(outcome, Unscored):
        return f"**Unscored** ({as_text(outcome.reason)}): {as_text(outcome.message)}"
    lines = [f"**Reward {reward_text(reward)}**", "", "| Dimension | Score |", "| --- | --- |"]
    lines += [f"| {as_text(title)} | {score} |" for title, score, _ in _judgements(outcome, rubric)]
    lines += [
        f"\n**{as_text(title)}**: {as_text(justification)}"
        for title, _, justification in _judgements(outcome, rubric)
        if justification
    ]
    lines += [f"\n**{name}**: {as_text(text)}" for name, text in _closing(outcome)]
    return "\n".join(lines)


def _plain_of(outcome: Outcome, reward: float | None, rubric: Rubric) -> str:
    if isinstance(outcome, Unscored):
        return f"Unscored ({outcome.reason}): {outcome.message}"
    lines = [f"Reward {reward_text(reward)}"]
    lines += [f"{title}: {score}. {reason}".rstrip(" .") + "." for title, score, reason in _judgements(outcome, rubric)]
    lines += [f"{name}: {text}" for name, text in _closing(outcome)]
    return "\n".join(lines)


def _score_line(outcome: Outcome, reward: float | None, rubric: Rubric) -> str:
    if isinstance(outcome, Unscored):
        return f"reward unscored ({outcome.reason})"
    scores = ", ".join(f"{d.key} {rubric.scale.format(outcome.judgement(d.key).score)}" for d in rubric.dimensions)
    return f"reward {reward_text(reward)}, {scores}"


def _judgements(critique: Critique, rubric: Rubric) -> list[tuple[str, str, str]]:
    """(title, score as text, justification) in the rubric's order."""
    rows = []
    for dimension in rubric.dimensions:
        judgement = critique.judgement(dimension.key)
        score = NOT_APPLICABLE if judgement.score is None else rubric.scale.format(judgement.score)
        rows.append((dimension.title, score, judgement.justification.strip()))
    return rows


def _closing(critique: Critique) -> list[tuple[str, str]]:
    refinement = critique.refinement
    sections = [("Summary", critique.summary)]
    if refinement is not None:
        sections += [("Comments", refinement.comments), ("Refined request", refinement.request)]
    return [(name, text.strip()) for name, text in sections if text.strip()]
