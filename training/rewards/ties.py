"""Tie protocols by name. Three are in use in the literature and give other numbers for the same judge.

Never put figures of two protocols into one table; every table of ours names its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError

from .opinions import Opinion


@dataclass(frozen=True, kw_only=True)
class TieProtocol:
    """What becomes of ties; a failed judgement counts as wrong under every protocol."""

    name: str
    label_ties: Literal["counted", "left out"]
    """Pairs on which people were undecided."""
    predicted_ties: Literal["wrong", "half", "left out"]
    """Pairs on which people were decided and the judge was not."""
    description: str


PROTOCOLS: Final = {
    protocol.name: protocol
    for protocol in (
        TieProtocol(
            name="forced",
            label_ties="left out",
            predicted_ties="wrong",
            description="pairs with a human winner; the judge must name it, a tie is wrong",
        ),
        TieProtocol(
            name="half",
            label_ties="left out",
            predicted_ties="half",
            description="pairs with a human winner; a tie by the judge earns one half",
        ),
        TieProtocol(
            name="decided",
            label_ties="left out",
            predicted_ties="left out",
            description="pairs with a human winner on which the judge decided (TRM's protocol); read it with the coverage",
        ),
        TieProtocol(
            name="three-class",
            label_ties="counted",
            predicted_ties="wrong",
            description="A, B and tie are three classes (EditReward's protocol); the judge must say tie where people did",
        ),
    )
}


def protocol(name: str) -> TieProtocol:
    if name not in PROTOCOLS:
        raise ConfigError(f"Unknown tie protocol {name!r}; there are {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def credit(opinion: Opinion, rule: TieProtocol, margin: float = 0.0) -> float | None:
    """1 for right, 0 for wrong or failed, 0.5 for half; None if the pair is not counted under the protocol."""
    if opinion.label is Verdict.TIE and rule.label_ties == "left out":
        return None
    verdict = opinion.with_margin(margin) if opinion.verdict is not None else None
    if verdict is None:
        return 0.0
    if verdict is Verdict.TIE and opinion.label is not Verdict.TIE:
        return {"wrong": 0.0, "half": 0.5, "left out": None}[rule.predicted_ties]
    return float(verdict is opinion.label)
