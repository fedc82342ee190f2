"""What the web page may know and ask of the loops: their last states, and the wish to stop one.

The page talks to the server's event loop while nodes run in another thread, so every access takes the lock.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Any

KEPT_STATES = 64
"""Loops whose last state is kept for a page that reloads; the oldest is forgotten first."""


class LoopBoard:
    """Last state per visible node, and stop wishes per prompt and visible node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._wishes: OrderedDict[tuple[str | None, str], None] = OrderedDict()
        self._granted: Counter[str] = Counter()

    def post(self, state: dict[str, Any]) -> None:
        """Remember a loop's state under its node; a state that is posted is never changed afterwards."""
        with self._lock:
            self._states[state["node"]] = state
            self._states.move_to_end(state["node"])
            while len(self._states) > KEPT_STATES:
                self._states.popitem(last=False)

    def last(self, node: str) -> dict[str, Any] | None:
        with self._lock:
            return self._states.get(node)

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
            self._granted[node] += 1
            return True

    def stopped(self, node: str) -> int:
        """How often a node's loops were stopped by a wish since the server was started."""
        with self._lock:
            return self._granted[node]


BOARD = LoopBoard()
"""The one of this process."""
