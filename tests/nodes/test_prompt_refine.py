"""Prompt Refine: when it rewords, and what it says about it. The rules themselves: tests/core/test_rewording.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack


@pytest.fixture
def judged(pack: Pack, scorer: Any, images: Any, reply_text: Any) -> Any:
    def make(*scores: tuple[float, float, float | None], refined: str = "a fluffy red cat") -> Any:
        node = pack.module("nodes.rational_critique").RationalCritique
        judge = scorer(*(reply_text(*row, refined=refined) for row in scores))
        return asyncio.run(node.execute(judge, images(len(scores)), "a red cat"))[0]

    return make


@pytest.fixture
def refine(pack: Pack) -> Any:
    node = pack.module("nodes.prompt_refine").PromptRefine
    defaults = {entry.id: entry.default for entry in node.define_schema().inputs if entry.id != "critique"}
    return lambda critiques, **typed: node.execute(critiques, **{**defaults, **typed})


def test_what_the_node_offers_is_what_the_core_knows(pack: Pack) -> None:
    node = pack.module("nodes.prompt_refine")
    names = ("rewording", "loop.refine", "messages")
    rewording, refine, messages = (pack.module(f"rationalrewards_core.{name}") for name in names)
    assert rewording.STYLES == node.STYLES
    assert rewording.RewordingRules.max_length == node.MAX_LENGTH
    assert refine.RefinePolicy.minimum_score == node.MINIMUM
    longest = {entry.id: entry for entry in node.PromptRefine.define_schema().inputs}["max_length"].keywords["max"]
    assert longest == messages.MAX_REQUEST_CHARACTERS


def test_rewords_where_a_dimension_fails(judged: Any, refine: Any) -> None:
    out = refine(judged((2.0, 4.0, None)), prompt="a red cat <lora:paper:0.8>")
    prompt, changed, comments, diff, _ = out.args
    assert prompt == "a fluffy red cat, <lora:paper:0.8>"
    assert changed is True
    assert comments == "Below the minimum: Text Faithfulness 2.0.\nSay more.\nPut back: <lora:paper:0.8>."
    assert diff == "a **fluffy** red cat, &lt;lora:paper:0.8&gt;"
    shown = out.ui["rr_refine"][0]
    assert (shown["before"], shown["after"], shown["changed"]) == ("a red cat <lora:paper:0.8>", prompt, True)


def test_an_empty_prompt_is_the_judged_one(judged: Any, refine: Any) -> None:
    assert refine(judged((2.0, 4.0, None))).args[:2] == ("a fluffy red cat", True)
    assert refine(judged((4.0, 4.0, None))).args[:2] == ("a red cat", False)


def test_keeps_the_prompt_where_nothing_fails(judged: Any, refine: Any) -> None:
    prompt, changed, comments, diff, _ = refine(judged((3.0, 3.0, None)), prompt="x", prefix="best").args
    assert (prompt, changed, diff) == ("x", False, "x")
    assert "reaches its minimum" in comments


def test_minimums(pack: Pack, judged: Any, refine: Any) -> None:
    critiques = judged((3.0, 3.0, None))
    assert refine(critiques, minimum=3.5)[1] is True
    assert refine(critiques, minimums="Text Faithfulness=3.2")[1] is True
    assert refine(critiques, minimum=3.5, minimums="text_faithfulness=3, physical_quality=3")[1] is False
    with pytest.raises(pack.core("errors").ConfigError, match="no dimension 'beauty'"):
        refine(critiques, minimums="beauty=3")


def test_which_images_critique(pack: Pack, judged: Any, refine: Any) -> None:
    critiques = judged((2.0, 2.0, None), (4.0, 4.0, None))
    assert refine(critiques)[1] is False, "the best image fails nowhere"
    assert refine(critiques, index=0)[1] is True
    with pytest.raises(pack.core("errors").ConfigError, match="index is 2, and there are 2"):
        refine(critiques, index=2)


def test_unscored_keeps_the_prompt_and_says_why(pack: Pack, scorer: Any, images: Any, refine: Any) -> None:
    node = pack.module("nodes.rational_critique").RationalCritique
    critiques = asyncio.run(node.execute(scorer("unreadable"), images(1), "a cat"))[0]
    prompt, changed, comments, *_ = refine(critiques).args
    assert (prompt, changed) == ("a cat", False)
    assert comments.startswith("The image could not be judged: ")


def test_scores_without_a_refinement_say_what_to_connect(pack: Pack, scorer: Any, images: Any, refine: Any) -> None:
    node = pack.module("nodes.multi_dim_score").MultiDimScore
    critiques = asyncio.run(node.execute(scorer((2.0, 2.0, None)), images(1), "a cat", 0.8, "", "")).args[-1]
    prompt, changed, comments, *_ = refine(critiques).args
    assert (prompt, changed) == ("a cat", False)
    assert "connect Rational Critique" in comments


def test_a_style_or_length_that_cannot_be(pack: Pack, judged: Any, refine: Any) -> None:
    for typed in ({"style": "freely"}, {"max_length": 0}):
        with pytest.raises(pack.core("errors").ConfigError):
            refine(judged((2.0, 4.0, None)), **typed)


def test_html_in_prompts_is_text_in_the_diff(judged: Any, refine: Any) -> None:
    out = refine(judged((2.0, 4.0, None), refined="a <script>alert(1)</script> cat"), prompt="a <b>cat</b>")
    assert "<" not in out[3]


def test_what_should_not_be_there_joins_the_negative_prompt(judged: Any, refine: Any) -> None:
    wish = "a fluffy red cat without a collar"
    out = refine(judged((2.0, 4.0, None), refined=wish), prompt="a red cat", negative_prompt="blurry").args
    assert out[4] == "blurry, collar"
    assert out[2].endswith("\nShould not be there: collar.")
    kept = refine(judged((4.0, 4.0, None), refined=wish), prompt="a red cat", negative_prompt="blurry").args
    assert (kept[4], "Should" in kept[2]) == ("blurry", False), "nothing fails"
    assert refine(judged((2.0, 4.0, None), refined=wish), prompt="a cat in a collar").args[4] == ""
