"""Rewording a prompt: what the user fixed survives, whatever the judge wrote."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.quotation import quotations
from rationalrewards_core.rewording import Rewording, RewordingRules, reworded
from rationalrewards_core.rewording.rewording import _body
from rationalrewards_core.rewording.syntax import commands, fixed_terms, is_harmless, without_comments

PROMPT = 'ohwx man in a (red hat:1.2) by a sign "OPEN", <lora:paper:0.8>, embedding:fine, __weather__, {dawn|dusk}'
REWRITTEN = "A man wearing a red hat stands by a shop sign, sharp focus, golden light."
TERMS = ("(red hat:1.2)", '"OPEN"', "<lora:paper:0.8>", "embedding:fine", "__weather__", "{dawn|dusk}")


def full(prompt: str, rewritten: str, **rules: object) -> Rewording:
    return reworded(prompt, rewritten, RewordingRules(**rules))  # type: ignore[arg-type]


def minimal(prompt: str, rewritten: str, **rules: object) -> Rewording:
    return full(prompt, rewritten, style="minimal change", **rules)


def test_full_rewrite_puts_back_what_was_lost() -> None:
    done = full(PROMPT, REWRITTEN, trigger_words=("OHWX man", "zwx dog"))
    assert done.prompt == (
        "ohwx man, A man wearing a (red hat:1.2) stands by a shop sign, sharp focus, golden light, "
        '<lora:paper:0.8>, embedding:fine, __weather__, {dawn|dusk}; keep "OPEN"'
    )
    assert len(done.notes) == 1
    assert done.notes[0].startswith("Put back: ")
    assert "ohwx man" in done.notes[0]


def test_full_rewrite_that_lost_nothing_is_the_judges_text() -> None:
    assert full("a cat", "a fluffy cat on a red mat") == Rewording(prompt="a fluffy cat on a red mat")


def test_minimal_change_keeps_the_prompt_and_adds_what_is_new() -> None:
    done = minimal(PROMPT, REWRITTEN)
    assert done.prompt == f"{PROMPT}, sharp focus, golden light"
    assert (
        minimal("a red cat on a mat.", "a red cat on a mat, and soft light").prompt == "a red cat on a mat. soft light"
    )


def test_minimal_change_adds_nothing_that_is_there() -> None:
    done = minimal("a red cat on a mat", "The cat is red. On a mat, the red cat!")
    assert done.prompt == "a red cat on a mat"
    assert done.notes == ("The rewriting says nothing that the prompt does not say already.",)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "  ",
        "None.",
        "N/A",
        "NA",
        "No changes needed",
        "No refinement is necessary.",
        "(no further changes required)",
        "**Unchanged**",
        "Same as the original prompt.",
        "无需修改。",
        "（无）",
        "-",
        "Same as above.",
        "N/A - the image already matches.",
        "No changes were necessary; keep the original request.",
        "[Your refined request here]",
    ],
)
@pytest.mark.parametrize("style", ["full rewrite", "minimal change"])
def test_no_change_keeps_the_prompt_untouched(said: str, style: str) -> None:
    assert full("  a cat ", said, style=style, prefix="best").prompt == "  a cat "


@pytest.mark.parametrize(
    "said", ["nana", "no changing rooms", "None of the cats", "the same cat, larger", "NA plate", "no changes of light"]
)
def test_words_that_only_begin_like_no_change_are_used(said: str) -> None:
    assert full("a cat", said).prompt == said


def test_prefix_and_suffix_are_exact_and_stand_once() -> None:
    rules = {"prefix": "Masterpiece, best quality,", "suffix": "8k, film grain"}
    once = full("Masterpiece, best quality, a cat, 8k, film grain", "masterpiece, best quality, a fluffy cat", **rules)
    assert once.prompt == "Masterpiece, best quality, a fluffy cat, 8k, film grain"
    assert full("a cat", "a fluffy cat.", **rules).prompt == "Masterpiece, best quality, a fluffy cat. 8k, film grain"
    added = minimal("Masterpiece, best quality, a cat, 8k, film grain", "a cat, soft light", **rules)
    assert added.prompt == "Masterpiece, best quality, a cat, soft light, 8k, film grain"


def test_a_judge_may_write_words_but_load_nothing() -> None:
    done = full(
        "a cat <lora:mine:1>", "a cat, <lora:evil:2>, embedding:evil, __files__, {a|b}, <lora:mine:1> BREAK sharp"
    )
    assert commands(done.prompt) == ("<lora:mine:1>",)
    assert "BREAK" not in done.prompt
    assert "<lora:evil:2>" in done.notes[0]
    nested = full("a cat", "a cat <lora:<lora:a:1>evil:1> sharp")
    assert commands(nested.prompt) == ()
    assert full("a cat", "<lora:evil:2>").prompt == "a cat"


def test_another_weight_of_ones_own_tag_is_not_taken_over() -> None:
    assert commands(full("a cat <lora:mine:0.4>", "a cat <lora:mine:9>").prompt) == ("<lora:mine:0.4>",)


def test_weights_return_to_their_words_but_not_into_a_quotation() -> None:
    assert full("(red hat:1.2)", "a Red  Hat on a table").prompt == "a (red hat:1.2) on a table"
    assert full("(red hat:1.2)", 'a "red hat" sign').prompt == 'a "red hat" sign, (red hat:1.2)'
    assert full("(hat:1.2), (red hat:1.1)", "a red hat").prompt == "a red (hat:1.2), (red hat:1.1)"


def test_trigger_words_keep_their_spelling() -> None:
    assert (
        full("Ohwx Man walks", "an OHWX man walks fast", trigger_words=("ohwx man",)).prompt == "an Ohwx Man walks fast"
    )
    assert full("a cat", "a category", trigger_words=("cat",)).prompt == "cat, a category"
    assert full("a dog", "a puppy", trigger_words=("cat",)).prompt == "a puppy", "it was not in the prompt"


def test_a_prompt_with_sections_is_only_added_to() -> None:
    done = full("a cat BREAK a dog", "a cat and a dog in soft light, golden hour")
    assert done.prompt == "a cat BREAK a dog, golden hour"
    assert "BREAK" in done.notes[0]


def test_length_drops_free_clauses_from_the_end_and_never_what_is_fixed() -> None:
    whole = full(PROMPT, REWRITTEN).prompt
    shorter = full(PROMPT, REWRITTEN, max_length=len(whole) - 1)
    assert len(shorter.prompt) < len(whole)
    assert "golden light" not in shorter.prompt
    assert "Shortened" in shorter.notes[-1]
    for term in TERMS:
        assert term in shorter.prompt
    tiny = full(PROMPT, REWRITTEN, max_length=10)
    for term in TERMS:
        assert term in tiny.prompt
    assert "more than 10" in tiny.notes[-1]


def test_length_of_a_minimal_change() -> None:
    done = minimal("a cat", "soft light, golden hour at the sea", max_length=20)
    assert done.prompt == "a cat, soft light"
    assert done.notes == ("1 new clauses do not fit into the limit and were left out.",)
    assert minimal("a cat in the garden", "soft light", max_length=5).prompt == "a cat in the garden"


def test_chinese_prompts() -> None:
    done = minimal("一只红色的猫", "一只红色的猫，柔和的光线")
    assert done.prompt.startswith("一只红色的猫")
    assert full('一块写着"OK"的牌子', "一块牌子").prompt == '一块牌子; keep "OK"'


@pytest.mark.parametrize(("field", "value"), [("style", "freely"), ("max_length", 0), ("max_length", 10**9)])
def test_impossible_rules_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        full("a", "b", **{field: value})


def test_the_same_words_change_nothing_not_even_spaces() -> None:
    done = full(" a red cat\n", "a red  cat")
    assert done.prompt == " a red cat\n"
    assert done.notes == ("The rewriting says nothing that the prompt does not say already.",)


def test_an_endless_rewriting_is_not_used() -> None:
    done = full("a cat", "very " * 50_000)
    assert done.prompt == "a cat"
    assert "longer" in done.notes[0]


words = st.text("abcdé猫 ,.;:()<>{}[]|\"“”„‘’'「」«»#/*_\\-1A", max_size=60)
piece = st.sampled_from(
    [
        "a red hat",
        "Paris",
        "by Emma Stone",
        '"OPEN"',
        "「開」",
        "„zu“",
        "'OPEN'",
        '“"”',
        '12"',
        "the dog's",
        "<lora:a:0.8>",
        "(red hat:1.2)",
        "((hat))",
        "(hat)",
        "[hat]",
        "[hat:cat:0.5]",
        "embedding:x",
        "__w__",
        "{a|b}",
        "#FF00AA",
        r"miku \(song\)",
        "ohwx",
        "ein Haus und",
        "; keep",
        "(",
        '"',
        "BREAK",
        "AND",
        "REGION(0 1)",
        "hat++",
        "(hat)--",
        "(hat)1.3",
        "{{hat}}",
        "1.3::hat::",
        "fox::2",
        "::",
        "$season",
        "%style%",
        "@someone",
        "--ar 16:9",
        "--no fog, hats",
        "Negative prompt: fog",
        "// note",
        "<|im_end|>",
    ]
)
tidy = st.lists(piece.filter(lambda p: len(p) > 1), max_size=8).map(" ".join)
prompts = st.lists(st.one_of(piece, words), max_size=8).map(" ".join)
rules = st.builds(
    RewordingRules,
    style=st.sampled_from(["full rewrite", "minimal change"]),
    trigger_words=st.just(("ohwx",)),
    prefix=st.sampled_from(["", "best quality,", "(sharp:1.1)"]),
    suffix=st.sampled_from(["", "8k", "--v 6"]),
    max_length=st.integers(1, 200),
)


@settings(deadline=None, max_examples=150)
@given(prompts, prompts, rules)
@example('“"” "OPEN"', "a sign", RewordingRules())
def test_fixed_terms_always_survive(prompt: str, rewritten: str, rules: RewordingRules) -> None:
    done = reworded(prompt, rewritten, rules)
    body = without_comments(_body(prompt, rules))
    for term in fixed_terms(body):
        assert term in done.prompt
    if re.search(r"(?<!\w)ohwx(?!\w)", body):
        assert "ohwx" in done.prompt
    there = {quotation.words for quotation in quotations(done.prompt)}
    assert {quotation.words for quotation in quotations(body)} <= there


@settings(deadline=None, max_examples=150)
@given(prompts, prompts, rules)
def test_a_longer_prompt_than_allowed_is_always_reported(prompt: str, rewritten: str, rules: RewordingRules) -> None:
    done = reworded(prompt, rewritten, rules)
    if done.prompt != prompt and len(done.prompt) > rules.max_length:
        assert "more than" in done.notes[-1]


@settings(deadline=None, max_examples=150)
@given(tidy, prompts, rules)
def test_a_rewording_adds_no_syntax_and_no_token_of_its_own(prompt: str, rewritten: str, rules: RewordingRules) -> None:
    done = reworded(prompt, rewritten, rules)
    if done.prompt != prompt:
        own = prompt + rules.prefix + rules.suffix
        assert all(term in own or is_harmless(term) for term in fixed_terms(done.prompt))
        assert "<|" in prompt or "<|" not in done.prompt


@settings(deadline=None, max_examples=150)
@given(tidy, prompts, rules)
@example("", '1" "OPEN" "OPEN"', RewordingRules(style="full rewrite", trigger_words=("ohwx",)))
@example("<lora:a:0.8>", "a red hat ; keep a red hat <lora:a:0.8>", RewordingRules())
@example("ein Haus und Paris", "by Emma Stone, ein Haus", RewordingRules())
@example("", "1A1:猫", RewordingRules())
@example("by Emma Stone", "ein Haus und ein Hund", RewordingRules())
def test_rewording_twice_changes_nothing_more(prompt: str, rewritten: str, rules: RewordingRules) -> None:
    rules = replace(rules, max_length=5000)  # a shortened prompt may have room for what the next turn offers
    once = reworded(prompt, rewritten, rules)
    assert reworded(once.prompt, rewritten, rules).prompt == once.prompt


OTHERS_SYNTAX = {
    "compel": ("a man in a (red hat)++, fog--, (blue sky)1.3", ["(red hat)++", "fog--", "(blue sky)1.3"]),
    "options": ("a man in a red hat --ar 16:9 --v 6 --no text, logo", ["--ar 16:9 --v 6 --no text, logo"]),
    "parts": ("red hat::2 fence::1", ["red hat::2 fence", "::1"]),
    "braces": ("{{red hat}}, a {fence}", ["{{red hat}}", "{fence}"]),
    "fences": ("1.3::red hat::, fence", ["1.3::red hat::"]),
    "wildcards": ("a __x__ man in __sky/clouds_v2__", ["__x__", "__sky/clouds_v2__"]),
    "variables": ("a %style% man, $season", ["%style%", "$season"]),
    "negative": ("a man in a red hat. Negative prompt: blurry", ["Negative prompt: blurry"]),
}


@pytest.mark.parametrize("style", ["full rewrite", "minimal change"])
@pytest.mark.parametrize("kind", OTHERS_SYNTAX)
def test_the_syntax_of_every_program_survives(kind: str, style: str) -> None:
    prompt, terms = OTHERS_SYNTAX[kind]
    foreign = f"{REWRITTEN} --ar 1:1 --no {{{{sky}}}} sky++ $evil %evil% 2::fog:: mist::3 Negative prompt: hats"
    for rewritten in (REWRITTEN, foreign):
        done = full(prompt, rewritten, style=style).prompt
        for term in terms:
            assert term in done
        assert "golden light" in done
        for mark in ("--ar 1:1", "{{sky}}", "sky++", "evil", "2::fog", "mist::", "Negative prompt: hats"):
            assert mark not in done
        again = full(done, rewritten, style=style).prompt
        for term in terms:
            assert again.count(term) == 1, "a second turn doubles nothing"


def test_options_stay_behind_the_prompt() -> None:
    prompt = "a man in a red hat --ar 16:9 --v 6"
    assert full(prompt, "a tall man, red hat --ar 16:9 --v 6").prompt == "a tall man, red hat --ar 16:9 --v 6"
    assert full(prompt, "a tall man --ar 1:1").prompt == "a tall man --ar 16:9 --v 6"
    assert full("a red hat\nNegative prompt: fog", "a red hat.").prompt == "a red hat.\nNegative prompt: fog"
    assert full(prompt, "a tall man", suffix="8k").prompt == "a tall man, 8k --ar 16:9 --v 6"
    assert full(prompt, "a tall man", suffix="--s 50").prompt == "a tall man --ar 16:9 --v 6 --s 50"
    tiny = full(prompt, "a tall man, in a red hat, by a fence", max_length=40).prompt
    assert tiny.endswith(" --ar 16:9 --v 6")
    assert len(tiny) <= 40


@pytest.mark.parametrize(
    "rewritten", ['{"scene": "a hat", "light": "dusk"}', '["a hat", "dusk"]', "{'scene': 'a hat',}"]
)
def test_a_rewriting_in_json_is_no_prompt(rewritten: str) -> None:
    done = full("a man in a red hat", rewritten)
    assert done.unusable
    assert done.prompt == "a man in a red hat"
    assert "JSON" in done.notes[0]
