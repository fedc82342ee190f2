"""The grammar in the real xgrammar: it accepts what a good judge writes, and whatever it allows can be parsed."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationalrewards_core.backends.special_tokens import special_ids
from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.grammar import critique_grammar
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.replies.parsing import Mode, parse_critique
from rationalrewards_core.rubric import Dimension, Layout, Rubric, Scale
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric

xgrammar = pytest.importorskip("xgrammar")
torch = pytest.importorskip("torch")

END = 256
MODES: tuple[Mode, ...] = get_args(Mode)
POSTERS = Rubric(
    name="posters",
    kind="generation",
    dimensions=(
        Dimension(key="mood", title='The "mood" \\ Größe & 色'),
        Dimension(key="words", title="Words", optional=True),
    ),
    scale=Scale(minimum=0, maximum=10, decimals=0),
    layout=Layout(analysis=False, score_first=True, refinement=False, guidelines=False),
)
FINE = replace(POSTERS, name="fine", scale=Scale(minimum=9, maximum=12, decimals=2), layout=Layout(score_first=True))
SIGNED = replace(POSTERS, name="signed", scale=Scale(minimum=-2, maximum=2, decimals=1))
BELOW = replace(POSTERS, name="below", scale=Scale(minimum=-12, maximum=-9, decimals=2))
LEVELS = replace(POSTERS, name="levels", scale=Scale(minimum=-10, maximum=0, decimals=0))
RUBRICS = {r.name: r for r in (generation_rubric(), edit_rubric(), POSTERS, FINE, SIGNED, BELOW, LEVELS)}
every_rubric = pytest.mark.parametrize("rubric", RUBRICS.values(), ids=list(RUBRICS))
every_mode = pytest.mark.parametrize("mode", MODES)


@cache
def compiled(name: str, mode: Mode) -> Any:
    """The grammar over a vocabulary of all single bytes."""
    info = xgrammar.TokenizerInfo([bytes([b]) for b in range(256)] + [b"</end>"], stop_token_ids=[END])
    return xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(critique_grammar(RUBRICS[name], mode))


def accepts(text: str, rubric: Rubric, mode: Mode) -> bool:
    """Whether the grammar lets a model write `text` and stop there."""
    matcher = xgrammar.GrammarMatcher(compiled(rubric.name, mode))
    return bool(matcher.accept_string(text) and matcher.accept_token(END))


def rendered(critique: Critique, rubric: Rubric, mode: Mode) -> str:
    """As a judge writes it; in `score` mode without what follows the last score."""
    text = render_critique(critique, rubric)
    if mode == "critique":
        return text
    text = text.partition("\n# Summary")[0]
    return text.rpartition("\n## Justification")[0] if rubric.layout.score_first else text


def example(rubric: Rubric, scores: dict[str, float | None] | None = None) -> Critique:
    low = rubric.scale.minimum
    given_scores = scores or {d.key: None if d.optional else low for d in rubric.dimensions}
    return Critique(
        rubric=rubric.name,
        analysis="One wants a cat.",
        judgements=tuple(Judgement(key=k, justification="Seen it.", score=s) for k, s in given_scores.items()),
        summary="Fine.",
        refinement=Refinement(comments="More.", request="a better cat") if rubric.layout.refinement else None,
    )


lines = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), max_size=20).map(
    lambda text: "x" + text
)
sentences = st.text(st.characters(categories=("L", "N", "Zs", "S"), exclude_characters="=＝"), max_size=20).map(
    lambda text: text + "."
)
texts = st.tuples(lines, st.lists(sentences, max_size=2)).map(lambda parts: "\n".join([parts[0], *parts[1]]))


@st.composite
def critiques(draw: st.DrawFn, rubric: Rubric) -> Critique:
    scale = rubric.scale
    unit = 10**scale.decimals
    steps = st.integers(int(scale.minimum) * unit, int(scale.maximum) * unit).map(lambda step: step / unit)
    return Critique(
        rubric=rubric.name,
        analysis="\n".join(draw(st.lists(sentences, min_size=1, max_size=3))),
        judgements=tuple(
            Judgement(
                key=d.key,
                justification=draw(texts),
                score=draw(st.one_of(st.none(), steps)) if d.optional else draw(steps),
            )
            for d in rubric.dimensions
        ),
        summary=draw(texts),
        refinement=Refinement(comments=draw(texts), request=draw(lines)) if rubric.layout.refinement else None,
    )


class TestAccepts:
    @every_mode
    @every_rubric
    def test_the_plainest_reply(self, rubric: Rubric, mode: Mode) -> None:
        text = rendered(example(rubric), rubric, mode)
        assert accepts(text, rubric, mode)
        assert parse_critique(text, rubric, mode).scores == example(rubric).scores

    @settings(max_examples=80, deadline=None)
    @given(st.data())
    def test_every_critique_that_can_be_rendered(self, data: st.DataObject) -> None:
        rubric, mode = data.draw(st.sampled_from(list(RUBRICS.values()))), data.draw(st.sampled_from(MODES))
        critique = data.draw(critiques(rubric))
        text = rendered(critique, rubric, mode)
        assert accepts(text, rubric, mode), text
        assert parse_critique(text, rubric, mode).scores == critique.scores

    @every_rubric
    def test_exactly_the_numbers_of_the_scale(self, rubric: Rubric) -> None:
        text = rendered(example(rubric), rubric, "critique")
        said = f"## Score: {rubric.scale.format(rubric.scale.minimum)}\n"
        steps = [n / 100 for n in (*range(1400), *range(-310, 0), *range(-1400, -310, 7))]
        numbers = {f"{n:.{places}f}" for n in steps for places in range(4)} | {
            "-1",
            "-0.0",
            "-0.00",
            "05",
            "5.",
            ".5",
            "1e0",
        }
        for number in numbers:
            places = len(number.partition(".")[2])
            wanted = (
                number.removeprefix("-").replace(".", "").isdigit()
                and rubric.scale.contains(float(number))
                and min(1, rubric.scale.decimals) <= places <= rubric.scale.decimals
                and not number.startswith(("05", "."))
                and not (number.startswith("-") and float(number) == 0.0)
                and not number.endswith(".")
            )
            assert accepts(text.replace(said, f"## Score: {number}\n", 1), rubric, "critique") == wanted, number


NATURAL = sorted((Path(__file__).parents[1] / "replies").glob("natural_*.md"))
"""Replies as a judge with 8 billion parameters writes them: colons, quotation marks at a line's end, lists, labels."""


