"""What is left out of a user's file: every reason with its count and the first place, so that nothing goes unseen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class LeftOut:
    """Counts by reason; the first place of each is kept."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    """Reason -> where it occurred first: file, line, and what stood there."""

    def add(self, reason: str, place: str = "") -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, place)

    def __len__(self) -> int:
        return self.counts.total()

    def sentences(self) -> list[str]:
        """Every reason with its count and its first place, most frequent first."""
        return [
            f"{count} {reason}" + (f" (first {self.first[reason]})" if self.first.get(reason) else "")
            for reason, count in self.counts.most_common()
        ]

    def sentence(self, whole: int, what: str) -> str:
        """How many of `whole` lines (`what` they are) are left out, and why; empty if none is."""
        return f"{len(self)} of {whole} {what} are left out: {', '.join(self.sentences())}." if self else ""
