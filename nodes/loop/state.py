"""What one loop has done so far. The rules are the core's (`refine`); this adds what a graph knows and a file forgets.

A graph decides for itself how an iteration is judged: by a critique, by a number that some node computed, or by both.
Whatever it is becomes one `RefineStep` of the core, so that the node stops where the command line would.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ...rationalrewards_core.critique import Critique, Unscored
from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.judged import best
from ...rationalrewards_core.loop.endings import ending
from ...rationalrewards_core.loop.history import step_to_json
from ...rationalrewards_core.loop.policy import SeedPolicy
from ...rationalrewards_core.loop.refine import Move, RefineState, RefineStep, StopReason, next_move
from ..show.previews import TempImage
from ..sockets import Critiques
from .ends import MAX_SEED
from .wiring import NO_JUDGEMENT

if TYPE_CHECKING:
    from ...rationalrewards_core.judged import Outcome

Keep = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What Loop Start tells Loop Until Score about the iteration."""

    original: str
    """The prompt the loop began with."""
    base_seed: int
    seeds: SeedPolicy
    prompt: str
    """The prompt of this iteration."""
    seed: int
    iteration: int
    """From 0."""
    skipped: bool = False
    """Whether the body was not run, because this iteration is kept."""
    prompt_id: str | None = None
    """The run in which Loop Start gave it out; a cache may give it out again in a later one."""
    began: float = 0.0
    """When it did, in seconds of `time.monotonic`."""


def first_flow(prompt: str, seed: int, seeds: SeedPolicy) -> Flow:
    """What a loop begins with. A wired seed may be larger than ours: it is folded."""
    seed = int(seed) % (MAX_SEED + 1)
    return Flow(original=prompt, base_seed=seed, seeds=seeds, prompt=prompt, seed=seed, iteration=0)


@dataclass(frozen=True, kw_only=True)
class LoopPlace:
    """Whose loop it is and where it is shown: what tells a run from those of other nodes, workflows and browsers."""

    prompt_id: str | None
    node: str
    """Id of the node that the user sees."""
    workflow: str | None = None
    """Id of the workflow it was queued from; None for a prompt that came without one."""
    client: str | None = None
    """The browser that queued it; None for a script."""
    start: str | None = None
    """Its Loop Start, which holds prompt and seed."""
    critique: str | None = None
    """Node of the body whose cards are the loop's, if there is one."""
    refine: str | None = None
    """Node of the body that rewords the prompt, if there is one."""

    def to_page(self) -> dict[str, Any]:
        """What the page needs of it: all but the browser, which is the page itself."""
        return {name: value for name, value in vars(self).items() if name != "client"}


@dataclass(frozen=True, kw_only=True)
class IterationCandidate:
    """The candidate of one iteration: the best of its batch."""

    index: int
    """In the batch."""
    outcome: Outcome
    reward: float | None
    """In [0, 1]; None when unscored."""


def best_of_batch(images: int, critiques: Sequence[Critiques], rewards: Sequence[float] | None) -> IterationCandidate:
    """The image with the highest reward, the first of equals; the first image when none could be scored.

    A number counts before a critique, which may come along to be shown. ConfigError if neither is there, or if their
    count is not the images'.
    """
    outcomes = [outcome for critique in critiques for outcome in critique.outcomes]
    if images == 0:
        raise ConfigError("There is no image to judge; the batch is empty.")
    if rewards is None and not critiques:
        raise ConfigError(NO_JUDGEMENT)
    if critiques and len(outcomes) != images:
        raise ConfigError(
            f"There are {images} images and {len(outcomes)} critiques; the loop needs one for each image."
        )
    if rewards is not None and len(rewards) != images:
        raise ConfigError(f"There are {images} images and {len(rewards)} rewards; the loop needs one for each image.")
    if rewards is None:
        values = [value for critique in critiques for value in critique.rewards]
    else:
        values = [_reward(value) for value in rewards]
        outcomes = outcomes or [_number_only(value) for value in values]
        outcomes = [_unrewarded(outcome, value) for outcome, value in zip(outcomes, values, strict=True)]
    index = best(values) or 0
    return IterationCandidate(index=index, outcome=outcomes[index], reward=values[index])


def _reward(value: float) -> float | None:
    """A FLOAT from the graph; NaN is how a node says that an image is unscored."""
    if math.isnan(value):
        return None
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"A reward lies between 0 and 1, and this one is {value:g}: rescale it before the loop.")
    return float(value)


def _number_only(value: float | None) -> Outcome:
    """A reward without words is a critique that judges no dimension, so none can fail."""
    return Critique(rubric="reward", judgements=()) if value is not None else _unrewarded(None, None)


