"""The rubric's reply format as a grammar (EBNF as xgrammar, llama.cpp and vLLM read it).

Guided by it, a model can only write replies that `parse_critique` accepts: every heading in place,
every score on the scale, N/A only where it is allowed.
"""

from __future__ import annotations

import json
from functools import lru_cache

from .free_lines import SPACES, free_line_rules
from .headings import CORRECTIONS, OVERALL
from .replies.parsing import Mode
from .reply_layout import LayoutPart, LineEnd, Opening, Slot, reply_headings, reply_layout
from .rubric import NOT_APPLICABLE, WINNERS, Rubric, Scale


@lru_cache(maxsize=64)
def critique_grammar(rubric: Rubric, mode: Mode = "critique") -> str:
    """EBNF of a reply under `rubric`; in `score` mode it ends with the last score.

    Texts are free but for lines that `parse_critique` would take for a heading. One blank line may stand
    between two lines and before a heading.
    """
    return "\n".join([_root(reply_layout(rubric, mode)), *_rules(rubric)])


@lru_cache(maxsize=64)
def comparison_grammar(rubric: Rubric) -> str:
    """EBNF of a comparison's reply under `rubric`: what it allows, `parse_comparison` reads, but for a winner that has
    the lower score."""
    rules = [
        f"winner ::= {' | '.join(map(_literal, WINNERS))}",
        f"applicable-winner ::= winner | {_literal(NOT_APPLICABLE)}",
    ]
    root = _root(reply_layout(rubric, pairwise=True))
    return "\n".join([root, *_rules(rubric, pairwise=True), *rules])


def _root(parts: tuple[LayoutPart, ...]) -> str:
    words = [
        _literal(part.text) if isinstance(part, Opening) else "break" if isinstance(part, LineEnd) else _rule_of(part)
        for part in parts
    ]
    return f"root ::= {' '.join(words)}"


def _rule_of(slot: Slot) -> str:
    if slot.kind in ("score", "winner"):
        applicable = slot.dimension is not None and slot.dimension.optional
        return {"score": ("score", "applicable"), "winner": ("winner", "applicable-winner")}[slot.kind][applicable]
    rules = {"analysis": "line (break line)*", "justification": "justification", "refined": "words"}
    return rules.get(slot.kind, "text")


def _rules(rubric: Rubric, *, pairwise: bool = False) -> list[str]:
    alone, own = reply_headings(rubric), reply_headings(rubric, pairwise=pairwise)
    headings = (*alone.sections, *alone.fields, *own.fields, *OVERALL, *CORRECTIONS)
    return [
        r'break ::= "\n" "\n"?',
        rf"words ::= [^{SPACES}\n\r] rest",
        "text ::= words (break line)*",
        "justification ::= words (break evidence)* (break list)?",
        'list ::= "1" [.)] " " mark* opening ending (break (item | evidence))*',
        *free_line_rules([*headings, *(dimension.title for dimension in rubric.dimensions)]),
        f"score ::= {_numbers(rubric.scale)}",
        f"applicable ::= score | {_literal(NOT_APPLICABLE)}",
    ]


def _numbers(scale: Scale) -> str:
    """Every number of the scale: whole part, then up to `decimals` digits (only zeros at either end, no -0.0)."""
    low, high = int(scale.minimum), int(scale.maximum)
    if scale.decimals == 0:
        return _any_of(range(low, high + 1))
    digits = "[0-9]" + " [0-9]?" * (scale.decimals - 1)
    zeros = '"0"' + ' "0"?' * (scale.decimals - 1)
    ways = []
    if high > 0:
        ways.append(f'(({_any_of(range(max(low, 0), high))}) "." {digits})')
    if high >= 0:
        ways.append(f'({_literal(str(high))} "." {zeros})')
    if low < 0 <= high:
        ways.append('("-0." ' + ("[1-9])" if scale.decimals == 1 else '([1-9] [0-9]? | "0" [1-9]))'))
    between = range(max(1, -high), -low)
    if between:
        ways.append(f'("-" ({_any_of(between)}) "." {digits})')
    if low < 0:
        ways.append(f'({_literal(str(low))} "." {zeros})')
    return " | ".join(ways)


def _any_of(numbers: range) -> str:
    return " | ".join(_literal(str(number)) for number in numbers)


def _literal(text: str) -> str:
    """A quoted terminal; JSON's escapes are EBNF's."""
    return json.dumps(text, ensure_ascii=False)