@cache
def of_the_miniature(name: str) -> tuple[Any, Any]:
    """The miniature's tokeniser, and the grammar over its vocabulary."""
    tokeniser = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(scorer_folder())
    described = xgrammar.TokenizerInfo.from_huggingface(tokeniser, stop_token_ids=[tokeniser.eos_token_id])
    compiler = xgrammar.GrammarCompiler(described, max_threads=1)
    return tokeniser, compiler.compile_grammar(critique_grammar(RUBRICS[name]))


class TestNaturalReplies:
    @pytest.mark.parametrize("path", NATURAL, ids=[path.stem for path in NATURAL])
    def test_every_token_is_allowed(self, path: Path) -> None:
        front, _, reply = path.read_text(encoding="utf-8").partition("---\n")
        rubric = edit_rubric() if "rubric: edit" in front else generation_rubric()
        tokeniser, grammar = of_the_miniature(rubric.name)
        matcher = xgrammar.GrammarMatcher(grammar)
        tokens = tokeniser(reply.removesuffix("\n"), add_special_tokens=False)["input_ids"]
        for place, token in enumerate(tokens):
            assert matcher.accept_token(token), tokeniser.decode(tokens[: place + 1])[-200:]
        assert matcher.accept_token(tokeniser.eos_token_id)

    def test_there_are_many_and_they_are_long(self) -> None:
        assert len(NATURAL) >= 20
        assert sum(len(path.read_text(encoding="utf-8")) for path in NATURAL) / len(NATURAL) > 900

    def test_what_is_no_heading_may_stand_on_a_line_of_its_own(self) -> None:
        text = rendered(example(generation_rubric()), generation_rubric(), "critique")
        for line in (
            "three marbles: one blue",
            "16:9",
            'the title "OPEN"',
            "**Subject:** a fox",
            "- hat: red",
            "a = b",
        ):
            for place in ("One wants a cat.", "Seen it.", "Fine.", "More."):
                reply = text.replace(place, f"{place}\n{line}", 1)
                assert accepts(reply, generation_rubric(), "critique"), reply
                assert isinstance(parse_critique(reply, generation_rubric()), Critique)


