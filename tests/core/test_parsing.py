"""The parser against a corpus of replies, random critiques in every accepted style, prefixes, mutations and floods."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.errors import ConfigError, CritiqueParseError
from rationalrewards_core.replies.parsing import Mode, Reason, parse_critique, read_score
from rationalrewards_core.rewording.refined_text import refined_words
from rationalrewards_core.rubric import Dimension, Layout, Rubric, Scale
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.spelling import plain

RUBRICS = {"generation": generation_rubric(), "edit": edit_rubric()}
Scores = dict[str, float | None]


@dataclass(frozen=True)
class Situation:
    """One file of `tests/replies`: a reply and what reading it has to give."""

    name: str
    about: str
    rubric: Rubric
    mode: Mode
    reply: str
    scores: Scores
    """Empty if the reply must be refused."""
    reason: str
    """Empty if the reply must be read."""
    refined: str
    """The whole refined request, or its first words and `…`; empty if nothing is claimed about it."""


def read_situation(path: Path) -> Situation:
    front, reply = path.read_bytes().decode("utf-8").split("---\n", 1)
    reply = reply.removesuffix("\n")
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    unknown = set(fields) - {"situation", "rubric", "mode", "expect", "refined", "line ends", "escapes"}
    assert not unknown, f"{path.name} has unknown keys {unknown}"
    assert fields["mode"] in ("critique", "score"), path.name
    assert fields.get("line ends", "crlf") == "crlf"
    if fields.get("escapes") == "yes":
        reply = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), reply)
    if "line ends" in fields:
        reply = reply.replace("\n", "\r\n")
    scores, reason = read_expectation(fields["expect"], RUBRICS[fields["rubric"]])
    return Situation(
        name=path.stem,
        about=fields["situation"],
        rubric=RUBRICS[fields["rubric"]],
        mode="score" if fields["mode"] == "score" else "critique",
        reply=reply,
        scores=scores,
        reason=reason,
        refined=fields.get("refined", "").replace("\\n", "\n"),
    )


def read_expectation(text: str, rubric: Rubric) -> tuple[Scores, str]:
    """`reason REASON`, or `key score` for every dimension of the rubric in its order."""
    if text.startswith("reason "):
        return {}, Reason(text.removeprefix("reason ")).value
    pairs = [pair.split(" ") for pair in text.split(", ")]
    assert [key for key, _ in pairs] == [d.key for d in rubric.dimensions], text
    scores: Scores = {key: None if score == "N/A" else float(score) for key, score in pairs}
    assert all(score is None or rubric.scale.contains(score) for score in scores.values()), text
    return scores, ""


CORPUS = [read_situation(path) for path in sorted((Path(__file__).parents[1] / "replies").glob("*.md"))]
READABLE = [situation for situation in CORPUS if not situation.reason]


def names(situations: list[Situation]) -> list[str]:
    return [situation.name for situation in situations]


def read(reply: str, rubric: Rubric, mode: Mode = "critique") -> Critique | str:
    """The critique, or the reason why there is none."""
    try:
        return parse_critique(reply, rubric, mode)
    except CritiqueParseError as error:
        assert error.raw == reply
        assert error.reason in {reason.value for reason in Reason}
        assert str(error)
        return error.reason


class TestCorpus:
    def test_is_large_and_covers_every_reason(self) -> None:
        assert len(CORPUS) >= 60
        assert {situation.reason for situation in CORPUS} - {""} == {reason.value for reason in Reason}
        assert len({situation.about for situation in CORPUS}) == len(CORPUS)

    @pytest.mark.parametrize("situation", CORPUS, ids=names(CORPUS))
    def test_reply(self, situation: Situation) -> None:
        outcome = read(situation.reply, situation.rubric, situation.mode)
        if situation.reason:
            assert outcome == situation.reason
            return
        assert isinstance(outcome, Critique), f"refused as {outcome}"
        assert outcome.scores == situation.scores
        assert list(outcome.scores) == [d.key for d in situation.rubric.dimensions]
        assert outcome.raw == situation.reply
        if situation.refined:
            assert outcome.refinement is not None
            wanted = situation.refined
            if wanted.endswith(" …"):
                assert outcome.refinement.request.startswith(wanted.removesuffix(" …"))
            else:
                assert outcome.refinement.request == wanted

    @pytest.mark.parametrize("situation", READABLE, ids=names(READABLE))
    def test_a_critique_keeps_its_words(self, situation: Situation) -> None:
        critique = parse_critique(situation.reply, situation.rubric, situation.mode)
        assert all(j.justification for j in critique.judgements if j.score is not None)
        if situation.mode == "critique":
            assert critique.summary
            assert critique.refinement is not None
            assert critique.refinement.request


class TestReadScore:
    """What one score line says on the default scale."""

    @pytest.mark.parametrize(
        ("text", "score"),
        [
            ("3.5", 3.5),
            ("+3.5", 3.5),
            ("**3.5**/4", 3.5),
            ("`3.5`", 3.5),
            ("(3.5/4)", 3.5),
            ("3.5 / 4.00 points", 3.5),
            ("3.", 3.0),
            ("3.50", 3.5),
            ("1", 1.0),
            ("4.0", 4.0),
            ("3.5 (out of 4)", 3.5),
            ("3.5 (on the 1-4 scale)", 3.5),
            ("3.5 — small flaws in 4K", None),
            ("3.5: good", 3.5),
            ("2 ⭐⭐", 2.0),
        ],
    )
    def test_number(self, text: str, score: float | None) -> None:
        found = read_score(text, RUBRICS["generation"])
        assert (found.value, found.problem) == (score, None if score else Reason.UNREADABLE_SCORE)

    @pytest.mark.parametrize(
        "text", ["N/A", "n/a.", "N\\A", "N.A.", "na", "`NA`", "not-applicable", "N/A: no text", "[N/A]"]
    )
    def test_not_applicable(self, text: str) -> None:
        found = read_score(text, RUBRICS["generation"])
        assert (found.value, found.problem) == (None, None)

    @pytest.mark.parametrize(
        "text", ["", " ", "-", "?", "N", "nap", "naïve", "not", "3 cats", "2-word sign", "1e0", "3..4", "∞", "٣"]
    )
    def test_neither(self, text: str) -> None:
        assert read_score(text, RUBRICS["generation"]).problem is Reason.UNREADABLE_SCORE

    @pytest.mark.parametrize("text", ["0.99", "4.01", "999999999", "-1", "3/5", "3.5/10", "40%", "4.0.", "0"])
    def test_the_scale_has_ends(self, text: str) -> None:
        found = read_score(text, RUBRICS["generation"])
        if text == "4.0.":
            assert found.value == 4.0
        else:
            assert found.problem in (Reason.OUT_OF_SCALE, Reason.UNREADABLE_SCORE)
        assert (found.problem is Reason.UNREADABLE_SCORE) == text.endswith("%")

    def test_another_scale(self) -> None:
        rubric = custom_rubric(("Mood",), Scale(minimum=0, maximum=10))
        assert read_score("8/10", rubric).value == 8.0
        assert read_score("8/4", rubric).problem is Reason.OUT_OF_SCALE
        assert read_score("-0.0", rubric).value == 0.0
        assert str(read_score("-0.0", rubric).value) == "0.0"
        assert read_score("10 (0-10)", rubric).value == 10.0

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("-1.5", -1.5),
            ("\u22121.5", -1.5),
            ("\uff0d1.5", -1.5),
            ("**-2**", -2.0),
            ("+1.5", 1.5),
            ("-0.0", 0.0),
            ("-1,5 (on the scale from -2 to 2)", -1.5),
            ("-1 (\u22122 to 2)", -1.0),
            ("-1 out of 2", -1.0),
            ("-2.5", Reason.OUT_OF_SCALE),
            ("1-2", Reason.UNREADABLE_SCORE),
            ("-1, minus 0.5", Reason.UNREADABLE_SCORE),
            ("-1 (was 1)", Reason.UNREADABLE_SCORE),
            ("-1 or \u22122", Reason.UNREADABLE_SCORE),
            ("\u20131", Reason.UNREADABLE_SCORE),  # a dash may be a minus or a separator
            ("- 1", Reason.UNREADABLE_SCORE),
            ("N/A (-1)", Reason.UNREADABLE_SCORE),
        ],
    )
    def test_a_scale_with_negative_scores(self, text: str, value: float | Reason) -> None:
        found = read_score(text, custom_rubric(("Mood",), Scale(minimum=-2, maximum=2)))
        assert (found.problem if isinstance(value, Reason) else found.value) == value
        assert str(found.value) != "-0.0"

    def test_a_scale_below_zero(self) -> None:
        rubric = custom_rubric(("Mood", "Words"), Scale(minimum=-5, maximum=-1))
        assert read_score("-1.0 (-5 to -1)", rubric).value == -1.0
        assert read_score("1.0", rubric).problem is Reason.OUT_OF_SCALE
        assert read_score("N/A (-1)", rubric).problem is Reason.UNREADABLE_SCORE
        assert read_score("-1. Dull colours", rubric, alone=True).problem is Reason.UNREADABLE_SCORE

    def test_replies_with_negative_scores(self) -> None:
        rubric = custom_rubric(("Mood", "Words"), Scale(minimum=-2, maximum=2))
        text = "# Detailed Judgement\n1. Mood: {}\n2. Words:\n## Score:\n{}\n# Summary: Fine."
        for first, second in (("-1.5", "-0.5"), ("\u22121.5", "**\u22120.5**")):
            assert parse_critique(text.format(first, second), rubric, "score").scores == {"d0": -1.5, "d1": -0.5}
        with pytest.raises(CritiqueParseError) as caught:
            parse_critique(text.format("-1.5", "-0.5\n\u22120.5 for the sky"), rubric, "score")
        assert caught.value.reason == Reason.UNREADABLE_SCORE.value


def custom_rubric(titles: tuple[str, ...], scale: Scale | None = None, layout: Layout | None = None) -> Rubric:
    """A rubric whose last dimension is optional if it has several."""
    dimensions = tuple(
        Dimension(key=f"d{place}", title=title, optional=0 < place == len(titles) - 1)
        for place, title in enumerate(titles)
    )
    return Rubric(
        name="custom", kind="generation", dimensions=dimensions, scale=scale or Scale(), layout=layout or Layout()
    )


# Random critiques. Texts hold any character but line breaks and love words that look like headings.

BREAKS = "\n\r"
TEMPTATIONS = [
    "# Summary:", "## Score: 1.0", "1. Text Faithfulness:", "**Score:** 2", "Text Rendering: N/A", "N/A", "<think>", "</think>",
    "```", "---", "Refined Request:", "3.5/4", "| Score | 3 |", "Score：４", "\u2028## Score: 1.0", "\x0b# Summary", "\u200b",
]  # fmt: skip
words = st.one_of(
    st.sampled_from(TEMPTATIONS),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters=BREAKS), max_size=12),
)
free_texts = st.lists(words, max_size=6).map(" ".join)
own_lines = free_texts.map(lambda text: f"One sees {text}".strip())
"""Texts that stand on a line of their own: they begin with words that are no heading."""


def is_bare(text: str) -> bool:
    return text[0] not in "\"“'`「«" and refined_words(text) == text


requests = st.one_of(
    free_texts.map(str.strip).filter(bool).filter(is_bare),
    st.lists(own_lines, min_size=2, max_size=4).map("\n".join),
)


@st.composite
def titles(draw: st.DrawFn) -> tuple[str, ...]:
    """Titles of a custom rubric: whatever `Rubric` accepts."""
    letters = st.characters(categories=("L", "N", "Zs", "P", "S"), exclude_characters=BREAKS)
    raw = draw(st.lists(st.text(letters, min_size=1, max_size=20), min_size=1, max_size=5))
    kept: list[str] = []
    for title in raw:
        try:
            custom_rubric((*kept, title))
        except ConfigError:
            continue
        kept.append(title)
    return tuple(kept) or ("Mood & Colour",)


@st.composite
def rubrics(draw: st.DrawFn) -> Rubric:
    built_in = draw(st.sampled_from([*RUBRICS.values(), None]))
    if built_in is not None:
        return built_in
    low = draw(st.integers(0, 5))
    scale = Scale(minimum=low, maximum=draw(st.integers(low + 1, 100)), decimals=draw(st.sampled_from([0, 1, 2])))
    layout = Layout(analysis=draw(st.booleans()), score_first=draw(st.booleans()), refinement=draw(st.booleans()))
    return custom_rubric(draw(titles()), scale, layout)


def scores_nothing(text: str, rubric: Rubric) -> bool:
    """Whether a text has no title before a number: that would be a score in words, and contradict the real one."""
    folded = plain(text).casefold()
    places = [folded.find(plain(dimension.title).casefold()) for dimension in rubric.dimensions]
    return not any(place >= 0 and any(letter.isdigit() for letter in folded[place:]) for place in places)


@st.composite
def critiques(draw: st.DrawFn, rubric: Rubric) -> Critique:
    scale = rubric.scale
    texts, lines = (strategy.filter(lambda text: scores_nothing(text, rubric)) for strategy in (free_texts, own_lines))
    steps = st.integers(int(scale.minimum) * 10**scale.decimals, int(scale.maximum) * 10**scale.decimals)

    def judgement(dimension: Dimension) -> Judgement:
        applies = not dimension.optional or draw(st.booleans())
        score = draw(steps) / 10**scale.decimals if applies else None
        return Judgement(key=dimension.key, justification=draw(texts).strip(), score=score)

    refinement = Refinement(comments=draw(texts).strip(), request=draw(requests))
    return Critique(
        rubric=rubric.name,
        judgements=tuple(judgement(dimension) for dimension in rubric.dimensions),
        analysis=draw(lines),
        summary=draw(lines),
        refinement=refinement if rubric.layout.refinement else None,
    )


@dataclass(frozen=True)
class Style:
    """One way to write a critique down; every choice is one the parser promises to read."""

    title: str
    field: str
    section: str
    colon: str
    number: str
    decimal_point: str
    not_applicable: str
    score_first: bool
    next_line: bool
    blank_lines: bool
    analysis: bool
    judgement: bool
    case: Callable[[str], str]
    ampersand: bool
    around: tuple[str, str]
    line_end: str

    def write(self, critique: Critique, rubric: Rubric) -> str:
        lines: list[str] = []
        if self.analysis:
            lines += [self.name(self.section, "User Request Analysis"), critique.analysis]
        if self.judgement:
            lines.append(self.name(self.section, "Detailed Judgement"))
        for number, dimension in enumerate(rubric.dimensions, 1):
            judgement = critique.judgement(dimension.key)
            title = dimension.title.replace(" and ", " & ") if self.ampersand else dimension.title
            evidence = [self.name(self.field, "Justification", must_end=True) + " " + judgement.justification]
            score = [self.score(judgement.score, rubric.scale)]
            lines.append(self.name(self.title.replace("{n}", str(number)), title))
            lines += score + evidence if self.score_first else evidence + score
        lines.append(self.name(self.section, "Summary", must_end=True) + " " + critique.summary)
        if critique.refinement is not None:
            lines.append(self.name(self.section, "User Request Refinement"))
            lines.append(
                self.name(self.field, "Refinement Comments", must_end=True) + " " + critique.refinement.comments
            )
            lines.append(self.name(self.field, "Refined Request", must_end=True) + " " + critique.refinement.request)
        text = ("\n\n" if self.blank_lines else "\n").join([self.around[0], *lines, self.around[1]])
        return text.strip("\n").replace("\n", self.line_end)

    def name(self, form: str, name: str, *, must_end: bool = False) -> str:
        """A heading; `must_end` is for those that text follows on the same line."""
        name = self.case(name) if name.isascii() else name
        return form.format(name=name, colon=self.colon or (":" if must_end else ""))

    def score(self, score: float | None, scale: Scale) -> str:
        if score is None:
            said = self.not_applicable
        else:
            said = self.number.format(
                score=scale.format(score).replace(".", self.decimal_point), maximum=f"{scale.maximum:g}"
            )
        return self.name(self.field, "Score", must_end=True) + ("\n" if self.next_line else " ") + said


styles = st.builds(
    Style,
    title=st.sampled_from(
        [
            *(
                "{n}. {name}{colon}",
                "({n}) {name}{colon}",
                "{n}) **{name}**{colon}",
                "**{n}. {name}{colon}**",
                "**{name}**{colon}",
            ),
            *(
                "### {name}{colon}",
                "#### {n}. {name}{colon}",
                "- {name}{colon}",
                "* **{name}{colon}**",
                "> {n}. {name}{colon}",
            ),
            *(
                "{name}{colon}",
                "{n}️⃣ {name}{colon}",
                "\t{n}.\u00a0{name}{colon}",
                "__{name}__{colon}",
                "{n}、{name}{colon}",
            ),
        ]
    ),
    field=st.sampled_from(
        [
            "## {name}{colon}",
            "**{name}{colon}**",
            "**{name}**{colon}",
            "{name}{colon}",
            "- *{name}*{colon}",
            "### **{name}{colon}**",
        ]
    ),
    section=st.sampled_from(
        ["# {name}{colon}", "## {name}{colon}", "**{name}{colon}**", "{name}{colon}", "#{name} {colon}"]
    ),
    colon=st.sampled_from(["", ":", "：", " :"]),
    number=st.sampled_from(
        [
            *(
                "{score}",
                "**{score}**",
                "[{score}]",
                "{score}/{maximum}",
                "{score} / {maximum}",
                "{score} out of {maximum}",
            ),
            *(
                "{score} (fair)",
                "{score} – fair",
                "{score} points",
                "<{score}>",
                "`{score}`",
                "{score} (out of {maximum})",
            ),
        ]
    ),
    decimal_point=st.sampled_from([".", ",", "．"]),
    not_applicable=st.sampled_from(
        ["N/A", "n/a", "N.A.", "Not applicable", "NA", "**N/A**", "N/A (no text)", "Ｎ／Ａ"]
    ),
    score_first=st.booleans(),
    next_line=st.booleans(),
    blank_lines=st.booleans(),
    analysis=st.booleans(),
    judgement=st.booleans(),
    case=st.sampled_from([str, str.lower, str.upper]),
    ampersand=st.booleans(),
    around=st.sampled_from(
        [
            ("", ""),
            ("Sure, here it is:", ""),
            ("```markdown", "```"),
            ("<think>\nText Rendering: 1\n</think>", ""),
            ("---", "***"),
        ]
    ),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)


class TestRoundTrip:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_every_style(self, data: st.DataObject) -> None:
        rubric = data.draw(rubrics())
        critique = data.draw(critiques(rubric))
        text = data.draw(styles).write(critique, rubric)
        parsed = parse_critique(text, rubric)
        assert parsed.scores == critique.scores
        assert list(parsed.scores) == [d.key for d in rubric.dimensions]
        assert parsed.refinement is None or critique.refinement is not None
        if critique.refinement is not None:
            assert parsed.refinement is not None
            assert parsed.refinement.request == critique.refinement.request

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_rendered(self, data: st.DataObject) -> None:
        """`render_critique` comes back word for word."""
        rubric = data.draw(rubrics())
        critique = data.draw(critiques(rubric))
        parsed = parse_critique(render_critique(critique, rubric), rubric)
        wanted = critique if rubric.layout.analysis else replace(critique, analysis="")
        assert replace(parsed, raw="") == wanted


HEAD = "# User Request Analysis\nA cat.\n# Detailed Judgement\n"
TWO = "1. Text Faithfulness:\n## Justification: j\n## Score: 3.5\n2. Physical and Visual Quality:\n## Justification: j\n## Score: 2.0\n"
OPEN_THIRD = "3. Text Rendering:\n## Justification: j\n"
UNUSABLE = {"conflicting_scores", "unreadable_score"}
TAIL = "# Summary: ok\n\n# User Request Refinement:\n## Refinement Comments: c\n## Refined Request: r"


class TestScoresOfSomethingElse:
    @pytest.mark.parametrize(
        "block",
        [
            *("## Overall\n## Score: 2.7", "**Overall**\n**Score:** 2.7", "Overall:\nScore: 2.7", "Overall Score: 2.7"),
            *(
                "Average:\n## Score: 2.7",
                "4. Overall:\n## Score: 2.7",
                "Aesthetics:\n## Justification: j\n## Score: 1.0",
            ),
            *(
                "## Composition\n## Score: 2.7",
                "**Aesthetics**:\n## Justification: j\n## Score: 1.0",
                "## Final Score: 2.7",
            ),
            *(
                "- Objects:\n  - Score: 4.0\n- Colours:\n  - Score: 4.0",
                "Composition\n## Justification: j\n## Score: 2.7",
                "## Justification: It is well lit.\nComposition\n## Score: 2.7",
                "It is well lit.\n- Final grade:\n  - Score: 2.7",
            ),
        ],
    )
    def test_never_fill_a_gap(self, block: str, generation: Rubric) -> None:
        assert read(f"{HEAD}{TWO}{OPEN_THIRD}{block}\n{TAIL}", generation) == "missing_score"
        ended = read(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{block}\n{TAIL}", generation)
        if isinstance(ended, Critique):
            assert ended.scores["text_rendering"] is None

    def test_a_label_of_a_list_is_no_heading(self, generation: Rubric) -> None:
        listed = f"{HEAD}{TWO}{OPEN_THIRD}In detail:\n- a\n- b: c\n## Score: N/A\n{TAIL}"
        outcome = read(listed, generation)
        assert isinstance(outcome, Critique)
        assert "- b: c" in outcome.judgements[2].justification


class TestScoresTakenBack:
    @pytest.mark.parametrize(
        "line",
        [
            "## Final Score: 2.0",
            "Revised score: 2.0",
            "**Corrected Score:** 2.0",
            "Correction:\n## Score: 2.0",
            "## Adjusted rating: 2.0",
            "Score after deductions: 2.0",
        ],
    )
    def test_a_correction_contradicts(self, line: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3.5\n{line}")
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"

    @pytest.mark.parametrize("number", ["1、", "1）", "1)", "(1)", "1.)", "1. ", "1: "])
    def test_a_numbered_title_may_begin_with_a_digit(self, number: str) -> None:
        rubric = custom_rubric(("3D Look",), layout=Layout(refinement=False))
        text = f"# Detailed Judgement\n{number}3D Look\n## Justification: Flat.\n## Score: 2.5\n# Summary: Flat.\n"
        assert read(text, rubric).scores == {"d0": 2.5}

    @pytest.mark.parametrize(
        "rest",
        [
            "\n.5",
            "\n/5",
            "\nto 4",
            ", out of ten",
            "\n, out of ten",
            "\n-4",
            " of five",
            "\nout of 10",
            ".\n5",
            "\n5",
            " -\n4",
            "\n(2)",
            "\n→ 2",
            "\n½",
            "\npoints of 10",
        ],
    )
    def test_a_number_that_goes_on_is_not_read(self, rest: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3{rest}")
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "unreadable_score"

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "Actually, 2.0",
                "EDIT: 2.0",
                "- **Edit** - 2",
                "Final answer: 2.0",
                "Update: 2/4",
                "> Revised: 2.0",
                "No, 2.0",
            ),
            *(
                "On second thought, this deserves a 2.",
                "I'd lower it to 2.0",
                "Hmm, more like a 2",
                "The score should be 2.0.",
            ),
            *(
                "~~3.5~~ 2.0",
                "~~3.5~~\n2.0",
                "<del>3.5</del> 2.0",
                "(changed to 2.0)",
                "2.0 after a second look",
                "2.0 is fairer",
            ),
            *(
                "Let me reconsider: six fingers, so 2.0.",
                "Let me reconsider.\n\n2.0",
                "Actually, two.",
                "### Edit\n## Score: 2.0",
            ),
            *(
                "Scratch that.",
                "That is too high.",
                "I take that back.",
                "(minus one point)",
                "Final Rating: 2.0",
                "Verdict: 2.0",
            ),
            *(
                "Korrektur: 2,0",
                "更正：2.0",
                "实际上应为2分",
                "Corrección: 2,0",
                "Nota final: 2,0",
                "Исправлено: 2.0",
                "訂正: 2.0",
            ),
        ],
    )
    def test_a_correction_in_free_words_contradicts(self, line: str, generation: Rubric) -> None:
        for behind in (f"\n{line}", f"\n\n{line}", f"\nThe hat is red.\n{line}"):
            scores = TWO.replace("## Score: 3.5", f"## Score: 3.5{behind}")
            assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"
        last = f"{HEAD}{TWO}{OPEN_THIRD}## Score: 3.0\n{line}"
        assert read(last, generation, "score") == "conflicting_scores"
        beside = TWO.replace("## Score: 3.5", f"## Score: 3.5 {line}")
        assert read(f"{HEAD}{beside}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) in UNUSABLE
        remark = TWO.replace("## Score: 3.5", f"## Score: 3.5 ({line})")
        assert read(f"{HEAD}{remark}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) in UNUSABLE

    @pytest.mark.parametrize(
        "line",
        [
            *("Actually, Text Faithfulness should be 2.0.", "EDIT: text faithfulness 2.0", "Edit: 2.0"),
            *(
                "Revised scores: 2.0, 2.0, N/A",
                "Final scores: 2.5 / 2.0 / N/A",
                "- Text Faithfulness – 2.0",
                "Text Faithfulness (2.0) is weak.",
            ),
            *(
                "On second thought I'd give 2.0 for Text Faithfulness.",
                "Correction (Text Faithfulness): 2",
                "Text Faithfulness: 2.0",
            ),
        ],
    )
    def test_a_correction_far_from_its_score_contradicts_too(self, line: str, generation: Rubric) -> None:
        whole = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        for reply in (whole.replace("ok", line), f"{whole}\n{line}", whole.replace("# Summary", f"{line}\n# Summary")):
            assert read(reply, generation) == "conflicting_scores"

    def test_a_summary_with_second_thoughts(self, generation: Rubric) -> None:
        whole = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        assert (
            read(whole.replace("ok", "Fine. Actually the first one should be a 2.5."), generation)
            == "conflicting_scores"
        )
        for words in (
            "Text Faithfulness (3.5) is fine, quality (2.0) is not.",
            "Final score: 2.8",
            "To raise Text Faithfulness above 3.0, add light.",
        ):
            assert isinstance(read(whole.replace("ok", words), generation), Critique)

    def test_an_earlier_score_that_is_taken_back_in_the_next_dimension(self, generation: Rubric) -> None:
        scores = TWO.replace(
            "Quality:\n## Justification: j", "Quality:\n## Justification: Actually, the score above should be 2.5."
        )
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "Actually, 2 of the 3 cats are black.",
                "The contrast is too high.",
                "Final answer: 3.5",
                "(3.5 in all)",
                "Overall: 2.7",
            ),
            *(
                "The sign reads 24.",
                "Edit the hat, not the face.",
                "I would keep it.",
                "- 2 cats\n- 1 dog",
                "3.5",
                "Two hats, one cat.",
            ),
        ],
    )
    def test_what_only_looks_like_a_correction_changes_nothing(self, line: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3.5\n\nSo it is.\n{line}")
        outcome = read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation)
        assert isinstance(outcome, Critique)
        assert outcome.scores["text_faithfulness"] == 3.5

    def test_second_thoughts_before_a_score_are_only_thoughts(self, generation: Rubric) -> None:
        scores = TWO.replace("j\n## Score: 3.5", "At first 2.0; on second thought 3.0.\nActually, 3.5.\n## Score: 3.5")
        outcome = read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation)
        assert isinstance(outcome, Critique)

    def test_a_justification_behind_the_score_may_count_but_not_correct(self) -> None:
        rubric = custom_rubric(("Mood",), layout=Layout(score_first=True, refinement=False))
        text = "# Detailed Judgement\n1. Mood:\n## Score: 3.5\n## Justification: {}\n# Summary: Fine."
        for words in ("There is a count of 2.", "However, 1.5 metres of wall are bare.", "2 hats\n3 cats: fine"):
            assert isinstance(read(text.format(words), rubric), Critique)
        for words in ("Actually, 2.0", "It is red.\nEDIT: 2.0", "Let me reconsider: 2.0 fits."):
            assert read(text.format(words), rubric) == "conflicting_scores"

    def test_the_scales_own_total_in_words(self, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", "## Score: 3.5, out of four")
        assert isinstance(read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation), Critique)


class TestAnotherScale:
    """A number of another scale is no number of the rubric's, even where it would fit."""

    @pytest.mark.parametrize("remark", ["1-5", "/5", "out of 10", "0–10", "max 5", "of ten", "scale 1 to 5"])
    def test_in_a_label(self, remark: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        for label in (f"## Score ({remark}): 3.5", f"**Score ({remark}):**\n3.5"):
            assert read(reply.replace("## Score: 3.5", label), generation) == "score_out_of_scale"
        for section in (
            f"# Detailed Judgement ({remark})",
            f"# Detailed Judgement\nScores are given on a scale of {remark.lstrip('scale ')}.",
        ):
            outcome = read(reply.replace("# Detailed Judgement", section), generation)
            assert outcome == "score_out_of_scale" or remark in ("of ten", "max 5", "/5")
        table = f"| Dimension | Score ({remark}) |\n|---|---|\n| Text Faithfulness | 3.5 |\n| Physical and Visual Quality | 2 |\n| Text Rendering | N/A |"
        assert read(table, generation, "score") == "score_out_of_scale"

    @pytest.mark.parametrize("remark", ["1-4", "/4", "out of 4", "1.0 to 4.0", "of four", "max 4", "good"])
    def test_the_own_one_may_be_named(self, remark: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}".replace("## Score: 3.5", f"## Score ({remark}): 3.5")
        assert isinstance(read(f"I score from 1 to 4.\n{reply}", generation), Critique)

    @pytest.mark.parametrize(
        "stated",
        ["I score from 1 to 10.", "Scores (out of 5):", "Rating scale: 0-100", "Each is rated between 0 and 5."],
    )
    def test_said_before_everything(self, stated: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        assert read(f"{stated}\n{reply}", generation) == "score_out_of_scale"
        assert isinstance(read(reply.replace("A cat.", f"A sheet of paper that says: {stated}"), generation), Critique)

    @pytest.mark.parametrize(
        "said", ['"max_score": 5', '"scale": "1-5"', '"out_of": 10', '"min": 0', '"scale": {"min": 0, "max": 4}']
    )
    def test_in_json(self, said: str, generation: Rubric) -> None:
        scores = '"Physical & Visual Quality": 2, "Text Rendering": "N/A"'
        for reply in (
            f'{{"Text Faithfulness": {{"score": 3.5, {said}}}, {scores}}}',
            f'{{{said}, "Text Faithfulness": 3.5, {scores}}}',
        ):
            assert read(reply, generation) == "score_out_of_scale"
        own = f'{{"max_score": 4, "scale": "1-4", "min": 1, "Text Faithfulness": 3.5, {scores}}}'
        assert isinstance(read(own, generation), Critique)

    @pytest.mark.parametrize("total", ["5", "10", "/5"])
    def test_in_a_column(self, total: str, generation: Rubric) -> None:
        rows = "| Text Faithfulness | 3.5 | {0} |\n| Physical and Visual Quality | 2 | {0} |\n| Text Rendering | N/A | {0} |"
        table = "| Dimension | Score | Out of |\n|---|---|---|\n" + rows
        assert read(table.format(total), generation, "score") == "score_out_of_scale"
        assert isinstance(read(table.format("4"), generation, "score"), Critique)


class TestThinking:
    DRAFT = f"{HEAD}{TWO.replace('3.5', '1.0')}{OPEN_THIRD}## Score: N/A\n{TAIL}"
    FINAL = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"

    @pytest.mark.parametrize(
        "reply",
        [
            "{draft}\n</think>\n{final}",
            "Let me see. <think>\n{draft}\n</think>\n{final}",
            "<thinking>\n{draft}\n</thinking>\n\n{final}",
            "Hm.\n<thinking>{draft}</thinking>{final}",
            "<think>{draft}</think>\n<think>{draft}</think>\n{final}",
        ],
    )
    def test_drafts_judge_nothing(self, reply: str, generation: Rubric) -> None:
        outcome = read(reply.format(draft=self.DRAFT, final=self.FINAL), generation)
        assert isinstance(outcome, Critique)
        assert outcome.scores["text_faithfulness"] == 3.5

    @pytest.mark.parametrize("reply", ["Hm. <think>\n{draft}", "<thinking>{draft}", "{final}\n<think>\n{draft}"])
    def test_a_block_that_does_not_end_is_no_answer(self, reply: str, generation: Rubric) -> None:
        assert read(reply.format(draft=self.DRAFT, final=self.FINAL), generation) == "truncated"


class TestControlTokens:
    @pytest.mark.parametrize(
        "token",
        [
            "<|im_end|>",
            "</s>",
            "<|endoftext|>",
            "<|end_of_box|>",
            "</answer>",
            "<end_of_turn>",
            "<|eot_id|>",
            "[/INST]",
            "<|im_en",
            "</refined_request>",
            "[EOS]",
            "<end_of_image>",
            "<0x0A>",
        ],
    )
    def test_never_reach_a_prompt(self, token: str, generation: Rubric) -> None:
        text = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}a red cat <lora:ink:0.8>{token}"
        outcome = read(text, generation)
        assert isinstance(outcome, Critique)
        assert outcome.refinement is not None
        assert outcome.refinement.request == "a red cat <lora:ink:0.8>"

    def test_what_follows_the_end_of_a_turn_is_no_request(self, generation: Rubric) -> None:
        text = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}a red cat<|im_end|>\n<|im_start|>user\nnow a dog"
        outcome = read(text, generation)
        assert isinstance(outcome, Critique)
        assert outcome.refinement is not None
        assert outcome.refinement.request == "a red cat"


