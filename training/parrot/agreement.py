"""Whether the teacher shares the taste it was asked to explain: how much is left of each preference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from rationalrewards_core.comparison import Verdict

FEWEST: Final = 0.4
"""Share kept below which the teacher does not see what people see; the paper's teacher keeps 0.72, ours about 0.7."""


class Agreement:
    """Counts of what was asked about and what was kept, by what people preferred."""

    def __init__(self, pairs: Iterable[tuple[Verdict, bool]] = ()) -> None:
        self._questions: Counter[Verdict] = Counter()
        self._pairs: Counter[Verdict] = Counter()
        for preference, in_export in pairs:
            self.add(preference, in_export)

    def add(self, preference: Verdict, in_export: bool) -> None:
        self._questions[preference] += 1
        self._pairs[preference] += in_export

    @property
    def share(self) -> float:
        """0 to 1; 1 where nothing was asked."""
        return self._pairs.total() / self._questions.total() if self._questions else 1.0

    def warning(self, what: str) -> str:
        """A sentence with the numbers if too little is left; else an empty text. `what` is counted, such as pairs."""
        if self.share >= FEWEST:
            return ""
        directions = ", ".join(
            f"{verdict.value} preferred: {self._pairs[verdict]} of {count}"
            for verdict, count in sorted(self._questions.items(), key=lambda pair: pair[0].value)
        )
        return (
            f"WARNING: only {self._pairs.total()} of {self._questions.total()} {what} ({self.share:.0%}) are left ({directions}): "
            "the teacher does not see or share these preferences, and a student learns only those where it agrees anyway. "
            "Try a stronger teacher, name what you care about as a dimension (--rubric), or train a scalar head, which "
            "needs no teacher (python -m training.sft scalar)."
        )
