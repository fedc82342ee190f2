"""The rubric's reply format as a grammar (EBNF as xgrammar, llama.cpp and vLLM read it).

Guided by it, a model can only write replies that `parse_critique` accepts: every heading in place,
every score on the scale, N/A only where it is allowed.
"""

from __future__ import annotations

import json
from typing import Final

from .parsing import Mode
from .rubric import (
    ANALYSIS,
    COMMENTS,
    JUDGEMENT,
    JUSTIFICATION,
    NOT_APPLICABLE,
    REFINED,
    REFINEMENT,
    SCORE,
    SUMMARY,
    Rubric,
    Scale,
)

_SPACES: Final = r" \t\u000b\u000c\u001c-\u001f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What a text must not begin with, so that none is blank."""


def critique_grammar(rubric: Rubric, mode: Mode = "critique") -> str:
    """EBNF of a reply under `rubric`; in `score` mode it ends with the last score."""
    layout = rubric.layout
    parts = [_literal(f"# {ANALYSIS}\n"), 'sentence ("\\n" sentence)*', _literal("\n")] if layout.analysis else []
    parts.append(_literal(f"# {JUDGEMENT}\n"))
    for number, dimension in enumerate(rubric.dimensions, 1):
        score = "applicable" if dimension.optional else "score"
        fields = [
            [_literal(f"## {JUSTIFICATION}: "), "text"],
            [_literal(f"## {SCORE}: "), score],
        ]
        first, second = reversed(fields) if layout.score_first else fields
        last = number == len(rubric.dimensions)
        parts += [_literal(f"{number}. {dimension.title}:\n"), *first]
        if not (last and mode == "score" and layout.score_first):
            parts += [_literal("\n"), *second]
        if not last:
            parts.append(_literal("\n"))
    if mode == "critique":
        parts += [_literal(f"\n# {SUMMARY}: "), "text"]
        if layout.refinement:
            parts += [_literal(f"\n\n# {REFINEMENT}:\n## {COMMENTS}: "), "text", _literal(f"\n## {REFINED}: "), "line"]
    rules = [
        f"root ::= {' '.join(parts)}",
        r'text ::= line ("\n" sentence)*',
        rf"line ::= [^{_SPACES}\n\r] [^\n\r]*",
        # A line of its own that no heading can be: a heading has a colon after its name, or nothing.
        r"sentence ::= [^\n\r:=：＝]* [.!?。！？…]",
        f"score ::= {_numbers(rubric.scale)}",
        f"applicable ::= score | {_literal(NOT_APPLICABLE)}",
    ]
    return "\n".join(rules)


def _numbers(scale: Scale) -> str:
    """Every number of the scale: whole part, then up to `decimals` digits (only zeros at the maximum)."""
    wholes = " | ".join(_literal(str(n)) for n in range(int(scale.minimum), int(scale.maximum)))
    top = _literal(str(int(scale.maximum)))
    if scale.decimals == 0:
        return f"{wholes} | {top}"
    digits = "[0-9]" + " [0-9]?" * (scale.decimals - 1)
    zeros = '"0"' + ' "0"?' * (scale.decimals - 1)
    return f'(({wholes}) "." {digits}) | ({top} "." {zeros})'


def _literal(text: str) -> str:
    """A quoted terminal; JSON's escapes are EBNF's."""
    return json.dumps(text, ensure_ascii=False)
