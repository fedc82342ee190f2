"""A prompt reworded by a judge's refined request; what the user fixed survives, whatever the judge wrote.

`full rewrite` takes the judge's text and puts back what it lost; `minimal change` keeps the prompt and appends
the clauses of the judge's text that say something new. Both are pure functions, and neither loses a quotation,
a tag, a weight, an embedding, a wildcard, a trigger word, or the prefix and suffix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .clauses import clauses, content_words, shortened
from .errors import ConfigError
from .messages import MAX_REQUEST_CHARACTERS
from .prompt_syntax import (
    Span,
    commands,
    fixed_spans,
    fixed_terms,
    has_sections,
    weighted_words,
    without_halves,
    without_sections,
    without_terms,
)
from .refine import kept_terms, says_no_change, with_kept_terms

Style = Literal["full rewrite", "minimal change"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)
NEW_SHARE: Final = 0.5
"""A clause says something new if more than this share of its words is."""


@dataclass(frozen=True, kw_only=True)
class RewordingRules:
    """What a rewording keeps and how far it goes."""

    style: Style = "full rewrite"
    """`full rewrite`: the judge's text; `minimal change`: the prompt plus what is new in the judge's text."""
    trigger_words: tuple[str, ...] = ()
    """Words that a LoRA was trained on; those that the prompt has stay, in its spelling."""
    prefix: str = ""
    """What every reworded prompt begins with, exactly."""
    suffix: str = ""
    """What every reworded prompt ends with, exactly."""
    max_length: int = 1500
    """Characters of the reworded prompt at most; what is fixed is never cut for it."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(f"style must be one of {', '.join(STYLES)}, not {self.style!r}.")
        if not 1 <= self.max_length <= MAX_REQUEST_CHARACTERS:
            raise ConfigError(f"max_length must be between 1 and {MAX_REQUEST_CHARACTERS}, not {self.max_length}.")


@dataclass(frozen=True, kw_only=True)
class Rewording:
    """The prompt to try next."""

    prompt: str
    notes: tuple[str, ...] = ()
    """Sentences about what was put back, left out or could not be done."""


def reworded(prompt: str, rewritten: str, rules: RewordingRules) -> Rewording:
    """`prompt` reworded after the judge's `rewritten` request; the prompt itself where that is no text to use."""
    if says_no_change(rewritten):
        return Rewording(prompt=prompt, notes=("The judge proposes no other wording.",))
    if max(len(prompt), len(rewritten)) > MAX_REQUEST_CHARACTERS:
        return Rewording(
            prompt=prompt,
            notes=(f"The rewriting is longer than {MAX_REQUEST_CHARACTERS} characters and was not used.",),
        )
    body = _body(prompt, rules)
    proposal, notes = _prose(_body(" ".join(rewritten.split()), rules), body)
    if not proposal:
        return Rewording(prompt=prompt, notes=(*notes, "The rewriting holds nothing to use."))
    room = rules.max_length - len(_joined("", rules))
    if rules.style == "full rewrite" and not has_sections(body):
        text, more = _rewrite(body, proposal, rules, room)
    else:
        text, more = _extension(body, proposal, room)
        if rules.style == "full rewrite":
            more = ["The prompt has sections (BREAK), which a rewriting would lose, so it was only added to.", *more]
    if text == body:
        more = more or ["The rewriting says nothing that the prompt does not say already."]
        return Rewording(prompt=prompt, notes=(*notes, *more))
    reworded_prompt = _joined(text, rules)
    if len(reworded_prompt) > rules.max_length:
        more.append(
            f"The prompt has {len(reworded_prompt)} characters, more than {rules.max_length}: the rest of it is fixed."
        )
    return Rewording(prompt=reworded_prompt, notes=(*notes, *more))


def _body(text: str, rules: RewordingRules) -> str:
    """`text` without the prefix and suffix of the rules."""
    text = text.strip()
    prefix, suffix = rules.prefix.strip(), rules.suffix.strip()
    if prefix and (match := re.match(re.escape(prefix), text, re.IGNORECASE)):
        text = text[match.end() :].lstrip(" ,")
    if suffix and (match := re.search(re.escape(suffix) + r"\Z", text, re.IGNORECASE)):
        text = text[: match.start()].rstrip(" ,")
    return text


def _joined(body: str, rules: RewordingRules) -> str:
    """Prefix, body and suffix with commas between them where no punctuation stands."""
    text = ""
    for part in (rules.prefix.strip(), body, rules.suffix.strip()):
        text += (_divider(text) if text and part else "") + part
    return text


def _divider(text: str) -> str:
    """What stands between `text` and words that are added to it."""
    return " " if text.endswith((",", ".", ";", ":", "!", "?")) else ", "