class TestRefuses:
    @every_mode
    @every_rubric
    def test_wrong_replies(self, rubric: Rubric, mode: Mode) -> None:
        text = rendered(example(rubric), rubric, mode)
        low = rubric.scale.format(rubric.scale.minimum)
        score = f"## Score: {low}"
        first, second = (f"{n}. {d.title}:\n" for n, d in enumerate(rubric.dimensions[:2], 1))
        wrong = {
            "N/A where not optional": text.replace(score, "## Score: N/A", 1),
            "two scores": text.replace(score, f"{score}\n{score}", 1),
            "no score": text.replace(score, "## Score: ", 1),
            "no score line": text.replace(f"{score}\n", "", 1),
            "a word": text.replace(score, "## Score: three", 1),
            "a range": text.replace(score, f"{score}-{low}", 1),
            "a total": text.replace(score, f"{score}/{rubric.scale.maximum:g}", 1),
            "a dimension left out": text.replace(text[text.index(first) : text.index(second)], ""),
            "a dimension twice": text.replace(first, text[text.index(first) : text.index(second)] + first),
            "another title": text.replace(first, first.replace("1", "9", 1)),
            "nothing": "",
            "a preamble": "Sure!\n" + text,
            "an unfinished reply": text[:-3] if mode == "score" else text.partition("# Summary")[0],
            "more after the end": text + "\n# Summary: again",
        }
        for what, reply in wrong.items():
            assert reply != text, what
            assert not accepts(reply, rubric, mode), what
        assert accepts(text, rubric, mode)

    def test_headings_inside_texts(self) -> None:
        rubric = generation_rubric()
        text = rendered(example(rubric), rubric, "critique")
        for line in (
            "## Score: 4.0.",
            "# Summary: good.",
            "Text Rendering: 3.",
            "Score：4.",
            "Score = 4.",
            "Score＝4.",
            "Score",
        ):
            assert accepts(text.replace("Seen it.", f"Seen it, {line}", 1), rubric, "critique")
            assert not accepts(text.replace("Seen it.", f"Seen it.\n{line}", 1), rubric, "critique"), line

    def test_blank_texts(self) -> None:
        rubric = generation_rubric()
        text = rendered(example(rubric), rubric, "critique")
        for blank in ("", " ", "\t", "\u3000", "\u2028", "\x1c", "\x85", "\u200a", "\n"):
            assert not accepts(text.replace("a better cat", blank), rubric, "critique"), repr(blank)
            assert not accepts(text.replace("Fine.", blank), rubric, "critique"), repr(blank)

    def test_the_score_mode_ends_with_the_last_score(self) -> None:
        for rubric in RUBRICS.values():
            for mode in MODES:
                whole = render_critique(example(rubric), rubric)
                assert accepts(whole, rubric, mode) == (mode == "critique"), rubric.name


