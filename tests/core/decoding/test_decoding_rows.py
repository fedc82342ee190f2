"""One row: where it ends, what of it is text, where its alternatives stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.backends.base import Finish, Sampling
from rationalrewards_core.backends.decoding.choices import Choices, Draw
from rationalrewards_core.backends.decoding.drafts import Draft
from rationalrewards_core.backends.decoding.rows import Pieces, Row
from rationalrewards_core.errors import ConfigError
from tests.core.decoding.random_checkpoint import STOP, VOCABULARY, random_checkpoint

PIECES = Pieces(random_checkpoint(0).tokeniser)


def ids(text: str) -> list[int]:
    return list(random_checkpoint(0).tokeniser(text, add_special_tokens=False)["input_ids"])


def row(limit: int = 100, **sampling: Any) -> Row:
    return Row(
        Sampling(**sampling),
        prompt=None,
        prompt_tokens=0,
        limit=limit,
        stop_ids=[STOP],
        pieces=PIECES,
        guide=None,
        drafter=None,
        draw=Draw(0.0, 0),
    )


def say(reply: Row, tokens: Sequence[int], *, draft: int) -> None:
    """Let the model write `tokens`, drafted rightly `draft` at a time; ends with the row."""
    while reply.live and len(reply.ids) < len(tokens):
        at = len(reply.ids)
        drafted = tuple(tokens[at : at + draft])
        logits = torch.zeros(1, len(drafted) + 1, VOCABULARY)
        for place, token in enumerate(tokens[at : at + draft + 1]):
            logits[0, place, token] = 5.0
        reply.take(Choices(logits, [reply.draw], [at]), 0, Draft(drafted, (1.0,) * len(drafted)))


@pytest.mark.parametrize("draft", [0, 1, 2, 3, 5, 15])
@pytest.mark.parametrize(
    ("stop", "text", "kept"),
    [
        (("\n# Summary",), "a red circle\n# Summary: fine", "a red circle"),
        (("##",), "one # two ### three", "one # two "),
        (("é",), "un café noir", "un caf"),
        (("noir»",), "un café «noir», deux", "un café «"),
        (("日本",), "in 日本 and 日本語", "in "),
        (("b", "a"), "cab", "c"),
        (("nothing like it",), "a red circle", "a red circle"),
    ],
)
def test_a_stop_text_ends_the_row_wherever_a_draft_ends(
    stop: tuple[str, ...], text: str, kept: str, draft: int
) -> None:
    reply = row(stop=stop)
    say(reply, [*ids(text), STOP], draft=draft)
    assert reply.finish is Finish.STOP
    assert reply.text() == kept
    if kept != text:
        before = PIECES.joined(reply.ids[:-1])
        assert not any(word in before for word in stop), "no token was written after the one that ended it"


def test_a_long_stop_text_is_recognised() -> None:
    stop = "\n\nHuman: what do you think of this picture, my dear judge"
    reply = row(stop=(stop,))
    say(reply, ids("It is red." + stop + " and more of it"), draft=4)
    assert reply.finish is Finish.STOP
    assert reply.text() == "It is red."


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not be empty"):
        Sampling(stop=("\n#", ""))


@pytest.mark.parametrize("draft", [0, 2, 15])
def test_an_end_inside_a_draft_is_not_part_of_the_reply(draft: int) -> None:
    reply = row()
    say(reply, [*ids("a red circle"), STOP, *ids(" and more")], draft=draft)
    assert (reply.text(), reply.finish) == ("a red circle", Finish.STOP)
    assert STOP not in reply.ids


@pytest.mark.parametrize("draft", [0, 2, 15])
def test_the_limit(draft: int) -> None:
    reply, tokens = row(limit=4), ids("a red circle left of a blue star")
    say(reply, tokens, draft=draft)
    assert reply.ids == tokens[:4]
    assert reply.finish is Finish.LENGTH
    assert reply.room == 0


def test_a_wrong_draft_is_counted_up_to_where_it_is_right() -> None:
    reply = row()
    logits = torch.zeros(1, 4, VOCABULARY)
    for place, token in enumerate([20, 21, 22, 23]):
        logits[0, place, token] = 5.0
    assert reply.take(Choices(logits, [reply.draw], [0]), 0, Draft((20, 21, 99), (1.0, 1.0, 1.0))) == 2
    assert reply.ids == [20, 21, 22]
    assert reply.take(Choices(logits[:, :1], [reply.draw], [3]), 0, Draft()) == 0


@pytest.mark.parametrize("draft", [0, 3])
def test_alternatives_stand_at_scores_and_nowhere_else(draft: int) -> None:
    reply = row(alternatives=3)
    say(reply, [*ids("Score: 3.5 or -1"), STOP], draft=draft)
    choices = reply.tokens()
    assert "".join(choice.text for choice in choices) == reply.text()
    for choice in choices:
        assert bool(choice.alternatives) == (choice.text.strip() in {"3", "5", "-", "1"})
        if choice.alternatives:
            assert choice.alternatives[0][0] == choice.text
            assert len(choice.alternatives) == 3
    assert row().tokens() == ()


def test_what_may_be_part_of_a_score() -> None:
    assert all(PIECES.may_be_score(ids(text)[0]) for text in "0123456789-")
    assert not any(PIECES.may_be_score(ids(text)[0]) for text in ("a", ".", "\n", " "))
    assert not PIECES.may_be_score(STOP)
