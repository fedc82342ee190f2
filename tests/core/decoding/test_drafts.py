"""Drafts: what n-gram counts propose, how sure they are, and how much earlier replies are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rationalrewards_core.backends.decoding import drafts
from rationalrewards_core.backends.decoding.continuations import (
    ORDER,
    Continuations,
    context_of,
    counts_of,
    endings,
)
from rationalrewards_core.backends.decoding.drafts import FLOOR, LEAST_TRUST, Draft, Drafter, ReplyMemory

PHRASE = list(range(100, 130))
NEWLINE = 7_000


def told(prompt: list[int], reply: list[int], memory: ReplyMemory | None = None) -> Drafter:
    drafter = Drafter(prompt, memory or ReplyMemory(), lambda token: token == NEWLINE)
    for token in reply:
        drafter.learn(token)
    return drafter


def remember(memory: ReplyMemory, tokens: list[int]) -> None:
    for position in range(1, len(tokens)):
        memory.count(endings(context_of(tokens[:position])), tokens[position])


def test_continuations_count_every_context_up_to_six() -> None:
    table = Continuations()
    table.learn([1, 2, 3, 1, 2, 4])
    assert counts_of(table.entry(context_of([1, 2]))) == {3: 1, 4: 1}
    assert counts_of(table.entry(context_of([3, 1]))) == {2: 1}
    assert counts_of(table.entry(context_of([2, 3, 1, 2]))) == {4: 1}
    assert counts_of(table.entry(context_of([9]))) is None
    table.learn(list(range(10)))
    assert counts_of(table.entry(context_of(range(ORDER)))) == {ORDER: 1}
    assert context_of(range(ORDER + 1)) == context_of(range(1, ORDER + 1)), "no context is longer"
    assert context_of([0, 5]) != context_of([5]), "token 0 counts as any other"


def test_what_the_prompt_says_is_drafted_word_for_word() -> None:
    drafter = told([1, 2, *PHRASE, 3], [50, *PHRASE[:4]])
    draft = drafter.draft(8)
    assert list(draft.tokens) == PHRASE[4:12]
    assert list(draft.chances) == sorted(draft.chances, reverse=True)
    assert all(FLOOR <= chance <= 1.0 for chance in draft.chances)


def test_what_an_earlier_reply_said_is_drafted_too() -> None:
    memory = ReplyMemory()
    remember(memory, [50, *PHRASE])
    assert told([1, 2, 3], [50], memory).draft(15).tokens[:3] == tuple(PHRASE[:3])
    assert told([1, 2, 3], [50]).draft(15).tokens == ()


def test_this_reply_outweighs_an_earlier_one() -> None:
    memory = ReplyMemory()
    remember(memory, [1, 2, 3, 60])
    assert told([9], [1, 2, 3, 61, 8, 1, 2, 3], memory).draft(1).tokens == (61,)


def test_words_of_the_prompt_outweigh_words_of_other_requests() -> None:
    """After "a", other critiques went on with "fox" more often, but this request has a "bear"."""
    article, fox, bear = 1, 60, 61
    memory = ReplyMemory()
    for animal in (fox, fox, fox, bear):
        remember(memory, [article, animal])
    assert told([7, bear, 8], [article], memory).draft(1).tokens == (bear,)
    assert told([7, 8], [article], memory).draft(1).tokens == (fox,)


def test_a_row_whose_drafts_fail_is_trusted_less_but_never_given_up() -> None:
    drafter = told([1, *PHRASE], [1, *PHRASE[:6]])
    bold = len(drafter.draft(20).tokens)
    for _ in range(30):
        drafter.verified(drafter.draft(20), 0)
    shy = drafter.draft(20)
    assert 0 < len(shy.tokens) < bold
    assert shy.chances[0] <= LEAST_TRUST
    for _ in range(30):
        draft = drafter.draft(20)
        drafter.verified(draft, len(draft.tokens))
    assert len(drafter.draft(20).tokens) == bold
    drafter.verified(Draft(), 0)


@given(st.lists(st.integers(0, 5), max_size=40), st.lists(st.integers(0, 5), max_size=40), st.integers(-1, 15))
def test_a_draft_is_never_longer_than_it_may_be(prompt: list[int], reply: list[int], most: int) -> None:
    draft = told(prompt, reply).draft(most)
    assert len(draft.tokens) == len(draft.chances) == len(draft.kinds) <= max(0, most)
    assert set(draft.tokens) <= {*prompt, *reply}
    assert draft.cut(2) == Draft(draft.tokens[:2], draft.chances[:2], draft.kinds[:2])


def test_a_kind_of_token_that_is_rarely_right_is_claimed_less_surely_by_every_row() -> None:
    """One row's drafts fail: the next row, which has seen nothing of it, expects less of the same kind."""
    memory = ReplyMemory()
    prompt, reply = [1, *PHRASE], [1, *PHRASE[:6]]
    before = told(prompt, reply, memory).draft(1).chances[0]
    failing = told(prompt, reply, memory)
    for _ in range(20):
        failing.verified(failing.draft(1), 0)
    assert told([5, *prompt], reply, memory).draft(1).chances[0] < 0.5 * before