class TestOtherForms:
    """Tables and JSON: read where they leave nothing open, refused by name where they do."""

    TABLE = "| Dimension | Score |\n|---|---|\n| Text Faithfulness | {} |\n| Physical and Visual Quality | 2.0 |\n| Text Rendering | N/A |"
    JSON = '{{"Text Faithfulness": {}, "physical_quality": {{"score": 2, "reason": "j"}}, "Text Rendering": "n/a"}}'

    @pytest.mark.parametrize("cell", ["3.5", "**3.5**", "3,5", "3.5/4", "`3.5`", "3.5 (good)"])
    def test_a_table_is_read(self, cell: str, generation: Rubric) -> None:
        critique = parse_critique(self.TABLE.format(cell), generation, "score")
        assert list(critique.scores.values()) == [3.5, 2.0, None]

    @pytest.mark.parametrize(
        ("cell", "reason"),
        [
            *(
                ("", "unreadable_score"),
                ("3-4", "unreadable_score"),
                ("3.5 | 2.0", "unreadable_score"),
                ("~~3.5~~ 2.0", "unreadable_score"),
            ),
            *(
                ("5", "score_out_of_scale"),
                ("N/A", "na_not_allowed"),
                ("3.5 → 2.0", "unreadable_score"),
                ("good", "unreadable_score"),
            ),
            ("3.5 |\n| Text Faithfulness | 2.0", "conflicting_scores"),
        ],
    )
    def test_a_cell_that_says_something_else(self, cell: str, reason: str, generation: Rubric) -> None:
        assert read(self.TABLE.format(cell), generation, "score") == reason

    @pytest.mark.parametrize(
        "behind",
        ["Actually, 2.0", "EDIT: 3.0", "Text Faithfulness: 2.5", "On second thought, Text Faithfulness deserves 2.0.",
         "| Dimension | Score |\n|---|---|\n| Text Faithfulness | 2.5 |", '{"Text Faithfulness": 2.5}'],
    )  # fmt: skip
    def test_what_stands_behind_must_not_contradict(self, behind: str, generation: Rubric) -> None:
        for form in (self.TABLE, self.JSON):
            assert isinstance(read(form.format("3.5"), generation, "score"), Critique)
            assert read(f"{form.format('3.5')}\n\n{behind}", generation, "score") == "conflicting_scores"

    def test_a_table_of_something_else_is_none(self, generation: Rubric) -> None:
        for header in ("| Dimension | Reason |", "| Dimension | Value |", "| Dimension | Image A |"):
            assert read(self.TABLE.format("3.5").replace("| Dimension | Score |", header), generation) == "no_judgement"
        assert read(self.TABLE.format("3.5").replace("|---|---|\n", ""), generation) == "no_judgement"
        other = self.TABLE.format("3.5").replace("| Text Rendering |", "| Overall |")
        assert read(other + "\n# Summary: ok", generation) == "missing_dimension"

    def test_a_table_needs_its_summary(self, generation: Rubric) -> None:
        assert read(self.TABLE.format("3.5"), generation) == "truncated"

    @pytest.mark.parametrize(
        "value",
        ["3.5", '"3.5"', '"3.5/4"', '{"score": 3.5}', '{"Rating": "3,5", "max": 4}', '{"score": 3.5, "weight": 0.5}'],
    )
    def test_json_is_read(self, value: str, generation: Rubric) -> None:
        reply = self.JSON.format(value)
        for text in (
            reply,
            f"Here it is:\n```json\n{reply}\n```\n",
            f"<think>{self.JSON.format(1)}</think>{reply}",
            f"[{reply}]",
        ):
            critique = parse_critique(text, generation)
            assert list(critique.scores.values()) == [3.5, 2.0, None]
            assert critique.refinement is None

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            *(
                ("null", "missing_dimension"),
                ("true", "unreadable_score"),
                ("NaN", "unreadable_score"),
                ("[3.5]", "unreadable_score"),
            ),
            *(
                ('{"score": 3.5, "score": 2.0}', "unreadable_score"),
                ('{"score": 3.5, "final": 2}', "unreadable_score"),
                ("7", "score_out_of_scale"),
            ),
            *(
                ('{"score": 3.5, "note": "Actually, 2.0"}', "unreadable_score"),
                ('{"score": 3.5, "parts": {"hands": 2}}', "unreadable_score"),
            ),
            *(
                ('{"score": null}', "missing_dimension"),
                ('{"score": "high"}', "unreadable_score"),
                ('3.5, "text_faithfulness": 2', "conflicting_scores"),
            ),
            *(
                ('"3.5 or 2"', "unreadable_score"),
                ("3.5e0", "unreadable_score"),
                ('{"value": 3.5}', "missing_dimension"),
                ("3.5,,", "no_judgement"),
            ),
        ],
    )
    def test_a_value_that_says_something_else(self, value: str, reason: str, generation: Rubric) -> None:
        assert read(self.JSON.format(value), generation) == reason

    def test_a_name_of_two_dimensions_is_nobodys(self) -> None:
        rubric = Rubric(
            name="r",
            kind="generation",
            dimensions=(Dimension(key="mood", title="Light"), Dimension(key="light", title="Shade")),
        )
        assert read('{"light": 2, "shade": 1}', rubric) == "missing_dimension"

    @pytest.mark.parametrize(
        "flood", ["[" * 200_000, "{\n" * 200_000, '{"a":' * 100_000, "| a " * 100_000, "| a |\n|---|\n" * 20_000]
    )
    def test_floods_of_brackets_and_pipes_end(self, flood: str, generation: Rubric) -> None:
        assert read(flood, generation) == "no_judgement"


