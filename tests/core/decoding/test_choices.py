"""Choices: greedy and drawn, free and masked; drafts leave the distribution of what is drawn exact."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.decoding import choices as choices_module
from rationalrewards_core.backends.decoding.choices import Choices, Draw
from rationalrewards_core.backends.decoding.drafts import Draft
from rationalrewards_core.backends.decoding.rows import Row
from tests.core.decoding.random_checkpoint import asked, picture, random_checkpoint
from tests.core.decoding.test_decoding_loop import SOURCES, decoder_of, sourced

DRAWS = 2_500
LOGITS = torch.tensor([[1.0, 0.0, -1.0, 2.0, 0.5, -9.0], [0.0, 1.5, 0.3, -2.0, 0.7, 0.1]])
"""Two tokens of a reply: the second does not depend on the first."""
ALLOWED = (torch.tensor([True, True, True, False, True, True]), torch.tensor([True, False, True, True, True, False]))


class Positional:
    """A grammar that allows `ALLOWED[position]`, whatever came before."""

    def __init__(self) -> None:
        self.position = 0
        self.ended = False

    def allowed(self) -> Any:
        return ALLOWED[self.position]

    def accept(self, token: int) -> bool:
        fits = bool(ALLOWED[self.position][token])
        self.position += fits
        return fits


class Letters:
    def text(self, token: int) -> str:
        return "abcdef"[token]

    def may_be_score(self, token: int) -> bool:
        return False


def reply(seed: int, temperature: float, draft: Sequence[int], *, guided: bool = True) -> list[int]:
    """Two tokens by the row's own rule, the second of them in the same pass if the draft was right."""
    row = Row(
        Sampling(),
        prompt=None,
        prompt_tokens=0,
        limit=2,
        stop_ids=(),
        pieces=Letters(),  # type: ignore[arg-type]
        guide=Positional() if guided else None,  # type: ignore[arg-type]
        drafter=None,
        draw=Draw(temperature, seed),
    )
    while row.live:
        at = len(row.ids)
        tokens = tuple(draft[at:1])
        logits = LOGITS[None, at : at + len(tokens) + 1]
        row.take(Choices(logits, [row.draw], [at]), 0, Draft(tokens, (1.0,) * len(tokens)))
    return row.ids


def chi_square(counts: Counter[int], expected: Any) -> float:
    """Of the tokens that were expected at least five times; the others are counted with the rarest of them."""
    wanted = {token: DRAWS * share for token, share in enumerate(expected.tolist()) if share > 0}
    assert set(counts) <= set(wanted), "a token that may not stand there was drawn"
    common = {token for token, count in wanted.items() if count >= 5}
    pairs = [(counts[token], wanted[token]) for token in common]
    rare = [(counts[token], wanted[token]) for token in wanted.keys() - common]
    if rare:
        last = pairs.pop()
        pairs.append((last[0] + sum(c for c, _ in rare), last[1] + sum(w for _, w in rare)))
    return sum((seen - mean) ** 2 / mean for seen, mean in pairs)


@pytest.mark.parametrize(
    ("temperature", "draft"), [(0.7, ()), (2.0, (3,)), (1.0, (0,))], ids=["none", "forbidden", "likely"]
)
def test_drawn_tokens_follow_the_masked_softmax_whatever_is_drafted(temperature: float, draft: tuple[int, ...]) -> None:
    replies = [reply(seed, temperature, draft) for seed in range(DRAWS)]
    for at, allowed in enumerate(ALLOWED):
        expected = (LOGITS[at] / temperature).masked_fill(~allowed, float("-inf")).softmax(-1)
        assert chi_square(Counter(ids[at] for ids in replies), expected) < 18.5, "one in a thousand at 4 degrees"


def test_seeded_draws_do_not_depend_on_drafts() -> None:
    for seed in range(150):
        assert len({tuple(reply(seed, 1.0, draft)) for draft in [(), (3,), (0,), (4,)]}) == 1


