"""What the web page may know and ask of the loops: their last states, wishes to stop one, or to hand on another image.

The page talks to the server's event loop while nodes run in another thread, so every access takes the lock.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .story import LoopStory

KEPT_STATES = 64
"""Runs whose last state is kept for a page that reloads; the oldest is forgotten first."""

Run = tuple[str | None, str]
"""A run of a loop: id of its prompt, id of the node that the user sees."""


class LoopBoard:
    """Last state per run, and stop wishes per run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[Run, tuple[dict[str, Any], LoopStory | None]] = OrderedDict()
        self._wishes: OrderedDict[Run, None] = OrderedDict()
        self._changes: Counter[str] = Counter()
        self._choices: OrderedDict[Run, str | None] = OrderedDict()
        """By workflow and node."""

    def post(self, state: dict[str, Any], story: LoopStory | None = None) -> None:
        """Remember a loop's state, which is never changed afterwards, and what the run's pictures have to tell."""
        run = state["prompt_id"], state["node"]
        with self._lock:
            self._states[run] = state, story
            self._states.move_to_end(run)
            while len(self._states) > KEPT_STATES:
                self._states.popitem(last=False)

    def of_run(self, prompt_id: str | None, node: str) -> dict[str, Any] | None:
        with self._lock:
            return self._states.get((prompt_id, node), (None, None))[0]

    def story(self, prompt_id: str | None, node: str) -> LoopStory | None:
        with self._lock:
            return self._states.get((prompt_id, node), (None, None))[1]

    def of_prompt(self, prompt_id: str) -> list[dict[str, Any]]:
        with self._lock:
            return [state for (of, _), (state, _) in self._states.items() if of == prompt_id]

    def of_workflow(self, workflow: str) -> list[dict[str, Any]]:
        """The last state of each loop of a workflow."""
        with self._lock:
            return list(
                {state["node"]: state for state, _ in self._states.values() if state["workflow"] == workflow}.values()
            )

    def ask_to_stop(self, prompt_id: str | None, node: str) -> None:
        """The wish belongs to one prompt, so that it cannot stop a later run of the same node."""
        with self._lock:
            self._wishes[prompt_id, node] = None
            while len(self._wishes) > KEPT_STATES:
                self._wishes.popitem(last=False)

    def take_stop(self, prompt_id: str | None, node: str) -> bool:
        """Whether a stop is wished for; a wish is granted once (an inner loop runs again in the next outer turn)."""
        with self._lock:
            if (prompt_id, node) not in self._wishes:
                return False
            del self._wishes[prompt_id, node]
            self._changes[node] += 1
            return True

    def wishes(self, node: str) -> int:
        """How often somebody's wish has changed what a node gives out, since the server was started."""
        with self._lock:
            return self._changes[node]

    def overrule(self, workflow: str | None, node: str, image: str | None) -> None:
        """From its next run on a loop hands on this kept image (`<picture>/<index>`); None: the best one again."""
        with self._lock:
            self._choices[workflow, node] = image
            self._choices.move_to_end((workflow, node))
            self._changes[node] += 1
            while len(self._choices) > KEPT_STATES:
                self._choices.popitem(last=False)

    def choice(self, workflow: str | None, node: str) -> str | None:
        """The image that a person wants a loop to hand on."""
        with self._lock:
            return self._choices.get((workflow, node))


BOARD = LoopBoard()
"""The one of this process."""
