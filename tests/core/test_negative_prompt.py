"""What a critique says should not be there becomes a negative prompt; what the prompt asks for never does."""

from __future__ import annotations

import time

import pytest

from rationalrewards_core.critique import Critique, Judgement, Refinement
from rationalrewards_core.rewording import refined_negative, split_negative, with_negative


def critique(justification: str = "", comments: str = "", request: str = "", raw: str = "") -> Critique:
    return Critique(
        rubric="generation",
        judgements=(Judgement(key="text_faithfulness", justification=justification, score=2.0),),
        refinement=Refinement(comments=comments, request=request),
        raw=raw,
    )


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ({"justification": "There is an extra small green triangle."}, "extra small green triangle"),
        (
            {"justification": "The left hand has extra fingers, and an unwanted watermark is in the corner."},
            "extra fingers, watermark",
        ),
        ({"justification": "There are no extra fingers, nor any unwanted text."}, ""),
        ({"justification": "It doesn't show any stray lines."}, ""),
        ({"comments": "Ask for no word; avoid blur."}, "word, blur"),
        ({"comments": "No changes are needed, no other issue."}, ""),
        ({"request": "a cat on a sofa, without any text, logos or watermarks, soft light"}, "text, logos, watermarks"),
        ({"request": "a street free of cars in the rain, no people and a red bus"}, "cars, people"),
        ({"request": 'a sign that says "NO PARKING"'}, ""),
        (
            {"raw": "# Refinement\nRefined Request: a cat\nNegative prompt: blurry, low contrast\n\n# End"},
            "blurry, low contrast",
        ),
        ({"raw": "**Negative Prompt:** deformed hands"}, "deformed hands"),
    ],
)
def test_terms_that_a_critique_names(given: dict[str, str], terms: str) -> None:
    negative, added = refined_negative("", "an animal", critique(**given))
    assert negative == ", ".join(added) == terms


def test_what_the_prompt_asks_for_is_never_unwanted() -> None:
    said = critique("There is an extra cat and an unwanted hat.", request="a cat without a collar")
    assert refined_negative("", "a cat in a hat", said)[1] == ("collar",)
    assert refined_negative("", "a street, no people", critique(request="a street, no people"))[1] == ("people",)
    assert refined_negative("", 'a sign "OPEN"', critique("There is unwanted text."))[1] == ()


def test_the_negative_prompt_is_added_to_once() -> None:
    said = critique("There is an unwanted watermark.")
    assert refined_negative("blurry, ", "a cat", said) == ("blurry, watermark", ("watermark",))
    assert refined_negative("blurry, (big watermark:1.2)", "a cat", said) == ("blurry, (big watermark:1.2)", ())
    many = critique(raw="Negative prompt: " + ", ".join(f"thing{letter}" for letter in "abcdefghijklmnop"))
    assert len(refined_negative("", "a cat", many)[1]) == 8


def test_one_text_carries_both() -> None:
    for prompt, negative in (("a cat", "blurry, text"), ("a cat", ""), ("a cat, 8k", "a: b")):
        assert split_negative(with_negative(prompt, negative)) == (prompt, negative)
    assert split_negative('a book called "Negative prompt: none"') == ('a book called "Negative prompt: none"', "")
    assert split_negative("a cat Negative prompt: dogs") == ("a cat", "dogs")


def test_long_texts_take_no_time() -> None:
    began = time.process_time()
    for words in ("no ", "extra ", "without a, ", "unwanted x or y, ", "negative ", "no cat or "):
        text = words * (50_000 // len(words))
        refined_negative(text, "a cat", critique(text, text, text, text))
    assert time.process_time() - began < 30