def _prose(proposal: str, body: str) -> tuple[str, list[str]]:
    """The judge's text without commands that the prompt does not have: it may write words, not load files."""
    own = commands(body)
    removed: list[str] = []
    while foreign := tuple(term for term in commands(proposal) if term not in own):
        removed += foreign
        for term in foreign:
            proposal = proposal.replace(term, " ")
    words = without_sections(proposal)
    if words.count('"') % 2:  # which marks belong together cannot be told, and the next turn would tell it otherwise
        words = words.replace('"', "")
    words = without_halves(words, own)
    if removed or words != proposal:
        proposal = re.sub(r"\s+([,;.])(?=\s|$)", r"\1", re.sub(r"[,;](?:\s*[,;])+", ",", " ".join(words.split())))
    notes = [f"Left out of the rewriting: {', '.join(removed)}."] if removed else []
    return proposal.strip(" ,;"), notes


def _rewrite(body: str, proposal: str, rules: RewordingRules, room: int) -> tuple[str, list[str]]:
    """The proposal with everything fixed in `body` put back, within `room` characters if that can be."""
    terms, words = fixed_terms(body), _trigger_words(body, rules.trigger_words)
    text, lost = _with_terms(proposal, terms)
    text, lost_words = _with_words(text, words)
    prose = without_terms(body, (*terms, *words))
    complete = with_kept_terms(prose, text)
    lost += lost_words
    if complete != text:
        lost.append(complete.removeprefix(text.rstrip(". ")).removeprefix("; keep "))
    notes = [f"Put back: {', '.join(lost)}."] if lost else []
    fixed = [*fixed_spans(complete), *_occurrences(complete, (*words, *kept_terms(prose)))]
    short = shortened(complete, room, fixed)
    if short != complete:
        notes.append(f"Shortened from {len(complete)} to {len(short)} characters.")
    return short, notes


def _with_terms(text: str, terms: tuple[str, ...]) -> tuple[str, list[str]]:
    """Fixed terms put in the place of their plain words, or at the end; and which of them were lost."""
    lost = [term for term in terms if term not in text]
    text, appended = _placed(text, [(weighted_words(term), term) for term in lost])
    return ", ".join([text.rstrip(" .,;"), *appended]) if appended else text, lost


def _trigger_words(body: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The trigger words that the prompt has, in its spelling."""
    found = (_word_pattern(word).search(body) for word in words if word.strip())
    return tuple(dict.fromkeys(match.group() for match in found if match))


def _with_words(text: str, words: tuple[str, ...]) -> tuple[str, list[str]]:
    """Trigger words in the prompt's spelling, at the front if the text has them in none; and which were lost."""
    misspelt = [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
    text, lost = _placed(text, [(word, word) for word in misspelt])
    return ", ".join([*lost, text]), lost


def _placed(text: str, wanted: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """`text` with each (words, term): the term where its words stand as prose; and the terms that found no place."""
    taken = fixed_spans(text)
    placed: list[tuple[Span, str]] = []
    for words, term in wanted:
        place = _free_place(text, words, taken)
        if place is not None:
            placed.append((place, term))
            taken.append(place)
    for place, term in sorted(placed, key=lambda entry: -entry[0].start):
        text = text[: place.start] + term + text[place.end :]
    found = {term for _, term in placed}
    return text, [term for _, term in wanted if term not in found]


def _word_pattern(words: str) -> re.Pattern[str]:
    spaced = r"\s+".join(re.escape(word) for word in words.split())
    return re.compile(rf"(?<!\w){spaced}(?!\w)", re.IGNORECASE)


def _free_place(text: str, words: str, taken: Sequence[Span]) -> Span | None:
    """Where `words` stand in `text`, outside of what is taken."""
    if not words:
        return None
    found = (Span(*match.span()) for match in _word_pattern(words).finditer(text))
    return next((place for place in found if not any(span.overlaps(place.start, place.end) for span in taken)), None)


def _occurrences(text: str, terms: tuple[str, ...]) -> list[Span]:
    return [Span(*m.span()) for term in terms for m in re.finditer(re.escape(term), text, re.IGNORECASE)]


def _extension(body: str, proposal: str, room: int) -> tuple[str, list[str]]:
    """The prompt's own words, and behind them the clauses of the proposal that say something new and fit."""
    text, known, left_out = body, content_words(body), 0
    for clause in clauses(proposal):
        words = content_words(clause)
        if not words or len(words - known) <= NEW_SHARE * len(words):
            continue
        longer = text + (_divider(text) if text else "") + clause
        if len(longer) > room:
            left_out += 1
            continue
        text, known = longer, known | words
    return text, [f"{left_out} new clauses do not fit into the limit and were left out."] if left_out else []
