"""Answers as pairs: how many there are, how often the judge agreed, and a folder to train from.

    export/pairs.jsonl     request, first, second, preference (A, B or TIE), source, ...: one line per pair
    export/images/...      the pictures that the lines name

The folder stands alone, and is what `python -m training.parrot import folder` reads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from ...rationalrewards_core.jsonl import encoded
from ...rationalrewards_core.storage import replace_file, replacing
from .store import Book, Choice, PreferenceQuestion, PreferenceStore

EXPORT: Final = "export"
PAIRS_FILE: Final = "pairs.jsonl"


@dataclass(frozen=True, kw_only=True)
class ExportTally:
    """What a data set holds."""

    waiting: int
    answered: int
    ties: int
    bad: int
    pairs: int
    judged: int
    """Answers with a winner, of which a judge also saw every image."""
    agreed: int
    """Those of `judged` where the judge's highest reward was the winner's alone."""
    damaged: int
    """Lines of the file that could not be read."""


def tally(book: Book) -> ExportTally:
    answered = [(book.questions[key], choice) for key, choice in book.choices.items()]
    choices = [choice for _, choice in answered]
    agreements = [_judge_agrees(question, choice) for question, choice in answered]
    return ExportTally(
        waiting=len(book.waiting),
        answered=len(answered),
        ties=choices.count("tie"),
        bad=choices.count("bad"),
        pairs=sum(1 for question, choice in answered for _ in pairs_of(question, choice)),
        judged=sum(agrees is not None for agrees in agreements),
        agreed=agreements.count(True),
        damaged=book.damaged,
    )


def summary(name: str, counts: ExportTally) -> str:
    """The tally in words."""
    sentence = (
        f"{name}: {counts.answered} answered (ties: {counts.ties}, all bad: {counts.bad}), {counts.waiting} waiting; "
        f"{counts.pairs} pairs."
    )
    if counts.judged:
        sentence += f" The judge picked the same image in {counts.agreed} of {counts.judged}."
    if counts.damaged:
        sentence += f" {counts.damaged} damaged lines of its file are left out."
    return sentence


def pairs_of(question: PreferenceQuestion, choice: Choice) -> Iterator[tuple[int, int, str]]:
    """(first, second, preference): the winner against each other candidate, or every pair as a tie.

    Places follow the batch, so they do not tell the winner. An image is never paired with itself.
    """
    for first, second in combinations(range(len(question.candidates)), 2):
        if question.candidates[first] == question.candidates[second]:
            continue
        if choice in ("tie", "bad"):
            yield first, second, "TIE"
        elif choice in (first, second):
            yield first, second, "A" if choice == first else "B"


def export(store: PreferenceStore) -> int:
    """Write the export anew from the answers that stand; gives the number of pairs."""
    book, folder = store.book(), store.folder / EXPORT
    lines, pictures = [], set()
    for key, choice in book.choices.items():
        question = book.questions[key]
        for first, second, preference in pairs_of(question, choice):
            lines.append(encoded(_row(store.name, question, choice, first, second, preference)))
            pictures |= {question.candidates[first], question.candidates[second], *question.sources}
    for place in sorted(pictures):
        _copy(store.folder / place, folder / place)
    replace_file(folder / PAIRS_FILE, lines)
    return len(lines)


def _row(
    name: str, question: PreferenceQuestion, choice: Choice, first: int, second: int, preference: str
) -> dict[str, Any]:
    rewards = question.rewards or (None,) * len(question.candidates)
    return {
        "request": question.request,
        "first": question.candidates[first],
        "second": question.candidates[second],
        "preference": preference,
        "source": ";".join(question.sources),
        "origin": f"own picks: {name}",
        "question": question.key,
        "answer": choice if choice in ("tie", "bad") else "best",
        "reward_first": rewards[first],
        "reward_second": rewards[second],
    }


def _judge_agrees(question: PreferenceQuestion, choice: Choice) -> bool | None:
    """None where there is no winner, or the judge did not score every image."""
    rewards = [reward for reward in question.rewards if reward is not None]
    if not isinstance(choice, int) or len(rewards) != len(question.candidates):
        return None
    return rewards[choice] == max(rewards) and rewards.count(max(rewards)) == 1


def _copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system allows it, else a copy of them."""
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as content, replacing(target, lasting=False) as copy:
            shutil.copyfileobj(content, copy)
