"""The progress bar of a node that judges: images finished, and tokens of the images under way."""

from __future__ import annotations

from typing import Any

STEPS_PER_IMAGE = 1000
USUAL_TOKENS = 400
"""Length of a reply that nobody has seen yet; the bar learns from the longest reply of its run."""


def interrupted() -> bool:
    """Whether the user asked to stop; the question leaves the flag set, for the thread that runs the node."""
    import comfy.model_management

    return bool(comfy.model_management.processing_interrupted())


class NodeProgress:
    """Told by the engine's thread how far it is; shown, and interrupted, by the thread that runs the node."""

    def __init__(self, node_id: str | None, images: int) -> None:
        self._node_id, self._images = node_id, images
        self._finished = 0
        self._tokens = 0
        self._usual = USUAL_TOKENS
        self._bar: Any = None

    def token(self, tokens: int, most: int) -> None:
        """One decoding step of the images under way; `most` is the token limit."""
        self._tokens = tokens
        self._usual = max(self._usual, tokens)

    def image(self) -> None:
        """One more image has its outcome."""
        self._finished = min(self._finished + 1, self._images)
        self._tokens = 0

    def restart(self, images: int) -> None:
        """Some images are judged again."""
        self._finished = max(0, self._images - images)
        self._tokens = 0

    @property
    def value(self) -> int:
        """How far the run is, of `STEPS_PER_IMAGE` per image; a reply under way never counts as a whole image."""
        under_way = 0 if self._finished == self._images else min(0.95, self._tokens / self._usual)
        return int(STEPS_PER_IMAGE * (self._finished + under_way))

    def check(self) -> None:
        """Raise ComfyUI's interrupt if the user asked for it."""
        import comfy.model_management

        comfy.model_management.throw_exception_if_processing_interrupted()

    def show(self) -> None:
        """Check, and send the bar."""
        from comfy.utils import ProgressBar

        self.check()
        if self._bar is None:
            self._bar = ProgressBar(STEPS_PER_IMAGE * max(1, self._images), node_id=self._node_id)
        if self.value > self._bar.current:
            self._bar.update_absolute(self.value)
