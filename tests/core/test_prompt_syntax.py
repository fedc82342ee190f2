"""What in a prompt is not prose."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rationalrewards_core.prompt_syntax import (
    commands,
    fixed_spans,
    fixed_terms,
    has_sections,
    weighted_words,
    without_halves,
    without_sections,
)


@pytest.mark.parametrize(
    ("prompt", "terms"),
    [
        ("a cat <lora:paper-cut_v2:0.8> in snow", ("<lora:paper-cut_v2:0.8>",)),
        ("a <lyco:x:1>, <hypernet:y:0.5>", ("<lyco:x:1>", "<hypernet:y:0.5>")),
        ("a (red hat:1.2) and (blue:.9)", ("(red hat:1.2)", "(blue:.9)")),
        ("((deep (nested:1.1) group:1.3) here)", ("(deep (nested:1.1) group:1.3)",)),
        ("a man (in the back) with ((emphasis))", ()),
        (r"smile \(art style\) (hat \(old\):1.1)", (r"(hat \(old\):1.1)",)),
        ("embedding:EasyNegative, embedding:by.someone.", ("embedding:EasyNegative", "embedding:by.someone")),
        ("(embedding:bad:1.2)", ("(embedding:bad:1.2)",)),
        ("__season__ light, __sky/clouds_v2__", ("__season__", "__sky/clouds_v2__")),
        ("{dawn|dusk|noon} in {braces}", ("{dawn|dusk|noon}",)),
        ('a sign "OPEN <lora:a:1> 24h"', ()),  # one quotation, tag and all
        ("a ratio (16:9) of 3:2", ("(16:9)",)),
        ("1 < 2 and a <3 heart", ()),
        ("unfinished (red hat:1.2 and ) closed", ()),
    ],
)
def test_terms(prompt: str, terms: tuple[str, ...]) -> None:
    assert fixed_terms(prompt) == terms


def test_spans_are_in_order_and_apart() -> None:
    text = '("OPEN":1.2) <lora:a:1> “closed” (x <lora:y) z:1>'
    spans = fixed_spans(text)
    assert all(first.end <= second.start for first, second in pairwise(spans))
    assert text[spans[0].start : spans[0].end] == '("OPEN":1.2)'


def test_commands_leave_weights_out() -> None:
    assert commands("(hat:1.2) <lora:a:1> embedding:b __c__ {d|e}") == ("<lora:a:1>", "embedding:b", "__c__", "{d|e}")


def test_halves() -> None:
    assert without_halves("a {b| <lora:c:1 <lora:d:1> e__", ("<lora:d:1>",)).split() == (
        ["a", "b|", "lora:c:1", "<lora:d:1>", "e"]
    )


def test_sections() -> None:
    assert has_sections("a cat BREAK a dog")
    assert not has_sections("a breakdance BREAKS")
    assert without_sections("a BREAK b").split() == ["a", "b"]


def test_words_of_a_weight() -> None:
    assert weighted_words("(red hat:1.2)") == "red hat"
    assert weighted_words("((red) hat:1.2)") == ""
    assert weighted_words("<lora:a:1>") == ""


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 20_000,
        "(a:" * 6_000,
        "<lora:" * 3_000,
        "{|" * 9_000,
        "__" * 9_000,
        '"a' * 9_000,
        "(a:1)" * 4_000,
        "embedding:" * 2_000,
    ],
)
def test_hostile_prompts_are_read(hostile: str) -> None:
    """The test hangs if a pattern backtracks over the whole text."""
    spans = fixed_spans(hostile)
    assert all(0 <= span.start < span.end <= len(hostile) for span in spans)
