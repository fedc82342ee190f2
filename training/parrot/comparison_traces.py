"""Whether an absolute critique gives away that its writer was shown a comparison.

A student sees one image and no hint: text about "Image B" or "the reference comment" would teach it to invent them.
"""

from __future__ import annotations

import re
from typing import Final

_MENTION: Final = re.compile(
    r"(?i:\b(?:the|this|that|my|your)\s+hints?\b(?!\s+of\b))"
    r"|(?i:\b(?:reference|validated|provided|given|previous|earlier|pairwise|supplied)\s+"
    r"(?:comments?|comparisons?|analys[ie]s|rationales?|judge?ments?|reviews?|notes?|scores?))\b"
    r"|\b(?i:image|candidate|picture|edit)\s+[AB]\b"
    r"|(?i:\bthe\s+other\s+(?:image|candidate|picture|edit)\b)"
    r"|(?i:\b(?:compared|comparison|relative)\s+(?:to|with)\s+(?:the\s+other|another)\b)"
    r"|(?i:\b(?:human|given|known)\s+preferences?\b|\bpreferred\s+(?:image|candidate|one|over)\b)"
)


def hint_mentions(text: str, request: str) -> tuple[str, ...]:
    """Phrases that speak of a comparison or a hint; words of the request itself never count."""
    quoted = text.replace(request, " ") if request.strip() else text
    return tuple(dict.fromkeys(" ".join(match.group().split()) for match in _MENTION.finditer(quoted)))
