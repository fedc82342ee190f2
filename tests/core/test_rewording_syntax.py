"""What in a prompt is not prose."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rationalrewards_core.rewording.syntax import (
    commands,
    fixed_spans,
    fixed_terms,
    has_sections,
    is_structured,
    plain_words,
    tail,
    weighted_words,
    without_comments,
)


@pytest.mark.parametrize(
    ("prompt", "terms"),
    [
        ("a cat <lora:paper-cut_v2:0.8> in snow", ("<lora:paper-cut_v2:0.8>",)),
        ("a <lyco:x:1>, <hypernet:y:0.5>", ("<lyco:x:1>", "<hypernet:y:0.5>")),
        ("a (red hat:1.2) and (blue:.9)", ("(red hat:1.2)", "(blue:.9)")),
        ("((deep (nested:1.1) group:1.3) here) x", ("(deep (nested:1.1) group:1.3)",)),
        ("a man (in the back) with ((emphasis))", ("((emphasis))",)),
        ("(masterpiece), a man (in the back), [lowres]", ("(masterpiece)", "[lowres]")),
        (r"smile \(art style\) (hat \(old\):1.1)", (r"smile \(art style\)", r"(hat \(old\):1.1)")),
        ("a [cat:dog:0.5], [a::10] [:b:.3] [red|blue]", ("[cat:dog:0.5]", "[a::10]", "[:b:.3]", "[red|blue]")),
        ("{2$$a|b} {red|{light|dark} blue} ${x=!__y__}", ("{2$$a|b}", "{red|{light|dark} blue}", "${x=!__y__}")),
        ("a logo in #FF00AA and #0fc, no. #123, &#169;", ("#FF00AA", "#0fc")),
        ("score_9, score_8_up, high_score_9", ("score_9", "score_8_up")),
        ("in the style of <s0><s1>, a <cat-toy>", ("<s0>", "<s1>", "<cat-toy>")),
        ("a snake__case__name", ()),
        ("a __天气__ sky", ("__天气__",)),
        ("a cat REGION(0 0 0.5 1) a dog", ("REGION(0 0 0.5 1)",)),
        ("embedding:EasyNegative, embedding:by.someone.", ("embedding:EasyNegative", "embedding:by.someone")),
        ("(embedding:bad:1.2)", ("(embedding:bad:1.2)",)),
        ("__season__ light, __sky/clouds_v2__", ("__season__", "__sky/clouds_v2__")),
        ("{dawn|dusk|noon} in {braces}, {{red hat}}", ("{dawn|dusk|noon}", "{braces}", "{{red hat}}")),
        ("a (red hat)++ on (blue)- grey, hat-- and sky+", ("(red hat)++", "(blue)-", "hat--", "sky+")),
        ("a (red hat)1.3 by a (fence)0.8, C++", ("(red hat)1.3", "(fence)0.8", "C++")),
        ('("a fox", "a cat").blend(0.7, 0.3)', ('("a fox", "a cat").blend(0.7, 0.3)',)),
        ('a "cat".swap("dog")', ('"cat".swap("dog")',)),
        ("1.3::red hat::, -2::fog::", ("1.3::red hat::", "-2::fog::")),
        ("a %style% man in $season for $100, 100% wool", ("%style%", "$season")),
        ("by @some_artist, mail a@b.com", ("@some_artist",)),
        (
            "a man --ar 16:9 --tile --style raw --no text, logo --v 6.1",
            ("--ar 16:9", "--tile", "--style raw", "--no text, logo", "--v 6.1"),
        ),
        ("a well--known man - tall -- thin, stop-motion", ()),
        (
            "a man\nNegative prompt: blurry\nSteps: 20, Sampler: Euler",
            ("Negative prompt: blurry\nSteps: 20, Sampler: Euler",),
        ),
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


def test_plain_words_have_no_marks_of_syntax_and_no_chat_tokens() -> None:
    said = "(a {b| <|im_end|> c)</s> __d__ [e:0.5] **f** BREAK g AND h // i <start_of_turn> |im_end|> /* */ `"
    assert plain_words(said).split() == ["a", "b", "c", "d", "e", "f", "g", "and", "h", "i"]
    assert plain_words("the dog's 12\" record, 6'2\"") == "the dog's 12\" record, 6'2\""


def test_sections() -> None:
    for prompt in (
        "a cat BREAK a dog",
        "a cat AND a dog",
        "x ADDCOL y",
        "a REGION(0 0 1 1) b",
        "a fox::2 snow::1",
        "A:: B",
    ):
        assert has_sections(prompt)
    for prompt in (
        "a breakdance BREAKS",
        'a box reading "BREAK GLASS"',
        "A CAT AND A DOG",
        "[a::10]",
        "1.2::a hat::, std::cout",
    ):
        assert not has_sections(prompt)


def test_json_is_told_from_choices_and_steps() -> None:
    for prompt in ('{"subject": "a fox"}', '["a", "b"]', "{'subject': 'a fox',}"):
        assert is_structured(prompt)
    for prompt in ("{red|blue} fox", "[a:b:0.5] fox", "{braces}", '"a": 1'):
        assert not is_structured(prompt)


def test_comments_are_no_part_of_the_prompt() -> None:
    assert without_comments("a cat // TODO Bob\nin /* not\nBerlin */ Rome") == "a cat \nin   Rome".replace(
        "cat \n", "cat  \n"
    )
    assert without_comments("# Ask Bob\na cat") == "a cat"
    assert without_comments('see https://a.b "x // y"') == 'see https://a.b "x // y"'


def test_what_has_to_stay_last() -> None:
    assert tail("a cat // note") == " // note"
    assert tail("a cat AND a dog :1.2") == " :1.2"
    assert tail("a ratio of 3:2") == ""


def test_words_of_a_weight() -> None:
    assert weighted_words("(red hat:1.2)") == "red hat"
    assert weighted_words("((red) hat:1.2)") == ""
    assert weighted_words("<lora:a:1>") == ""
    assert weighted_words("((red hat))") == weighted_words("[red hat]") == "red hat"
    assert weighted_words("[a:b:0.5]") == weighted_words("(red hat)") == ""


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
        "{" * 9_000 + "|" + "}" * 9_000,
        "[" * 9_000 + ":1]" * 4_000,
        "/*" * 9_000,
        "\n" * 18_000,
        "#a" * 9_000,
        "a b " * 4_000,
        "“‘„" * 6_000,
        "a" * 18_000,
        "A(" * 9_000,
    ],
)
def test_hostile_prompts_are_read(hostile: str) -> None:
    """The test hangs if a pattern backtracks over the whole text."""
    spans = fixed_spans(hostile)
    assert len(plain_words(without_comments(hostile))) <= len(hostile)
    assert all(0 <= span.start < span.end <= len(hostile) for span in spans)