def test_the_memory_of_replies_is_bounded_and_keeps_the_latest() -> None:
    memory = ReplyMemory(contexts=2_000)
    for number in range(200):
        remember(memory, list(range(100 * number, 100 * number + 50)))
        assert len(memory._young) + len(memory._old) <= 2_000 + 2 * 50 * ORDER
    assert counts_of(memory.entry(context_of([19_900]))) == {19_901: 1}
    assert counts_of(memory.entry(context_of([0]))) is None


def test_both_halves_of_the_memory_count() -> None:
    memory = ReplyMemory(contexts=20)
    remember(memory, [1, 2, 3, 4, 5])
    remember(memory, [1, 2, 9])
    assert counts_of(memory.entry(context_of([1]))) == {2: 2}
    assert counts_of(memory.entry(context_of([2]))) == {3: 1, 9: 1}


def test_the_last_reply_to_the_same_request_is_read_along_past_words_that_differ() -> None:
    """What stands between two words that differ is in no count: every single token of it occurs everywhere."""
    first = [1, 2, 3, 1, 1, 2, 2, 3, 3, 1]
    memory = ReplyMemory()
    told([40, 41], first, memory)
    told([50, 51], [3, 1, 2, 2, 1, 3, 3, 2, 1], memory)
    again = told([40, 41], [9, 2, 3, 1], memory)
    assert again.draft(6).tokens == tuple(first[4:])


def test_a_request_that_was_never_judged_reads_the_latest_reply_along() -> None:
    memory = ReplyMemory()
    told([40, 41], [*PHRASE[:4], NEWLINE, *PHRASE[10:14]], memory)
    assert told([50, 51], [8, 8, 8, NEWLINE], memory).draft(4).tokens == tuple(PHRASE[10:14])


def test_of_two_sources_the_one_that_was_right_more_often_is_taken() -> None:
    """The counts claim more for 6 than the reply that is read along claims for 5, until they have been wrong."""
    memory = ReplyMemory()
    told([50, 51], [9, 2, 3, 4, 6], memory)
    told([40, 41], [1, 2, 3, 4, 5], memory)
    drafter = told([40, 41], [9, 2, 3, 4], memory)
    claim = drafter.draft(1)
    assert claim.tokens == (6,)
    for _ in range(50):
        memory.rates.learn(claim.kinds[0], right=False)
    assert drafter.draft(1).tokens == (5,)


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_nothing_is_drafted_from_behind_the_end_of_the_earlier_reply(old: list[int], new: list[int]) -> None:
    """However often it was right: behind its end stands no token."""
    memory = ReplyMemory()
    told([40, 41], old, memory)
    for source in range(3):
        for run in range(6):
            for share in range(11):
                for _ in range(20):
                    memory.rates.learn((source, run, share), right=True)
    drafter = told([40, 41], new, memory)
    assert set(drafter.draft(30).tokens) <= {40, 41, *old, *new}


def test_every_row_of_a_batch_reads_the_batch_before_along() -> None:
    """Rows are made together, before any of them has written: none takes the place of the reply it could read."""
    first = [1, 2, 3, 1, 1, 2, 2, 3, 3, 1]
    memory = ReplyMemory()
    told([40, 41], first, memory)
    told([50, 51], [3, 1, 2, 2, 1, 3, 3, 2, 1], memory)
    batch = [Drafter([40, 41], memory, lambda token: token == NEWLINE) for _ in range(3)]
    for token in (9, 2, 3, 1):
        for row in batch:
            row.learn(token)
    assert [row.draft(6).tokens for row in batch] == [tuple(first[4:])] * 3


def test_what_the_model_wrote_behind_a_refused_token_is_drafted() -> None:
    """A word that it wanted otherwise seldom changes what follows; it counts for the next pass only."""
    drafter = told([1, 2, 3], [50])
    assert drafter.draft(8).tokens == ()
    drafter.verified(Draft((4, 5, 6), (0.9,) * 3, ((0, 1, 9),) * 3), 0, [5, 61])
    assert drafter.draft(8).tokens == (5, 61)
    assert drafter.draft(1).tokens == (5,)
    drafter.verified(Draft(), 0)
    assert drafter.draft(8).tokens == ()


def test_counts_that_are_surer_than_the_model_behind_a_refused_token_go_before_it() -> None:
    drafter = told([1, *PHRASE], [1, *PHRASE[:3]])
    drafter.verified(Draft(), 0, [60])
    assert drafter.draft(1).tokens == (PHRASE[3],)
    for _ in range(50):
        drafter.verified(Draft((60,), (0.5,), ((3, 0, int(10 * drafter.draft(1).chances[0])),)), 1, [60])
    assert drafter.draft(1).tokens == (60,), "until it has proved right more often"


def test_only_the_latest_requests_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MEMORY_REPLIES", 3)
    memory = ReplyMemory()
    for number in range(9):
        told([number], [number], memory)
    assert len(memory._replies) == 3


def test_the_second_critique_of_a_request_takes_few_passes() -> None:
    """Critiques of an 8B's length, two held out; by counts alone 2.9 tokens a pass, by unchecked chances 3.7, by claims 3.8."""
    pytest.importorskip("torch")
    from benchmarks.replay import cases, tokens_per_pass

    seconds = [tokens_per_pass(case)[1] for case in cases()]
    assert min(seconds) > 3.0
    assert sum(seconds) / len(seconds) > 4.0
