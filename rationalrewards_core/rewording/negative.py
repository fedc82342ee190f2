"""A negative prompt refined by what a critique says should not be there. Rules, not a model: no judge is asked again.

    "There is an extra small green triangle."    ->  extra small green triangle
    "Refined Request: a cat on a sofa, without any text or logos"  ->  text, logos
    "Negative prompt: blurry, watermark"         ->  blurry, watermark

A critique names such things in three ways: by an adjective that says so (extra, unwanted, ...), by a demand in its
comments or its refined request (no, without, ...), or by a negative prompt of its own. What the prompt itself asks for
never becomes unwanted. English alone is read: in a critique in another language nothing is found, and nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..critique import Critique
from ..quotation import QUOTED, quotations
from .clauses import clauses, content_words
from .syntax import plain_words

MOST_TERMS: Final = 8
"""Of one critique; a negative prompt that grows without end weighs nothing."""
MOST_CHARACTERS: Final = 60
"""A longer term is a sentence."""
LABEL: Final = "Negative prompt:"
"""Begins the negative prompt where one text carries both, as in the metadata of many programs."""

_LABELLED: Final = re.compile(r"\s*\bNegative prompts?[*_]{0,2}\s?[:：][*_]{0,2}\s*", re.IGNORECASE)
_SILENT: Final = "unwanted|unrequested|unasked(?:-for)?|unintended|superfluous|extraneous|spurious"
"""They say that a thing is not wanted, and nothing about the thing."""
_SPEAKING: Final = "extra|stray|distracting|duplicated?"
_ENDS: Final = (
    "in|on|at|by|for|from|to|with|without|near|beside|behind|under|over|above|below|around|between|of|off|into|"
    "onto|and|but|nor|so|because|while|where|which|that|than|then|as|is|are|was|were|be|has|have|had|can|could|"
    "should|would|may|might|will|instead|appears?|appearing|stands?|standing|sits?|makes?|make|add|keep|put|show|"
    "use|change|move|place|draw|ensure|give|let|set|turn|render|try|write|specify|ask|describe|mention|it|they|"
    "this|these|here|there|not"
)
"""Words that no thing's name goes on with."""
_DETERMINERS: Final = r"(?:(?:the|any|all|its|his|her|their|a|an|some|visible|such)\s+){0,2}"
_NOUNS: Final = rf"(?:(?!(?:{_ENDS}|or)\b)[^\W\d_][\w'’-]{{0,30}}(?:[ ]+|\b)){{1,4}}"
_LIST: Final = rf"{_DETERMINERS}{_NOUNS}(?:(?:,\s*{_DETERMINERS}{_NOUNS}){{0,4}},?\s*\bor\s+{_DETERMINERS}{_NOUNS})?"
_DEMAND: Final = re.compile(rf"\b(?:no|without|avoid(?:ing)?|free (?:of|from))\s+({_LIST})", re.IGNORECASE)
_FLAW: Final = re.compile(rf"\b(?:(?:{_SILENT})\s+|(?=(?:{_SPEAKING})\s))({_NOUNS})", re.IGNORECASE)
_DENIED: Final = re.compile(
    r"(?:\b(?:no|not|without|any|nothing|never|lacks?|free of|free from)|n['’]t)\s+(?:\w+\s+){0,2}$", re.IGNORECASE
)
_DIVIDER: Final = re.compile(r",\s*|\bor\b")
_NO_THING: Final = re.compile(
    r"(?:more|longer|less|one|other|others|such|doubt|need|further|changes?|refinements?|issues?|problems?|matter|way|sign|signs|"
    r"ambiguity|vagueness|mention|exceptions?|reason|points?)\b",
    re.IGNORECASE,
)
_LETTERING: Final = frozenset("text word words letter letters lettering writing caption".split())  # noqa: SIM905


def split_negative(text: str) -> tuple[str, str]:
    """The prompt and the negative prompt of one text that carries both; the second is empty where there is none."""
    label = _label(text)
    return (text, "") if label is None else (text[: label.start()].rstrip(), text[label.end() :].strip())


def with_negative(prompt: str, negative: str) -> str:
    """One text that carries both."""
    return f"{prompt.rstrip()}\n{LABEL} {negative.strip()}" if negative.strip() else prompt


def refined_negative(negative: str, prompt: str, critique: Critique) -> tuple[str, tuple[str, ...]]:
    """`negative` with what `critique` says should not be there behind it, and which terms were added."""
    wanted = content_words(_DEMAND.sub(" ", plain_words(split_negative(prompt)[0])))
    if quotations(prompt):
        wanted |= _LETTERING
    there = [content_words(clause) for clause in clauses(negative)]
    added: list[str] = []
    for term in _unwanted(critique):
        words = content_words(term) - _speaking_words(term)
        if not words or words <= wanted or any(words <= clause for clause in there):
            continue
        added.append(term)
        there.append(content_words(term))
        if len(added) == MOST_TERMS:
            break
    kept = negative.strip().rstrip(",")
    return ", ".join([*([kept] if kept else []), *added]), tuple(added)


def _unwanted(critique: Critique) -> Iterator[str]:
    """Terms of all three kinds, those that were meant as terms first."""
    label = _label(critique.raw)
    if label is not None:
        yield from _terms(re.split(r"[,;，]", re.split(r"\n\s*\n|\n\s*#", critique.raw[label.end() :], maxsplit=1)[0]))
    for judgement in critique.judgements:
        for flaw in _FLAW.finditer(judgement.justification):
            if not _DENIED.search(judgement.justification[max(0, flaw.start() - MOST_CHARACTERS) : flaw.start()]):
                yield from _terms([flaw[1]])
    if critique.refinement is not None:
        for text in (critique.refinement.comments, critique.refinement.request):
            for demand in _DEMAND.finditer(QUOTED.sub(" ( ", text)):
                yield from _terms(_DIVIDER.split(demand[1]))


def _terms(pieces: list[str]) -> Iterator[str]:
    for piece in pieces:
        term = re.sub(rf"^{_DETERMINERS}", "", " ".join(plain_words(piece).split()).strip(" .*_"), flags=re.IGNORECASE)
        if term and len(term) <= MOST_CHARACTERS and not _NO_THING.match(term):
            yield term


def _label(text: str) -> re.Match[str] | None:
    """Where the negative prompt begins; a label in quotation marks is a word like others."""
    quoted = [match.span() for match in QUOTED.finditer(text)]
    labels = _LABELLED.finditer(text)
    return next((one for one in labels if not any(start < one.end() <= end for start, end in quoted)), None)


def _speaking_words(term: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in re.findall(rf"\b(?:{_SPEAKING})\b", term, re.IGNORECASE))