def _unrewarded(outcome: Outcome | None, value: float | None) -> Outcome:
    if value is not None and outcome is not None:
        return outcome
    if isinstance(outcome, Unscored):
        return outcome
    return Unscored(reason="no_reward", message="The graph gave no reward for this image.")


@dataclass(frozen=True, kw_only=True)
class LoopState:
    """The core's state, and per step what the page shows of it."""

    refine: RefineState
    rows: tuple[dict[str, Any], ...] = ()
    """Per step what the page draws."""
    seed_wired: bool = True
    """Whether the images depend on the seed of Loop Start."""
    waiting: dict[str, Any] | None = None
    """The next prompt and seed, while a person is asked about them."""
    overruled: int | None = None
    """The iteration that a person hands on instead of the best one."""
    stop: StopReason | None = field(default=None)
    """Why the loop ended; None while it goes on."""

    def step(self, flow: Flow, candidate: IterationCandidate, proposal: str | None) -> RefineStep:
        """This iteration as the core records it."""
        return RefineStep(
            index=len(self.refine.steps),
            request=flow.prompt,
            seed=flow.seed,
            origin="original" if flow.prompt == flow.original else "refined",
            outcome=candidate.outcome,
            reward=candidate.reward,
            accepted=self.refine.accepts(candidate.reward),
            proposal=proposal,
        )

    def with_step(
        self, step: RefineStep, card: dict[str, Any] | None, image: TempImage | None, **origin: Any
    ) -> LoopState:
        """The step is kept without its picture, which is in a file: memory must not grow with the iterations.

        `origin` joins the step's row: where it came from.
        """
        light = replace(step, image=None, image_file=image["filename"] if image else "")
        row = {**self._row(step, card, image), **origin}
        return replace(self, refine=self.refine.with_step(light), rows=(*self.rows, row))

    def decided(self, stop_asked: bool) -> tuple[LoopState, Move | None]:
        """The state with its reason to stop, or the next move."""
        move = next_move(self.refine)
        if isinstance(move, Move) and stop_asked:
            move = StopReason.STOPPED
        return (replace(self, stop=move), None) if isinstance(move, StopReason) else (self, move)

    def chosen(self, keep: Keep) -> RefineStep:
        """The step that the loop hands on: the best one, the last one when nothing was scored or it is wanted.

        A person's own choice counts before both.
        """
        if self.overruled is not None:
            return self.refine.steps[self.overruled]
        best = self.refine.best
        return self.refine.steps[-1] if keep == "last" or best is None else best

    def to_page(self, place: LoopPlace) -> dict[str, Any]:
        """What the web side draws; every text in it was written by a user or a model."""
        return {**self._head(place), "iterations": list(self.rows)}

    def to_event(self, place: LoopPlace) -> dict[str, Any]:
        """The same for a page that has followed the loop: only the newest iteration."""
        return {**self._head(place), "row": self.rows[-1]}

    def _head(self, place: LoopPlace) -> dict[str, Any]:
        best = self.refine.best
        return {
            **place.to_page(),
            "running": self.stop is None,
            "threshold": self.refine.policy.threshold,
            "max_iterations": self.refine.policy.max_iterations,
            "seed_wired": self.seed_wired,
            "reached": self.refine.reached,
            "stopped": None if self.stop is None else self.stop.value,
            "ending": self.ending,
            "best": None if best is None else best.index,
            "overruled": self.overruled,
            "waiting": self.waiting,
        }

    def _row(self, step: RefineStep, card: dict[str, Any] | None, image: TempImage | None) -> dict[str, Any]:
        outcome = step.outcome
        unscored = isinstance(outcome, Unscored)
        return {
            "index": step.index,
            "prompt": step.request,
            "seed": step.seed if self.seed_wired else None,
            "reward": step.reward,
            "unscored": {"reason": outcome.reason, "message": outcome.message} if unscored else None,
            "proposal": step.proposal,
            "image": image,
            "card": card,
        }

    def to_history(self) -> str:
        """JSON of the whole run, for saving or for another node."""
        best = self.refine.best
        table = {
            "request": self.refine.request.text,
            "base_seed": self.refine.base_seed,
            "reached": self.refine.reached,
            "stopped": None if self.stop is None else self.stop.value,
            "ending": self.ending,
            "best": None if best is None else best.index,
            "iterations": [step_to_json(step, step.image_file) for step in self.refine.steps],
        }
        return json.dumps(table, ensure_ascii=False, indent=2)

    @property
    def ending(self) -> str | None:
        """Why the loop ended and what its best image lacks; None while it goes on."""
        cards = (row["card"] for row in self.rows if row["card"])
        titles = {dimension["key"]: dimension["title"] for card in cards for dimension in card.get("dimensions", ())}
        return None if self.stop is None else ending(self.refine, self.stop, titles)