def test_the_first_and_the_second_token_are_drawn_independently() -> None:
    pairs = Counter(tuple(reply(seed, 1.0, (), guided=False)) for seed in range(DRAWS))
    first, second = LOGITS.softmax(-1)
    expected = (first[:, None] * second[None]).flatten()
    counts = Counter({6 * a + b: count for (a, b), count in pairs.items()})
    assert chi_square(counts, expected) < 66.6, "one in a thousand at 35 degrees of freedom"


def test_seeded_draws_of_the_loop_depend_neither_on_batch_nor_on_drafts() -> None:
    requests = [asked("A: ", picture(n)) for n in range(3)]
    sampling = [Sampling(temperature=1.3, seed=n, max_tokens=12, grammar="root ::= [a-z .]*") for n in range(3)]
    decoder = decoder_of(0)
    rows = [decoder.row(r, s) for r, s in zip(requests, sampling, strict=True)]
    decoder.run(rows)
    assert random_checkpoint(0).stop_ids == [2]
    for row, messages, how in zip(rows, requests, sampling, strict=True):
        for source in ("silent", "garbage", "right, with the end and more"):
            line = SOURCES[source]
            assert line is not None
            alone = decoder_of(0)
            single = sourced(alone.row(messages, how), line(row.ids, random.Random(0)))
            alone.run([single])
            assert single.ids == row.ids
    assert len({tuple(row.ids) for row in rows}) == 3


def test_unseeded_draws_differ() -> None:
    decoder = decoder_of(0)
    rows = [decoder.row(asked("A"), Sampling(temperature=1.0, max_tokens=8)) for _ in range(3)]
    decoder.run(rows)
    assert len({tuple(row.ids) for row in rows}) > 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0 - 2.0**-53])
def test_the_largest_and_the_smallest_share_draw_what_may_stand(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 rounds the largest share up to 1, at which nothing would be left to take."""
    monkeypatch.setattr(choices_module.random.Random, "random", lambda self: share)
    allowed = torch.tensor([False, True, True, False, True, False])
    for _ in range(20):
        choices = Choices(torch.randn(1, 1, 6), [Draw(1.0, 0)], [0])
        assert allowed[choices.among(0, 0, allowed)]


def test_alternatives_are_the_softmax_under_the_grammar_untouched_by_temperature() -> None:
    choices = Choices(LOGITS[None], [Draw(2.0, 0)], [0])
    free, masked = choices.likeliest([(0, 0, None), (0, 0, ALLOWED[0])], 10)
    assert [token for token, _ in free] == LOGITS[0].argsort(descending=True).tolist()
    assert [p for _, p in free] == pytest.approx(LOGITS[0].softmax(-1).sort(descending=True).values.tolist())
    assert 3 not in [token for token, _ in masked]
    assert sum(p for _, p in masked) == pytest.approx(1.0)
    assert len(choices.likeliest([(0, 1, None)], 2)[0]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_allowed_tokens_have_the_probabilities_of_the_whole_vocabulary(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(3)).to(dtype) * 4
    masks = [torch.zeros(400, dtype=torch.bool) for _ in range(3)]
    for mask, ids in zip(masks, ([7], [3, 4, 5, 399], range(0, 60, 2)), strict=True):
        mask[list(ids)] = True
    choices = Choices(logits, [Draw(0.0, 0)] * 2, [0, 0])
    places = [(0, 2, masks[0]), (1, 0, masks[1]), (0, 1, masks[2])]
    few = choices.likeliest(places, 5)
    assert [len(table) for table in few] == [1, 4, 5]
    monkeypatch.setattr(choices_module, "FEW", 0)
    for table, whole in zip(few, choices.likeliest(places, 5), strict=True):
        assert [p for _, p in table] == pytest.approx([p for _, p in whole[: len(table)]], abs=1e-6)
        assert {t for t, _ in table} == {t for t, _ in whole[: len(table)]} or dtype is torch.bfloat16