TEMPTATIONS = (
    *(
        "\n",
        "\n",
        ".",
        ".",
        "!",
        "…",
        " ",
        "#",
        "## Score",
        "# Summary",
        "1. ",
        "2. Words",
        "Score",
        "Text Rendering",
        "N/A",
        "3.5",
        "3.",
    ),
    *(
        "**",
        "```",
        "---",
        "<think>",
        "</think>",
        '"',
        "\u3000",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x0b",
        "(",
        "- ",
        "> ",
        "4",
        "0",
        "|",
        "é",
        "。",
    ),
)
FINISHING = (b"\n", b"x.", b".", b"1", b"9", b"0", b".0", b"N/A", b"\x80", b"\xa0")
"""What ends a line, a score, or a character whose first byte was drawn."""


def openings(rubric: Rubric) -> list[bytes]:
    """The fixed part of every line of a reply, with the line breaks before it."""
    lines = render_critique(example(rubric), rubric).replace("\n\n", "\n\v").split("\n")
    parts = (line.replace("\v", "\n").partition(": ") for line in lines)
    return [f"\n{name}{colon}".encode() for name, colon, _ in parts]


def walk(rubric: Rubric, mode: Mode, seed: int, wander: int = 60) -> str:
    """A random reply of the grammar: a well-formed beginning, temptations and random bytes, then straight to an end."""
    rng = random.Random(seed)
    matcher = xgrammar.GrammarMatcher(compiled(rubric.name, mode))
    mask = xgrammar.allocate_token_bitmask(1, END + 1)
    onward = openings(rubric)
    tempting = [text.encode() for text in TEMPTATIONS] + [
        end + opening for opening in onward for end in (b"", b".", b"1.")
    ]
    begun = rendered(example(rubric), rubric, mode).splitlines(keepends=True)
    written = bytearray("".join(begun[: rng.randrange(len(begun))]).encode())
    assert matcher.accept_string(bytes(written))
    for step in range(wander + 3000):
        if matcher.is_completed() and step >= wander:
            break
        if forced := matcher.find_jump_forward_string():
            choice = forced.encode()
        elif step >= wander:
            choice = rng.choice([*FINISHING, *onward, *onward])
        elif rng.random() < 0.2:
            matcher.fill_next_token_bitmask(mask)
            allowed = [n for n in range(END) if int(mask[0, n // 32]) >> (n % 32) & 1]
            choice = bytes([rng.choice(allowed)]) if allowed else b""
        else:
            choice = rng.choice(tempting)
        if choice and matcher.accept_string(choice):
            written += choice
    assert matcher.is_completed(), f"no end after {bytes(written)[-200:]!r}"
    return written.decode(errors="replace")


class TestRandomWalks:
    @every_mode
    @every_rubric
    def test_everything_the_grammar_allows_is_a_critique(self, rubric: Rubric, mode: Mode) -> None:
        seen: set[float | None] = set()
        for seed in range(40):
            text = walk(rubric, mode, seed)
            try:
                critique = parse_critique(text, rubric, mode)
            except CritiqueParseError as error:
                raise AssertionError(f"{error.reason}: {error}\n{text!r}") from error
            assert [j.key for j in critique.judgements] == [d.key for d in rubric.dimensions]
            assert all(j.score is None or rubric.scale.contains(j.score) for j in critique.judgements)
            assert (critique.refinement is not None) == (mode == "critique" and rubric.layout.refinement)
            seen |= set(critique.scores.values())
        assert len(seen) > 2, "the walks must differ"


def test_special_tokens_are_told_apart_from_text_and_ends() -> None:
    """The grammar itself takes them for text, so whoever decodes has to mask them."""
    tokeniser, grammar = of_the_miniature("generation")
    masked = special_ids(tokeniser, [tokeniser.eos_token_id])
    names = set(tokeniser.convert_ids_to_tokens(masked))
    assert {"<|im_start|>", "<|image_pad|>", "<|vision_start|>"} <= names
    assert tokeniser.eos_token_id not in masked
    assert masked == sorted(masked)
    matcher = xgrammar.GrammarMatcher(grammar)
    assert matcher.accept_string("# User Request Analysis\n")
    assert matcher.accept_token(masked[0]), "the grammar refuses it now: nothing is left to mask"
