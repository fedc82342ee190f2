"""Corrections that a judge writes in free words behind a score: `Actually, 2.0`, `EDIT: 2.0`, `on second thought, two`.

Which of the two numbers counts is the judge's secret, so a correction is only ever recognised, never applied.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ..rubric import Scale
from ..spelling import plain

_SURE: Final = (
    r"actually|in fact|edit(?:ed)?(?=\s*(?:[\d:：—–-]|to\b|$))|update[d]?(?=\s*(?:[\d:：—–-]|to\b|$))|corrections?|corrected|correcting"
    r"|errat(?:um|a)|revis(?:e|ed|ing|ion)|re-?(?:consider|assess|evaluat|scor|rat)(?:e|ed|ing|ion)?"
    r"|(?:on|upon) (?:second|further|closer|a (?:second|closer)|re-?)\s?(?:thoughts?|look|inspection|reflection|consideration|examination|reading)"
    r"|(?:second|further) thoughts?|on reflection|wait|oops|sorry|scratch that|strike that|never ?mind|nvm|amend(?:ed|ment)?"
    r"|should (?:rather |really |actually |instead )?(?:have been|be|read)|make (?:it|that)(?: a)?|take (?:that|it|this) back"
    r"|(?:I|I'd|I’d|I'll|I’ll|I would|I will|let me|we) (?:now |rather |then |instead )?(?:change|lower|raise|reduce|increase|drop|bump|downgrade|upgrade|settle|go with)"
    r"|final answer|chang(?:e|ed|ing) my mind|apologies|pardon|having (?:re-?\w+|looked again)|typo|my mistake|meant|korrektur|korrigiert|berichtigung|eigentlich|tats[äa]chlich|doch eher"
    r"|correcci[óo]n|corregid[oa]|correction|en r[ée]alit[ée]|en realidad|исправлен\w*|на самом деле"
)
_LIKELY: Final = (
    r"final(?:ly)?|instead|rather|hmm+|hm|adjust(?:ed|ing|ment)?|chang(?:e|ed|ing)|lower(?:ed|ing)?|rais(?:e|ed|ing)|reduc(?:e|ed|ing)"
    r"|increas(?:e|ed|ing)|downgrad(?:e|ed|ing)|upgrad(?:e|ed|ing)|bump(?:ed|ing)?|dropp?(?:ed|ing)?|settl(?:e|ed|ing)|new (?:score|rating)"
    r"|no(?=[,:;.—–-])|not \d|should|would|but|however|better|fairer|more like|closer to|too (?:high|low|generous|harsh|strict)|mistake|wrong"
    r"|edit|update|p\.?\s?s\b|now|cap(?:ped)?|limit(?:ed)?|assign(?:ed|ing)?|therefore|eher|after (?:deduction|penalty|review)|endg[üu]ltig|lieber|besser|finalement|plut[ôo]t|mejor|итог\w*"
)
_ASIAN: Final = (
    r"更正|修正|改为|改成|应为|應為|应该是|实际上|實際上|其实|重新|最终|最終|訂正|やはり|実際|정정|수정|사실|다시"
)
SURE: Final = re.compile(rf"(?<!\w)(?:{_SURE})(?!\w)|{_ASIAN}", re.IGNORECASE)
"""Words with which somebody takes back what stands before."""
MARKS: Final = re.compile(rf"(?<!\w)(?:{_SURE}|{_LIKELY})(?!\w)|{_ASIAN}|~~|</(?:del|s|strike)>|→|=>|->", re.IGNORECASE)
"""Words and signs that take back the score right before them, if a number comes with them."""
_RETRACTED: Final = re.compile(
    r"\b(?:scratch|strike|disregard|ignore|forget) (?:that|this|the (?:above|previous|first)? ?(?:score|rating))\b"
    r"|\b(?:minus|plus|less|deduct(?:ed|ing)?|subtract(?:ed|ing)?|dock(?:ed|ing)?|taking off)\s+(?:a |an |one|half|two|another|[0-9])[^.;\n]{0,20}\bpoints?\b"
    r"|\btake (?:that|it|this|the score) back\b"
    r"|\b(?:score|rating)\b(?: above| here)? (?:is|was|seems|should (?:be|have been)) (?:too |not |wrong|incorrect|a mistake|higher|lower)"
    r"|\b(?:that|this|it)(?:'s| is| was) (?:too (?:high|low|generous|harsh)|a (?:mistake|typo)|wrong)\b"
    r"|\b(?:I|I'd|I’d|I would|I will|let me) (?:now )?(?:change|lower|raise|revise|reconsider|withdraw|take back) (?:it|that|this|the score|my score|the rating)\b",
    re.IGNORECASE,
)
"""A score taken back, or counted down, with no other number in its place."""
_EARLIER: Final = re.compile(
    r"\b(?:previous|earlier|above|preceding|prior|last|first)\s+(?:score|rating)s?\b|\b(?:score|rating)s? (?:above|before)\b",
    re.IGNORECASE,
)
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER: Final = re.compile(
    rf"(?<![A-Za-z0-9.,/#])(?<![0-9]:)[+-]?[0-9]{{1,3}}(?:[.,][0-9]{{1,2}})?(?![0-9]|[.,:][0-9]|\s?[%°])|\b(?:{'|'.join(_WORDS)})\b"
    r"|(?<![\w/])n\s?/\s?a(?![\w/])|\bn\.\s?a\.|\bnot[ -]applicable\b",
    re.IGNORECASE,
)
_STANDS_ALONE: Final = re.compile(
    r"[*_`\"'”’)\]~\s]*(?:$|[½¼¾⅓⅔.,;:!?(—–/\-。，；！？（)]|分|点|점|(?:is|was|would|seems?|fits?|instead|because|since|rather|now|then"
    r"|points?|stars?|here|for|given|due|as|if|out of|overall|at most|it is|not|and a half)\b)",
    re.IGNORECASE,
)
"""What may follow a number that is a score; `2 cats` is none, while a decimal may stand before anything."""
_BARE: Final = re.compile(
    r"(?![\s>]*[-+*•·–]\s|[\s>]*\(?[0-9]{1,2}[.):、]\s)[^0-9|]{0,60}?(?P<number>(?<![A-Za-z0-9.,/#])(?<![0-9]:)[+-]?[0-9]{1,3}(?:[.,][0-9]{1,2})?)"
    r"(?:\s*/\s*[0-9]{1,3})?[*_`\"'”’)\]~.!。\s]*"
    r"|(?![\s>]*[-+*•·–]\s|[\s>]*\(?[0-9]{1,2}[.):、]\s)[^0-9|]{0,60}?(?<![A-Za-z0-9.,/#])(?<![0-9]:)"
    r"(?P<decimal>[+-]?[0-9]{1,3}[.,][0-9]{1,2})(?![0-9]|[.,:/][0-9]|\s?[%°])[^0-9|]*"
)
MOST_CHARACTERS: Final = 400
"""Of a line so much is looked at from its start, and as much from its end."""


def numbers_of_a_correction(line: str, scale: Scale, *, near: bool) -> tuple[float | None, ...] | None:
    """The scores of the scale, N/A as None, with which a line corrects one; None for the whole if it corrects none.

    No scores at all: one is taken back and nothing put in its place. `near` is for a line behind the score that it
    would correct, where a hint is enough; elsewhere only words that always take something back count.
    """
    words = _bounded(line)
    sure = SURE.search(words) is not None
    if sure or (near and MARKS.search(words)):
        scores = _scores(words, scale, sure=sure)
        if scores:
            return scores
    return () if near and takes_back(words) else None


def takes_back(line: str) -> bool:
    """Whether a line takes the score before it back without another number: `scratch that`, `minus one point`."""
    return _RETRACTED.search(_bounded(line)) is not None


def number_of_a_bare_line(line: str, scale: Scale) -> float | None:
    """The one number of the scale in a short line without a bullet, whatever its language: its last word, or a decimal."""
    match = _BARE.fullmatch(_bounded(line)) if len(line) <= MOST_CHARACTERS else None
    if match is None or len(line.split()) > (7 if match["number"] else 12):
        return None
    value = float((match["number"] or match["decimal"]).replace(",", "."))
    return value if scale.contains(value) else None


def speaks_of_an_earlier_score(line: str) -> bool:
    return _EARLIER.search(_bounded(line)) is not None


def differs(numbers: Collection[float | None], scores: Collection[float | None]) -> bool:
    """Whether a correction leaves another score than those: it has another number, or takes one back for none."""
    return not numbers or any(number not in scores for number in numbers)


def _bounded(line: str) -> str:
    if len(line) > 2 * MOST_CHARACTERS:
        line = f"{line[:MOST_CHARACTERS]} {line[-MOST_CHARACTERS:]}"
    return plain(line).replace("\u2212", "-")


def _scores(line: str, scale: Scale, *, sure: bool) -> tuple[float | None, ...]:
    scores: list[float | None] = []
    for match in _NUMBER.finditer(line):
        text = match.group().casefold()
        if text[0] == "n" and text not in _WORDS:
            scores.append(None)
        elif text == "one" and not sure:
            continue  # `green, but a bluish one`
        elif any(mark in text for mark in ".,") or _STANDS_ALONE.match(line, match.end()):
            value = float(_WORDS.index(text)) if text in _WORDS else float(text.replace(",", "."))
            scores += [value] if scale.contains(value) else []
    return tuple(scores)
