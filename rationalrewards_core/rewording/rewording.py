"""A prompt reworded by a judge's refined request; what the user fixed survives, whatever the judge wrote.

`full rewrite` takes the judge's text and puts back what it lost; `minimal change` keeps the prompt and appends
the clauses of the judge's text that say something new. Both are pure functions, and neither loses a quotation,
a tag, a weight, an embedding, a wildcard, a step, a trigger word, or the prefix and suffix. Options (`--ar 16:9`) and a negative prompt stay behind everything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..limits import MAX_REQUEST_CHARACTERS
from .clauses import clauses, content_words, shortened
from .judged_text import says_no_change, without_foreign_syntax
from .kept import kept_terms, lost_terms, with_kept_terms
from .rules import RewordingRules
from .syntax import (
    Span,
    blanked,
    commands,
    fixed_spans,
    fixed_terms,
    has_negative,
    has_sections,
    is_quotation,
    is_structured,
    joined,
    parted,
    tail,
    weighted_words,
    without_comments,
)

NEW_SHARE: Final = 0.5
"""A clause says something new if more than this share of its words is."""


@dataclass(frozen=True, kw_only=True)
class Rewording:
    """The prompt to try next."""

    prompt: str
    notes: tuple[str, ...] = ()
    """Sentences about what was put back, left out or could not be done."""
    unusable: bool = False
    """Whether the judge's text gave nothing to use; `prompt` is then the one that went in."""


def reworded(prompt: str, rewritten: str, rules: RewordingRules) -> Rewording:
    """`prompt` reworded after the judge's `rewritten` request; the prompt itself where that is no text to use."""
    if says_no_change(rewritten):
        return _unusable(prompt, "The judge proposes no other wording.")
    if max(len(prompt), len(rewritten)) > MAX_REQUEST_CHARACTERS:
        return _unusable(prompt, f"The rewriting is longer than {MAX_REQUEST_CHARACTERS} characters and was not used.")
    body, last = _parts(prompt, rules)
    if is_structured(body):
        return _unusable(prompt, "The prompt is JSON, which a rewriting in words would break, so it stays.")
    if is_structured(rewritten.strip()):
        return _unusable(prompt, "The judge's rewriting is JSON, which is no prompt in words, so the prompt stays.")
    text, notes = _text(body, last, rewritten, rules)
    if not text:
        return _unusable(prompt, *notes)
    if text == body:
        return Rewording(prompt=prompt, notes=notes)
    if not _keeps(text, body, rules):
        return _unusable(prompt, *notes, "The rewriting cannot be joined with what you fixed, so the prompt stays.")
    whole = _whole(text, last, rules)
    if len(whole) > rules.max_length:
        notes += (f"The prompt has {len(whole)} characters, more than {rules.max_length}: the rest of it is fixed.",)
    return Rewording(prompt=whole, notes=notes)


def _unusable(prompt: str, *notes: str) -> Rewording:
    return Rewording(prompt=prompt, notes=notes, unusable=True)


def _text(body: str, last: str, rewritten: str, rules: RewordingRules) -> tuple[str, tuple[str, ...]]:
    """The body's rewording, empty if the judge's text holds nothing to use; and what there is to say about it."""
    rewrite = rules.style == "full rewrite" and not has_sections(body)
    parts, judged_last = _parts(rewritten, rules)
    proposal, foreign = without_foreign_syntax(parts, body if rewrite else "")
    left_out = [term for term in (*foreign, *commands(judged_last)) if term not in commands(last)]
    notes = [f"Left out of the rewriting: {', '.join(left_out)}."] if left_out else []
    if not proposal:
        return "", (*notes, "The rewriting holds nothing to use.")
    if rules.style == "full rewrite" and not rewrite:
        notes.append(
            "The prompt has sections (BREAK, AND, regions, ::), which a rewriting would lose; it was only added to."
        )
    room = rules.max_length - len(_whole("", last, rules))
    text, more = _rewrite(body, proposal, rules, room) if rewrite else _extension(body, proposal, room)
    if text == body and not more:
        more = ["The rewriting says nothing that the prompt does not say already."]
    return text, (*notes, *more)


def _keeps(text: str, body: str, rules: RewordingRules) -> bool:
    """Whether everything fixed in `body` is in `text`, and no command beside it."""
    foreign = set(commands(text)) - set(commands(body))
    body = without_comments(body)
    prose = _prose(body, _trigger_words(body, rules.trigger_words))
    return set(fixed_terms(body)) <= set(fixed_terms(text)) and not lost_terms(prose, text) and not foreign


def _body(text: str, rules: RewordingRules) -> str:
    """`text` without the prefix and suffix of the rules."""
    text = text.strip()
    prefix, suffix = rules.prefix.strip(), rules.suffix.strip()
    if prefix and (match := re.match(re.escape(prefix), text, re.IGNORECASE)):
        text = text[match.end() :].lstrip(" ,")
    if suffix and (match := re.search(re.escape(suffix) + r"\Z", text, re.IGNORECASE)):
        text = text[: match.start()].rstrip(" ,")
    return text


