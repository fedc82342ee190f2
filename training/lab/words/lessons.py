"""What adapters of the scorer are taught on the head's own pictures: the oracle's scores, without a word.

So the same backbone has seen the same pictures for the same number of steps as the head. What differs is what it is
told of them: three scores, one mean score, or (the head) which of two is better.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import checkpoint_rubric, generation_rubric, rubric_to_toml
from rationalrewards_core.storage import replace_file

from ...data.labelled_pairs import PAIRS_FILE, PairFolder
from ...data.store import ImageStore
from ...parrot.chat import chat_rows
from ...rewards.wordless import wordless_reply
from ...sft.config import SftConfig
from ...sft.trainer import SftTrainer
from ..nft_proof.head import run_folder, setting
from .ways import HEAD, WordsOptions

LESSONS: Final = ("scores", "mean")
BATCH: Final = 32


def lesson_rubric(lesson: str) -> Rubric:
    """The scorer's own, or its first dimension alone.

    The mean score stands under that dimension's heading: one of its own would be spelled in letters, which the scorer never
    writes, and what the lesson taught would be spelling.
    """
    own = checkpoint_rubric(scorer_folder(), "generation")
    assert own is not None
    if lesson == "scores":
        return own
    return replace(own, name="miniature-mean", dimensions=own.dimensions[:1])


def lesson_answer(lesson: str, request: str, truth: Critique) -> str:
    """What is to be written of a picture with these true scores."""
    if lesson == "scores":
        return wordless_reply(truth, lesson_rubric(lesson))
    rubric = lesson_rubric(lesson)
    mean = 1.0 + 3.0 * reward(truth, generation_rubric())
    only = (Judgement(key=rubric.dimensions[0].key, justification="", score=mean),)
    return wordless_reply(replace(truth, judgements=only), rubric)


def train_lesson(lesson: str, options: WordsOptions, out: Path, seed: int) -> None:
    """An adapter in the seed's run below `out/LESSON`; goes on where it was stopped."""
    export, run = out / lesson / "export", run_folder(out / lesson, seed)
    if not (export / "train.jsonl").is_file():
        _write(lesson, out / HEAD / "pairs", export)
    if not (run / "adapter").is_dir():
        torch.set_num_threads(1)
        SftTrainer(_setting(export, options.steps, seed), run).train()


def _setting(export: Path, steps: int, seed: int) -> SftConfig:
    """As the head is trained; nothing is chosen on the way, so nothing is measured."""
    return replace(setting(export, steps, BATCH), evaluate_every=0, save_every=max(1, min(50, steps)), seed=seed)


def _write(lesson: str, taught: Path, export: Path) -> None:
    """Every picture of the head's training pairs, once, in their order."""
    export.mkdir(parents=True, exist_ok=True)
    rubric = lesson_rubric(lesson)
    (export / "rubric_generation.toml").write_text(rubric_to_toml(rubric), encoding="utf-8")
    (export / PAIRS_FILE).write_bytes((taught / PAIRS_FILE).read_bytes())
    if not (export / "images").exists():
        (export / "images").symlink_to((taught / "images").resolve())
    replace_file(export / "train.jsonl", list(_rows(lesson, taught, rubric)))


def _rows(lesson: str, taught: Path, rubric: Rubric) -> Iterator[bytes]:
    store = ImageStore(taught)
    pairs = [labelled.pair for labelled in PairFolder(taught).pairs("train")]
    for request, reference in dict.fromkeys((p.request, image) for p in pairs for image in (p.first, p.second)):
        picture = store.open(reference)
        messages = critique_messages(UserRequest(request), picture, rubric)
        answer = lesson_answer(lesson, request, oracle_critique(request, picture))
        yield json.dumps(chat_rows(messages, answer, [reference], "chat")).encode() + b"\n"
