"""What a rationale offers as evidence, and what in it only states the verdict.

The check asks whether the label follows from the *evidence* (the tightness of the bound, see docs/parrot.md). A
rationale as it was written also holds scores, winner lines, a summary and sentences such as "Image A is
better": with these in view anyone predicts the label, and the check passes vacuously. So they are taken out,
and a rationale that has nothing else is a leak.
"""

from __future__ import annotations

import re
from typing import Final

from rationalrewards_core.comparison import Comparison
from rationalrewards_core.rubric import Rubric

from .language import FUNCTION_WORDS, SAYS_NOTHING, words

WITHHELD: Final = "[withheld]"

# Articles in lower case only: "A" is the name of an image.
_DEGREE: Final = (
    r"(?:(?:not|never|no|less|more|much|far|clearly|slightly|simply|overall|its?|does|did|(?-i:the|a|an))\s+)*"
)
_VERDICT: Final = re.compile(
    rf"\b{_DEGREE}(?:better|best|worse|worst|superior|inferior|prefer(?:red|able|ence|s|ring)?|favou?r(?:ed|ite|s)?"
    r"|win(?:s|ner|ning)?|won|los(?:es?|er|ing)|beat(?:s|en)?|outperform(?:s|ed)?|surpass(?:es|ed)?|defeats?"
    r"|chosen|choice|ahead|tied?|ties|equally\s+good|on\s+par)\b",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(
    r"\b(?:human|given|known|stated|provided|ground[- ]truth|annotated|user'?s?|people'?s?|rater'?s?)\s+"
    r"(?:preferences?|labels?|ratings?|choices?|verdicts?|judge?ments?|votes?|annotations?)\b"
    r"|\bground[- ]truth\b|\bannotators?\b|\bhuman\s+(?:raters?|evaluators?|judges?)\b|\bpeople\s+(?:preferred|chose|liked)\b"
    r"|\b(?:according\s+to|given)\s+the\s+(?:label|preference|hint|vote)s?\b|\bthe\s+hint\b(?!\s+of\b)"
    r"|\bas\s+(?:i\s+was\s+)?(?:told|stated|given|indicated)\b(?!\s+(?:in|by)\b)",
    re.IGNORECASE,
)


def evidence(comparison: Comparison, rubric: Rubric) -> str:
    """The justifications under their titles, with every word that only names the better image withheld."""
    lines = [
        f"{number}. {dimension.title}: {withheld(judgement.justification)}"
        for number, (dimension, judgement) in enumerate(zip(rubric.dimensions, comparison.judgements, strict=True), 1)
    ]
    return "\n".join(lines)


def withheld(text: str) -> str:
    """The text with verdict words replaced, their negations and degrees included; comparisons of facts stay."""
    return _VERDICT.sub(WITHHELD, text)


def label_mentions(text: str) -> tuple[str, ...]:
    """Phrases that speak of the label, the hint or the people behind it instead of the images."""
    return tuple(dict.fromkeys(" ".join(match.group().casefold().split()) for match in _LABEL.finditer(text)))


def evidence_words(comparison: Comparison, rubric: Rubric) -> frozenset[str]:
    """Distinct words of the justifications that can be evidence: neither small words, nor verdicts, nor praise."""
    empty = FUNCTION_WORDS | SAYS_NOTHING | {w for d in rubric.dimensions for w in words(d.title)}
    vocabulary = (w for j in comparison.judgements for w in words(withheld(j.justification)))
    return frozenset(w for w in vocabulary if w not in empty and len(w) > 1)


def leak(comparison: Comparison, rubric: Rubric, raw: str, *, fewest: int) -> tuple[str, str]:
    """(reason, message) of why a rationale states its label instead of evidence; two empty texts if it does not.

    `fewest` is the number of distinct evidence words below which nothing has been shown; 0 asks for none.
    """
    mentions = label_mentions(raw)
    if mentions:
        return "states_label", f"It speaks of the label instead of the images: {', '.join(mentions[:3])}."
    vocabulary = evidence_words(comparison, rubric)
    if len(vocabulary) < fewest:
        return (
            "no_evidence",
            f"Without its verdicts it says nothing about the images ({len(vocabulary)} words of evidence).",
        )
    return "", ""