def _parts(text: str, rules: RewordingRules) -> tuple[str, str]:
    """`text` without the prefix and suffix of the rules, and the options that have to stand behind it."""
    words, last = parted(_body(text, rules))
    return (_body(words, rules), last) if last else (words, "")


def _whole(body: str, last: str, rules: RewordingRules) -> str:
    """Prefix, body and suffix with commas between them where no punctuation stands; options last."""
    suffix, last_too = parted(rules.suffix.strip())
    if suffix.strip():
        suffix, last_too = rules.suffix.strip(), ""
    text = ""
    for part in (rules.prefix.strip(), body, suffix):
        text += (_divider(text) if text and part else "") + part
    behind = last_too + last if has_negative(last) else last + last_too
    return text + (behind if text else behind.lstrip())


def _divider(text: str) -> str:
    """What stands between `text` and words that are added to it."""
    return " " if text.endswith((",", ".", ";", ":", "!", "?")) else ", "


def _rewrite(body: str, proposal: str, rules: RewordingRules, room: int) -> tuple[str, list[str]]:
    """The proposal with everything fixed in `body` put back, within `room` characters if that can be."""
    body = without_comments(body)
    terms, words = fixed_terms(body), _trigger_words(body, rules.trigger_words)
    text, lost = _with_terms(proposal, terms)
    text, lost_words = _with_words(text, words)
    prose = _prose(body, words)
    lost += [*lost_words, *lost_terms(prose, text)]
    complete = with_kept_terms(prose, text)
    notes = [f"Put back: {', '.join(lost)}."] if lost else []
    fixed = [*fixed_spans(complete), *_occurrences(complete, (*words, *kept_terms(prose)))]
    short = shortened(complete, room, fixed)
    if short != complete:
        notes.append(f"Shortened from {len(complete)} to {len(short)} characters.")
    return short, notes


def _prose(body: str, words: tuple[str, ...]) -> str:
    """`body` without its fixed terms and trigger words; its quotations stay."""
    fixed = fixed_spans(body)
    terms = [span for span in fixed if not is_quotation(body[span.start : span.end])]
    places = (Span(*match.span()) for word in words for match in _word_pattern(word).finditer(body))
    return blanked(body, joined([*terms, *(p for p in places if not any(f.overlaps(p.start, p.end) for f in fixed))]))


def _with_terms(text: str, terms: tuple[str, ...]) -> tuple[str, list[str]]:
    """Fixed terms put in the place of their plain words, or at the end; and which of them were lost."""
    there = set(fixed_terms(text))
    lost = [term for term in terms if term not in there]
    text, appended = _placed(text, [(weighted_words(term), term) for term in lost])
    return ", ".join([text.rstrip(" .,;"), *appended]) if appended else text, lost


def _trigger_words(body: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The trigger words that the prompt has, in its spelling."""
    matches = (_word_pattern(word).search(body) for word in words if word.strip())
    return tuple(dict.fromkeys(match.group() for match in matches if match))


def _with_words(text: str, words: tuple[str, ...]) -> tuple[str, list[str]]:
    """Trigger words in the prompt's spelling, at the front if the text has them in none; and which were lost."""
    misspelt = [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
    text, lost = _placed(text, [(word, word) for word in misspelt])
    return ", ".join([*lost, text]), lost


def _placed(text: str, terms: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """`text` with each (words, term): the term where its words stand as prose; and the terms that found no place."""
    spans = fixed_spans(text)
    placed: list[tuple[Span, str]] = []
    for words, term in terms:
        place = _free_place(text, words, spans)
        if place is not None:
            placed.append((place, term))
            spans.append(place)
    for place, term in sorted(placed, key=lambda entry: -entry[0].start):
        text = text[: place.start] + term + text[place.end :]
    present = {term for _, term in placed}
    return text, [term for _, term in terms if term not in present]


def _word_pattern(words: str) -> re.Pattern[str]:
    spaced = r"\s+".join(re.escape(word) for word in words.split())
    return re.compile(rf"(?<!\w){spaced}(?!\w)", re.IGNORECASE)


def _free_place(text: str, words: str, spans: Sequence[Span]) -> Span | None:
    """Where `words` stand in `text`, outside of `spans`."""
    if not words:
        return None
    places = (Span(*match.span()) for match in _word_pattern(words).finditer(text))
    return next((place for place in places if not any(span.overlaps(place.start, place.end) for span in spans)), None)


def _occurrences(text: str, terms: tuple[str, ...]) -> list[Span]:
    return [Span(*m.span()) for term in terms for m in re.finditer(re.escape(term), text, re.IGNORECASE)]


def _extension(body: str, proposal: str, room: int) -> tuple[str, list[str]]:
    """The prompt's own words, and behind them the clauses of the proposal that say something new and fit."""
    last = tail(body)
    text, vocabulary, left_out = body.removesuffix(last), content_words(body), 0
    for clause in clauses(proposal):
        words = content_words(clause)
        if not words or len(words - vocabulary) <= NEW_SHARE * len(words):
            continue
        longer = text + (_divider(text) if text else "") + clause
        if len(longer) + len(last) > room:
            left_out += 1
            continue
        text, vocabulary = longer, vocabulary | words
    return text + last, [f"{left_out} new clauses do not fit into the limit and were left out."] if left_out else []
