"""An earlier reply read along: where the new one stands in it after words that differ, are missing or are new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rationalrewards_core.backends.decoding.counterpart import AgreementRates, Counterpart

WORDS: dict[str, int] = {}


def tokens_of(text: str) -> list[int]:
    return [WORDS.setdefault(word, len(WORDS)) for word in text.replace("\n", " \n ").split(" ") if word]


NEWLINE = tokens_of("\n")[0]
FIRST = tokens_of(
    "# Judgement\nThe cat sleeps on the roof , its tail is red .\nScore 3\n# Summary\nThe cat is good .\nEnd"
)


def after(new: str, old: list[int] = FIRST) -> list[int]:
    """What is expected to follow, word for word."""
    counterpart, written = Counterpart(old, AgreementRates(), lambda token: token == NEWLINE), []
    for token in tokens_of(new):
        written.append(token)
        counterpart.follow(written)
    return list(old[counterpart.place :])


def test_the_same_text_goes_on_as_it_did() -> None:
    assert after("# Judgement\nThe cat") == FIRST[5:]


def test_one_word_for_another() -> None:
    assert after("# Judgement\nThe dog") == FIRST[5:]


def test_words_that_are_missing() -> None:
    assert after("# Judgement\nThe cat , its") == FIRST[FIRST.index(WORDS["tail"]) :]


def test_words_that_are_new() -> None:
    assert after("# Judgement\nThe very old and very lazy cat sleeps") == FIRST[6:]


def test_after_the_line_comes_the_next_heading_whatever_the_line_said() -> None:
    assert after("# Judgement\nNothing of that kind at all .\n") == tokens_of(
        "Score 3\n# Summary\nThe cat is good .\nEnd"
    )


def test_a_sentence_is_looked_for_in_its_own_section() -> None:
    assert after("# Judgement\nIt is") == FIRST[FIRST.index(WORDS["red"]) :]


def test_a_line_that_begins_as_another_one_is_that_one() -> None:
    assert after("# Judgement\nThe cat sleeps .\nIt is warm .\nScore")[:3] == tokens_of("3\n#")


def test_behind_its_end_it_expects_nothing() -> None:
    counterpart, written = Counterpart(tokens_of("a b"), AgreementRates(), lambda token: False), []
    for token in tokens_of("a b c d"):
        written.append(token)
        counterpart.follow(written)
    assert counterpart.at(counterpart.place, counterpart.run) == (-1, 0.0)


def test_it_is_believed_as_far_as_it_was_right() -> None:
    rates = AgreementRates()
    before = rates.rate(9)
    for _ in range(200):
        rates.learn(9, right=False)
    assert rates.rate(9) < 0.1 < before
    assert rates.rate(0) == AgreementRates().rate(0)


@given(st.lists(st.integers(0, 4), max_size=30), st.lists(st.integers(0, 4), max_size=30))
def test_whatever_is_written_its_place_is_within_the_earlier_reply(old: list[int], new: list[int]) -> None:
    counterpart, written = Counterpart(old, AgreementRates(), lambda token: token == 0), []
    for token in new:
        written.append(token)
        counterpart.follow(written)
        assert 0 <= counterpart.place <= len(old)
        assert 0.0 <= counterpart.at(counterpart.place, counterpart.run)[1] < 1.0
