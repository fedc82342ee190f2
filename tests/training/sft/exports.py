"""A small export of the miniature world, in the form that PARROT writes: chats, pairs, images."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature.flaws import Example, Picture, sample_edited, sample_generation
from training.data.labelled_pairs import LabelledPair, write_pairs
from training.data.pairs import PreferencePair
from training.data.store import ImageStore
from training.lab.miniature.evaluate import held_out_pairs, true_reward
from training.lab.miniature.student import answer_text, rubrics
from training.parrot.chat import ChatFormat, chat_rows


def write_export(
    folder: Path, *, train: int = 16, dev_pairs: int = 4, seed: int = 11, form: ChatFormat = "chat"
) -> Path:
    """`train` examples (a third of them edits) and `dev_pairs` development pairs with the oracle's preference."""
    folder.mkdir(parents=True, exist_ok=True)
    store = ImageStore(folder)
    rng = np.random.default_rng(seed)
    examples = [sample_edited(rng) if i % 3 == 2 else sample_generation(rng) for i in range(train)]
    lines = [json.dumps(chat_row(example, store, form)) for example in examples]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_pairs(labelled_pairs(store, dev_pairs), folder)
    return folder


def chat_row(example: Example, store: ImageStore, form: ChatFormat = "chat") -> dict[str, Any]:
    """One line: the messages that the scorer would send, and the true critique as the answer."""
    sources = () if example.source is None else (Image.fromarray(example.source),)
    rubric = rubrics()["edit" if sources else "generation"]
    messages = critique_messages(UserRequest(example.request, sources), Image.fromarray(example.picture), rubric)
    names = [store.add(png(np.asarray(image))) for message in messages for image in message.images]
    chat = chat_rows(messages, answer_text(example), names, form)
    return {**chat, "request_id": example.request, "split": "train", "provenance": {}}


def labelled_pairs(store: ImageStore, count: int, split: str = "dev") -> list[LabelledPair]:
    """Pairs of pictures of one request; the oracle is the person."""
    found = []
    for pair in held_out_pairs(count):
        first, second = (store.add(png(example.picture)) for example in (pair.first, pair.second))
        better = Verdict.A if true_reward(pair.first) > true_reward(pair.second) else Verdict.B
        request = pair.first.request
        labelled = PreferencePair(request=request, first=first, second=second, preference=better, origin="miniature")
        found.append(LabelledPair(labelled, split))
    return found


def png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
