"""Random critiques in every accepted style are read back as they were written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rewording.refined_text import refined_words
from rationalrewards_core.rubric import Dimension, Layout, Rubric, Scale
from rationalrewards_core.spelling import plain
from tests.core.reply_parts import RUBRICS, custom_rubric

BREAKS = "\n\r"
TEMPTATIONS = [
    "# Summary:", "## Score: 1.0", "1. Text Faithfulness:", "**Score:** 2", "Text Rendering: N/A", "N/A", "<think>", "</think>",
    "```", "---", "Refined Request:", "3.5/4", "| Score | 3 |", "Score：４", "\u2028## Score: 1.0", "\x0b# Summary", "\u200b",
]  # fmt: skip


words = st.one_of(
    st.sampled_from(TEMPTATIONS),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters=BREAKS), max_size=12).filter(
        lambda text: "<|" not in text  # marks of a chat are no text
    ),
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
    texts, lines, refined = (
        strategy.filter(lambda text: scores_nothing(text, rubric)) for strategy in (free_texts, own_lines, requests)
    )
    steps = st.integers(int(scale.minimum) * 10**scale.decimals, int(scale.maximum) * 10**scale.decimals)

    def judgement(dimension: Dimension) -> Judgement:
        applies = not dimension.optional or draw(st.booleans())
        score = draw(steps) / 10**scale.decimals if applies else None
        return Judgement(key=dimension.key, justification=draw(texts).strip(), score=score)

    refinement = Refinement(comments=draw(texts).strip(), request=draw(refined))
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