class TestTheRefinedRequestAlone:
    @pytest.mark.parametrize(
        "written",
        [
            *(
                "Refined Request: a red cat",
                "**Refined Request:** a red cat",
                "**Refined Prompt: a red cat**",
                '"a red cat"',
                "Prompt: “a red cat”",
            ),
            *(
                "Sure! Here is the refined request: a red cat",
                "优化后的提示词：a red cat",
                "\n## Refined Request: a red cat",
                "<prompt>a red cat</prompt>",
            ),
            *(
                '{"refined_request": "a red cat"}',
                '{"prompt": "a red cat", "negative_prompt": "fog"}',
                '["a red cat"]',
                '{"Refined Request": "a red cat"}',
            ),
            *(
                "a red cat\nHuman: now a dog",
                "a red cat\n\n**User:** thanks",
                "a red cat\n### Assistant: gladly",
                "a red cat\nSystem: x",
            ),
            *(
                "a red cat\nNegative prompt: fog",
                "a red cat, negative prompt: fog",
                "a red cat\nSteps: 20, Sampler: Euler",
                "a red cat; Negative: fog",
            ),
            *(
                "a red cat\n(Note: the fog is gone.)",
                "a red cat\n\nExplanation: no fog",
                "a red cat\nLet me know!",
                "a red cat\n反向提示词：雾",
            ),
        ],
    )
    def test_no_wrapping_and_no_tail_reaches_a_prompt(self, written: str, generation: Rubric) -> None:
        critique = parse_critique(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}{written}", generation)
        assert critique.refinement is not None
        assert critique.refinement.request == "a red cat"

    @pytest.mark.parametrize(
        "written",
        [
            'a sign "User: bob"',
            "a film negative: sharp",
            'a "Negative prompt: x" poster',
            "human: all too human",
            '{"a": "b", "c": "d"}',
        ],
    )
    def test_what_belongs_to_the_request_stays(self, written: str, generation: Rubric) -> None:
        critique = parse_critique(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}{written}", generation)
        assert critique.refinement is not None
        assert critique.refinement.request == written
