"""One table of quotation marks, and what only looks like a quotation."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rationalrewards_core.quotation import MARKS, quotations, unquoted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a sign "OPEN" and “closed”', ("OPEN", "closed")),
        ("ein Schild mit „OFFEN“ und ‚zu‘", ("OFFEN", "zu")),
        ('„OFFEN” oder „OFFEN"', ("OFFEN", "OFFEN")),
        ("»OFFEN« und ›zu‹", ("OFFEN", "zu")),
        ("un panneau « OUVERT » et ‹ fermé ›", ("OUVERT", "fermé")),
        ("海报上写着「开业大吉」和『你好』", ("开业大吉", "你好")),
        ('一块写着"OK"的牌子', ("OK",)),
        ("看板に｢営業中｣と《春》", ("営業中", "春")),
        ("＂ＯＫ＂ と ＇ＯＫ＇", ("ＯＫ", "ＯＫ")),
        ("a sign that says 'OPEN'", ("OPEN",)),
        ("‘Bob’s Diner’ and 'Bob's Diner'", ("Bob’s Diner", "Bob's Diner")),
        ('"HELLO\nWORLD"', ("HELLO WORLD",)),
        ('קטה עם "שלום"', ("שלום",)),
        ('12" of "OPEN"', ("OPEN",)),
        ("from '90s posters: 'OPEN'", ("OPEN",)),
        ("a label `v1`", ("v1",)),
        ('“"” "OPEN"', ('"', "OPEN")),
    ],
)
def test_quotations(text: str, words: tuple[str, ...]) -> None:
    assert tuple(q.words for q in quotations(text)) == words


@pytest.mark.parametrize(
    "text",
    [
        'a 12" vinyl and a 7" single',
        "6'2\" tall, 5'10\"",
        "the dog's bone and the cats' toys, don't",
        "rock ’n roll in the ’90s, rock 'n' roll",
        'an unfinished "quotation',
        '"two lines\n\napart"',
        '"' + "a" * 201 + '"',
        'צה"ל ורמטכ"ל',
        '""',
    ],
)
def test_what_is_no_quotation(text: str) -> None:
    assert quotations(text) == []


@given(st.text("".join(o + c for o, c in MARKS) + "aä1 開\n,.", max_size=60))
def test_quotations_are_in_order_and_stand_by_themselves(text: str) -> None:
    spans = quotations(text)
    assert all(first.end <= second.start for first, second in pairwise(spans))
    for span in spans:
        alone = text[span.start : span.end]
        assert [q.words for q in quotations(f"x, {alone}, y")] == [span.words]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_marks_around_the_whole_are_taken_off(opening: str, closing: str) -> None:
    long = "a cat in full " * 30
    for mark in closing:
        assert unquoted(f"{opening}{long}{mark}") == long.strip()
    assert unquoted(f"{opening}a{closing[0]} and {opening}b{closing[0]}").startswith(opening)
    assert unquoted(opening) == opening
    assert unquoted("") == ""
