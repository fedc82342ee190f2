"""What each stage writes: one record per question to the teacher, complete in itself, as one line of JSON.

A record carries its pair, the teacher's reply word for word, why it was dropped (if it was), where it came from and
what it cost. It holds no clock: the same questions give the same lines, however often the job was killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, critique_from_json

from ..data.pairs import PreferencePair, pair_from_json
from ..data.records import Provenance, Record, Usage

Order = Literal["AB", "BA"]
"""Which candidate the teacher saw as Image A: the pair's first (AB) or its second (BA)."""
Side = Literal["A", "B"]
"""A candidate, by its place in the pair."""


@dataclass(frozen=True, kw_only=True)
class Ordered(Record):
    """A record about both candidates, in one of their two orders."""

    order: Order

    @property
    def shown(self) -> PreferencePair:
        """The pair as the teacher saw it: its `first` was Image A."""
        return self.pair if self.order == "AB" else self.pair.swapped


@dataclass(frozen=True, kw_only=True)
class Rationale(Ordered):
    """Stage 1: why the preferred candidate is better, written with the label in view."""


@dataclass(frozen=True, kw_only=True)
class Check(Ordered):
    """Stage 2: whether the label follows from the rationale."""

    rationale: str
    """Key of the rationale that was checked."""
    predicted: Verdict | None = None
    """What the teacher predicted, in the order it was shown; None if it was not asked or gave no answer."""
    notes_true: bool | None = None
    """Whether the images bear the rationale out; None where they were not shown."""
    leak: str = ""
    """Reason code of the leak check; empty if nothing leaked."""

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"predicted": None if self.predicted is None else self.predicted.value}


@dataclass(frozen=True, kw_only=True)
class Projection(Record):
    """Stage 3: an absolute critique of one candidate, as if judged by itself."""

    side: Side
    rationale: str = ""
    """Key of the rationale that was the hint; empty in the direct arm."""
    critique: Critique | None = None
    """None if the reply could not be used."""

    def to_json(self) -> dict[str, Any]:
        critique = self.critique
        return super().to_json() | {"critique": None if critique is None else critique.to_json() | {"raw": ""}}


def _shared(table: Mapping[str, Any]) -> dict[str, Any]:
    provenance = table["provenance"]
    return {
        "key": table["key"],
        "pair": pair_from_json(table["pair"]),
        "reason": table["reason"],
        "message": table["message"],
        "reply": table["reply"],
        "provenance": None if provenance is None else Provenance(**provenance),
        "usage": Usage(**table["usage"]),
    }


def rationale_from_json(table: Mapping[str, Any]) -> Rationale:
    return Rationale(order=table["order"], **_shared(table))


def check_from_json(table: Mapping[str, Any]) -> Check:
    predicted = table["predicted"]
    return Check(
        order=table["order"],
        rationale=table["rationale"],
        predicted=None if predicted is None else Verdict(predicted),
        notes_true=table["notes_true"],
        leak=table["leak"],
        **_shared(table),
    )


def projection_from_json(table: Mapping[str, Any]) -> Projection:
    critique = table["critique"]
    return Projection(
        side=table["side"],
        rationale=table["rationale"],
        critique=None if critique is None else critique_from_json(critique),
        **_shared(table),
    )
