"""`RefineLoop`: runs the rules of `refine` around a generator that the caller supplies."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..errors import ConfigError
from ..judged import Case, Judged
from ..messages import UserRequest
from ..scorer import Scorer
from .history import History, check_there, load_history
from .policy import RefinePolicy
from .refine import Move, RefineState, RefineStep, StopReason, next_move

Generate = Callable[[str, int], Image.Image] | Callable[[str, int], Awaitable[Image.Image]]
"""(request, seed) -> image; may be a coroutine function. A plain function runs in a thread."""


@dataclass(frozen=True)
class LoopEnd:
    """How a loop ended."""

    state: RefineState
    reason: StopReason

    @property
    def best(self) -> RefineStep | None:
        return self.state.best


class RefineLoop:
    """Generate, critique and refine one request until it is good enough.

    With a `folder`, every step is on disk before the next begins; `resume` goes on from there. One loop at a time
    writes to a folder; a second one is refused.
    """

    def __init__(
        self,
        scorer: Scorer,
        generate: Generate,
        policy: RefinePolicy | None = None,
        *,
        folder: Path | None = None,
        on_step: Callable[[RefineState], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._scorer, self._generate, self._policy = scorer, generate, policy or RefinePolicy()
        self._history = History(folder) if folder is not None else None
        self._on_step, self._should_stop = on_step, should_stop

    async def run(self, request: UserRequest, base_seed: int = 0) -> LoopEnd:
        """Start a new loop. Errors of the generator are the caller's and come through as they are."""
        if not 0 <= base_seed < 2**32:
            raise ConfigError(f"The seed must be between 0 and 4294967295, not {base_seed}.")
        state = RefineState(request=request, base_seed=base_seed, policy=self._policy)
        if self._history is None:
            return await self._continue(state)
        with self._history as history:
            history.start(state)
            return await self._continue(state)

    async def resume(self, policy: RefinePolicy | None = None) -> LoopEnd:
        """Go on with the run in `folder`; a new `policy` (a larger budget, say) replaces the saved one."""
        if self._history is None:
            raise ConfigError("There is nothing to resume: the loop was made without a folder.")
        check_there(self._history.folder)
        with self._history as history:
            saved = load_history(history.folder)
            return await self._continue(replace(saved, policy=policy or saved.policy))

    async def _continue(self, state: RefineState) -> LoopEnd:
        while True:
            move = next_move(state)
            if isinstance(move, StopReason):
                return LoopEnd(state, move)
            if state.steps and self._should_stop():
                return LoopEnd(state, StopReason.STOPPED)
            step = await self._step(state, move)
            if self._history is not None:
                self._history.add(step)
            state = state.with_step(step)
            if self._on_step is not None:
                self._on_step(state)

    async def _step(self, state: RefineState, move: Move) -> RefineStep:
        started = time.perf_counter()
        image = await generated(self._generate, move.request, move.seed)
        image_ready = time.perf_counter()
        answer = await self._judged(state.goal, image)
        return RefineStep(
            index=len(state.steps),
            request=move.request,
            seed=move.seed,
            origin=move.origin,
            outcome=answer.outcome,
            reward=answer.reward,
            accepted=state.accepts(answer.reward),
            generate_seconds=image_ready - started,
            judge_seconds=time.perf_counter() - image_ready,
            image=image,
        )

    async def _judged(self, request: UserRequest, image: Image.Image) -> Judged:
        """Always against the original request."""
        return (await self._scorer.judge_many([Case(request, image)]))[0]


async def generated(generate: Generate, request: str, seed: int) -> Image.Image:
    """Call a plain or asynchronous generator."""
    if inspect.iscoroutinefunction(generate):
        image: Image.Image = await generate(request, seed)
        return image
    picture = await asyncio.to_thread(generate, request, seed)
    if inspect.isawaitable(picture):
        picture = await picture
    assert isinstance(picture, Image.Image)
    return picture
