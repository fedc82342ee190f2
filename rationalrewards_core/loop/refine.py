"""Generate, critique, refine: which request and seed to try next, and when to stop.

`next_move` is a pure function of what has happened so far, so a loop that owns the generator
(`RefineLoop`), a ComfyUI graph that expands node by node, and a run re-opened from its history all
follow the same rules:

* candidates are always scored against the user's original request;
* the best so far is kept; a refinement is accepted only if it wins by more than `minimum_gain`;
* a request changes only where a dimension fails; quoted text and names of the original stay;
* the loop stops when the threshold is reached, patience or budget runs out, or the user says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Literal

from PIL import Image

from ..critique import Critique, Unscored
from ..errors import OutOfScopeError
from ..limits import MAX_REQUEST_CHARACTERS
from ..messages import UserRequest
from ..reward import failing
from ..rewording import RewordingRules, refined_negative, reworded, split_negative, with_negative
from .policy import RefinePolicy

Origin = Literal["original", "refined"]
UNCUT: Final = RewordingRules(max_length=MAX_REQUEST_CHARACTERS)
"""A loop that rewords by itself has no limit of length that somebody set."""


@dataclass(frozen=True, kw_only=True)
class RefineStep:
    """One turn: a request and seed were tried, and this came out."""

    index: int
    request: str
    """The text the generator was given."""
    seed: int
    origin: Origin
    outcome: Critique | Unscored
    reward: float | None
    """In [0, 1]; None when unscored."""
    accepted: bool
    """Whether it became the best so far."""
    proposal: str | None = None
    """The next request as somebody beside the judge proposes it (a graph's own nodes); None: the judge's rewriting."""
    generate_seconds: float = 0.0
    judge_seconds: float = 0.0
    image: Image.Image | None = field(default=None, repr=False, compare=False)
    image_file: str = ""
    """File name beside the history, if the image was saved."""


@dataclass(frozen=True)
class Move:
    """What to try next."""

    request: str
    seed: int
    origin: Origin


class StopReason(str, Enum):
    """Why a loop ended. Each member carries the sentence that the user reads (`endings.ending` adds the figures)."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> StopReason:
        reason = str.__new__(cls, value)
        reason._value_, reason.sentence = value, sentence
        return reason

    REACHED = "reached", "The threshold is reached."
    PATIENCE = "patience", "The last images brought no improvement."
    BUDGET = "budget", "All images of the budget are used."
    NOTHING_NEW = "nothing_new", "With a fixed seed there is no new prompt to try."
    STOPPED = "stopped", "Stopped as you wished."
    OUT_OF_SCOPE = "out_of_scope", "This judge knows nothing of what the prompt asks for."


@dataclass(frozen=True, kw_only=True)
class RefineState:
    """Everything that has happened; `with_step` gives the next state."""

    request: UserRequest
    base_seed: int
    policy: RefinePolicy
    steps: tuple[RefineStep, ...] = ()

    @property
    def goal(self) -> UserRequest:
        """What candidates are judged by: the request, without a negative prompt that is a text of its own."""
        if not self.policy.refine_negative:
            return self.request
        return replace(self.request, text=split_negative(self.request.text)[0])

    @property
    def best(self) -> RefineStep | None:
        """The accepted step with the highest reward, or None while nothing was scored."""
        accepted = [step for step in self.steps if step.accepted]
        return accepted[-1] if accepted else None

    @property
    def reached(self) -> bool:
        best = self.best
        return best is not None and self.is_enough(best)

    def is_enough(self, step: RefineStep) -> bool:
        """Whether a step satisfies the threshold with no failing dimension."""
        if not isinstance(step.outcome, Critique) or step.reward is None:
            return False
        return step.reward >= self.policy.threshold and not self.failing(step.outcome)

    def failing(self, critique: Critique) -> tuple[str, ...]:
        return failing(critique, self.policy.minimum_scores, self.policy.minimum_score)

    def accepts(self, reward: float | None) -> bool:
        """Whether a candidate with this reward becomes the best."""
        if reward is None:
            return False
        best = self.best
        return best is None or best.reward is None or reward > best.reward + self.policy.minimum_gain

    def with_step(self, step: RefineStep) -> RefineState:
        return RefineState(
            request=self.request, base_seed=self.base_seed, policy=self.policy, steps=(*self.steps, step)
        )


def next_move(state: RefineState) -> Move | StopReason:
    """What to try next, or why to stop. The same state always gives the same answer."""
    policy, count = state.policy, len(state.steps)
    if state.reached:
        return StopReason.REACHED
    if state.steps and _out_of_scope(state.steps[-1]):
        return StopReason.OUT_OF_SCOPE  # all candidates are judged by the same request
    if count >= policy.max_iterations:
        return StopReason.BUDGET
    best = state.best
    if count < policy.first or best is None:
        return Move(state.request.text, seed_at(state, count), "original")
    if count - max(best.index + 1, policy.first) >= policy.patience:
        return StopReason.PATIENCE
    for source in _sources(state, best):
        move = Move(refined_request(state, source), seed_at(state, count), "refined")
        if policy.seeds != "fixed" or all((s.request, s.seed) != (move.request, move.seed) for s in state.steps):
            return move
    return StopReason.NOTHING_NEW


def seed_at(state: RefineState, index: int) -> int:
    """Seed of the candidate at `index`, in 0 .. 2**32 - 1."""
    if state.policy.seeds == "fixed" or index == 0:
        return state.base_seed
    if state.policy.seeds == "increment":
        return (state.base_seed + index) % 2**32
    digest = hashlib.sha256(f"{state.base_seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def refined_request(state: RefineState, source: RefineStep) -> str:
    """The request to try after `source`: its judge's rewriting if a dimension fails, else its own request again.

    What the user fixed in the original (quoted text, names, tags, weights, ...) survives, and the judge adds words
    only (`rewording`). A proposal is taken as it is: whoever made it has its own rules.
    """
    if source.proposal is not None:
        return source.proposal.strip() or source.request
    critique = source.outcome
    if not isinstance(critique, Critique) or not state.failing(critique):
        return source.request
    if not state.policy.refine_negative:
        return _reworded(state.request.text, source.request, critique)
    prompt, negative = split_negative(source.request)
    refined = _reworded(state.goal.text, prompt, critique)
    return with_negative(refined, refined_negative(negative, prompt, critique)[0])


def _reworded(original: str, tried: str, critique: Critique) -> str:
    if critique.refinement is None:
        return tried
    rewording = reworded(original, critique.refinement.request, UNCUT)
    return tried if rewording.unusable else rewording.prompt


def _out_of_scope(step: RefineStep) -> bool:
    return isinstance(step.outcome, Unscored) and step.outcome.reason == OutOfScopeError.reason


def _sources(state: RefineState, best: RefineStep) -> list[RefineStep]:
    """Steps whose critique may give the next request, most wanted first."""
    steps = [step for step in reversed(state.steps) if isinstance(step.outcome, Critique)]
    latest_first = list(steps)
    return [best, *latest_first] if state.policy.refine_from == "best" else latest_first
