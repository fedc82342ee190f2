"""Finished iterations come back from the disk: what Loop Start and Loop Until Score ask about it.

A first iteration that is kept is skipped: Loop Start gives out blockers instead of values, so that the core runs nothing
that depends on them, and Loop Until Score, whose inputs are lazy, asks for none. Later iterations are only expanded
where they are not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .graph import PromptGraph, is_link, is_output
from .graph_keys import Key
from .judgement import KeptJudgement, judgement_file, kept_judgement
from .kept_iterations import KeptIterations, kept_iterations
from .keys import LoopKeys, loop_keys
from .state import Flow, first_flow


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The kept iterations of one loop, by what they were made from."""

    store: KeptIterations
    keys: LoopKeys | None
    """None for a loop of which nothing can be known."""

    def picture(self, flow: Flow, carried: Key) -> Key:
        """Of this iteration, kept or not; None if it cannot be known."""
        return None if self.keys is None else self.keys.picture(flow, carried)

    def judgement(self, picture: str, flow: Flow, carried: Key) -> KeptJudgement | None:
        key = None if self.keys is None else self.keys.judgement(flow, carried)
        return None if key is None else kept_judgement(self.store.text(picture, judgement_file(key)))

    def keep(
        self,
        picture: Key,
        flow: Flow,
        carried: Key,
        batches: Sequence[Any] | None,
        judgement: KeptJudgement,
        preview: Any,
    ) -> None:
        """Begin to write an iteration; `batches` None where its images are kept already."""
        if picture is None or self.keys is None:
            return
        key = self.keys.judgement(flow, carried) if judgement.is_final else None
        texts = {} if key is None else {judgement_file(key): judgement.to_text()}
        self.store.keep(picture, batches, texts, preview)

    def skips(self, flow: Flow) -> bool:
        """Whether the first iteration need not run: it is kept, and nobody behind the loop looks at its nodes."""
        if self.keys is None or self.keys.leaks:
            return False
        picture = self.keys.picture(flow, self.keys.given)
        return picture is not None and self.store.has(picture)


def replay_of(prompt: PromptGraph, prompt_id: str | None, open_id: str) -> Replay:
    """Of the loop that begins at a Loop Start."""
    return Replay(store=kept_iterations(), keys=loop_keys(prompt, prompt_id, open_id, is_output))


def first_fingerprint(prompt: PromptGraph, prompt_id: str | None, open_id: str) -> str:
    """What makes the core ask a Loop Start again (`FirstIterations`)."""
    replay, inputs = replay_of(prompt, prompt_id, open_id), prompt.get_node(open_id)["inputs"]
    if replay.keys is None:
        return ""
    unknown = any(is_link(inputs.get(name)) for name in ("prompt", "seed"))
    may_skip = unknown or replay.skips(first_flow(inputs["prompt"], inputs["seed"], inputs["seed_policy"]))
    return FIRST_ITERATIONS.fingerprint(open_id, replay.keys.whole(), may_skip)


class FirstIterations:
    """Tells the core's cache when a Loop Start has to be asked again whether its iteration is skipped.

    Under one fingerprint the core may remember either answer, for good. So a loop that is unchanged since it ran last
    has the fingerprint of then (nothing runs again, nor does anything behind it); a changed one whose first iteration is
    kept has one of its own; and those that are made share one, until a Loop Start has skipped under it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[Key, str]] = {}
        self._broken = 0

    def fingerprint(self, node_id: str, loop: Key, may_skip: bool) -> str:
        """`loop` is the key of all that the loop depends on (`LoopKeys.whole`)."""
        with self._lock:
            before, last = self._last.get(node_id, (None, ""))
            if loop is None or loop != before:
                last = f"kept {loop}" if may_skip else f"made {self._broken}"
                self._last[node_id] = loop, last
            return last

    def skipped(self, node_id: str) -> None:
        """The iteration was skipped, whatever its fingerprint said."""
        with self._lock:
            if self._last.get(node_id, (None, ""))[1].startswith("made"):
                self._broken += 1


FIRST_ITERATIONS = FirstIterations()
"""The one of this process."""
