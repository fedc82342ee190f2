"""Pause: after each critique the loop waits for a person, who sees the next prompt and changes, takes or skips it.

It waits as long as it takes: an interrupt ends the run, Stop ends the loop with the best image so far.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from aiohttp import web

from ...rationalrewards_core.limits import MAX_REQUEST_CHARACTERS
from ..http import refusal, whole_body
from .board import BOARD, Run

if TYPE_CHECKING:
    from ...rationalrewards_core.loop.refine import Move, StopReason
    from .graph_keys import Key

ANSWER_PATH: Final = "/rationalrewards/loop/answer"
BODY_LIMIT: Final = 8 * MAX_REQUEST_CHARACTERS
LOOK_SECONDS: Final = 0.1
"""How often a waiting loop looks for an answer, a wish to stop and an interrupt."""
KEPT_ANSWERS: Final = 1024
ASK: Final = 'Answer with {"prompt_id": id, "node": id, "answer": "take", "prompt": the next prompt}, or with "skip" and no prompt.'


@dataclass(frozen=True, kw_only=True)
class PauseAnswer:
    """What a person said."""

    choice: Literal["take", "skip"]
    """`skip` tries the best image's own prompt once more, with the next seed."""
    prompt: str = ""
    """The next prompt, as it was taken."""

    def applied(self, move: Move, best: str) -> Move:
        """The next move; `best` is the prompt of the best image so far."""
        return replace(move, request=best if self.choice == "skip" else self.prompt)


class Pauses:
    """Loops that wait, and what was answered. The page talks to the server's event loop, loops wait in another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Run, PauseAnswer | None] = {}
        self._answers: OrderedDict[tuple[str, str], PauseAnswer] = OrderedDict()

    def answer(self, run: Run, answer: PauseAnswer) -> bool:
        """False if that loop does not wait."""
        with self._lock:
            if run not in self._waiting:
                return False
            self._waiting[run] = answer
            return True

    def known(self, picture: Key, move: Move) -> PauseAnswer | None:
        """What was answered when this kept iteration proposed this prompt."""
        with self._lock:
            return None if picture is None else self._answers.get((picture, move.request))

    @contextmanager
    def waiting(self, run: Run) -> Iterator[None]:
        """Answers are taken from here on: whoever is told that the loop waits may answer at once."""
        with self._lock:
            self._waiting[run] = None
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[run]

    def wait(self, run: Run, picture: Key, move: Move, check: Callable[[], None]) -> PauseAnswer | None:
        """The answer, or None if the loop is to stop; inside `waiting`. `check` raises ComfyUI's interrupt."""
        while True:
            check()
            if BOARD.take_stop(*run):
                return None
            answer = self._taken(run, picture, move)
            if answer is not None:
                return answer
            time.sleep(LOOK_SECONDS)

    def _taken(self, run: Run, picture: Key, move: Move) -> PauseAnswer | None:
        """The answer, if one has come; it is remembered for this kept iteration."""
        with self._lock:
            answer = self._waiting[run]
            if answer is not None and picture is not None:
                self._answers[picture, move.request] = answer
                while len(self._answers) > KEPT_ANSWERS:
                    self._answers.popitem(last=False)
            return answer


PAUSES = Pauses()
"""The one of this process."""


def paused(
    run: Run, picture: Key, replayed: bool, move: Move, best: str, show: Callable[[bool], None]
) -> Move | StopReason:
    """The next move as a person wants it. `show` tells the page that the loop waits, and that it waits no longer."""
    import comfy.model_management

    from ...rationalrewards_core.loop.refine import StopReason

    answer = PAUSES.known(picture, move) if replayed else None
    if answer is None:
        with PAUSES.waiting(run):
            show(True)
            try:
                answer = PAUSES.wait(
                    run, picture, move, comfy.model_management.throw_exception_if_processing_interrupted
                )
            finally:
                show(False)
    return StopReason.STOPPED if answer is None else answer.applied(move, best)


async def answer_pause(request: web.Request) -> web.Response:
    """POST (see `ASK`) -> {"answered": true}; 400, 404 or 413 with {"error": sentence}."""
    body = await whole_body(request, BODY_LIMIT)
    if body is None:
        return refusal(413, f"An answer is at most {BODY_LIMIT} bytes.")
    order = _order_of(body)
    if order is None:
        return refusal(400, ASK)
    run, answer = order
    if answer.choice == "take" and not 0 < len(answer.prompt.strip()) <= MAX_REQUEST_CHARACTERS:
        return refusal(400, f"A prompt has 1 to {MAX_REQUEST_CHARACTERS} characters.")
    if not PAUSES.answer(run, answer):
        return refusal(404, "This loop is not waiting for an answer.")
    return web.json_response({"answered": True})


def _order_of(body: bytes) -> tuple[Run, PauseAnswer] | None:
    try:
        order: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(order, dict) or order.get("answer") not in ("take", "skip"):
        return None
    texts = [order.get("prompt_id"), order.get("node"), order.get("prompt", "")]
    if not all(isinstance(text, str) for text in texts):
        return None
    prompt_id, node, prompt = texts
    return (prompt_id, node), PauseAnswer(choice=order["answer"], prompt=prompt)
