"""Quoted text and names that a rewriting lost come back; nothing is a name that is none."""

from __future__ import annotations

import pytest

from rationalrewards_core.rewording.kept import kept_terms, with_kept_terms


def test_quoted_text_and_names_survive_the_rewriting() -> None:
    original = 'A sign saying "OPEN 24h" in front of the Eiffel Tower, by Claude Monet'
    assert kept_terms(original) == ('"OPEN 24h"', "Eiffel Tower", "Claude Monet")
    assert with_kept_terms(original, "a tower with a sign by Claude Monet.") == (
        'a tower with a sign by Claude Monet; keep "OPEN 24h", Eiffel Tower'
    )
    complete = "the eiffel tower and a sign “OPEN 24h”, Claude Monet"
    assert with_kept_terms(original, complete) == complete
    assert with_kept_terms("in Paris, France", "in paris at night") == "in paris at night; keep France"
    assert with_kept_terms("a map of Oman", "a woman with a map") == "a woman with a map; keep Oman"
    assert with_kept_terms("夜晚的Paris街道", "Paris的夜晚") == "Paris的夜晚"
    assert with_kept_terms("夜晚的Paris街道", "夜晚") == "夜晚; keep Paris"


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("The Eiffel Tower at night", ("Eiffel Tower",)),
        ("a house by Mies van der Rohe", ("Mies van der Rohe",)),
        ("a view of Élysée Palace and Škofja Loka", ("Élysée Palace", "Škofja Loka")),
        ("вид на Эрмитаж зимой", ("Эрмитаж",)),
        ("O'Brien's pub by Jean-Luc Godard's house", ("Jean-Luc Godard's",)),
        ("a cat; keep Paris, Emma Stone", ("Paris", "Emma Stone")),
    ],
)
def test_names(prompt: str, names: tuple[str, ...]) -> None:
    assert kept_terms(prompt) == names


@pytest.mark.parametrize(
    "prompt",
    [
        "A cat. The dog sleeps.",
        "A Cat On The Roof In Paris",
        "A CAT AND A DOG",
        "ein Plakat mit dem Wort offen vor einem Laden",
        "Der Hund sitzt auf einer Bank im Park und wartet",
        "Katze, Sonnenuntergang, Meer",
        "a cat, REGION(0 0 0.5 1) a dog, MASK(0.5 1) a tree",
        "a cat <lora:Paper Cut:1>, embedding:EasyNegative, __Weather__, {Dawn|Dusk}, (Red Hat:1.2), [Cat:Dog:0.5]",
        "a logo in #FF00AA and #ABCDEF",
        "a cat // ask Bob\n/* or Alice */",
        'a 12" vinyl, 6\'2" tall',
        "I and A",
        "1A1:猫",
        "a blue_Hat",
    ],
)
def test_what_is_no_name(prompt: str) -> None:
    assert kept_terms(prompt) == ()


def test_names_beside_german_words_in_an_english_prompt_stay() -> None:
    assert kept_terms("a poster for the play Sturm und Drang in Weimar") == ("Sturm", "Drang", "Weimar")
