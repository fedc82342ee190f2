"""Passes recorded once as CUDA graphs and then replayed: one launch in place of a thousand.

A recorded pass works on fixed memory, so the cache must not move and rows must not leave it while its recordings are
used. A recording is believed only after it gave what the pass itself gave for other tokens than it was recorded with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .flat_text import FlatText
from .kv_cache import KeyValueCache, Place

TOLERANCE: Final = 0.02
"""Largest difference of a logit, relative to the largest logit: rounding in bf16, where kernels add in another order."""


class CannotRecord(RuntimeError):
    """A pass of this model is not to be recorded; it runs one by one."""


@dataclass(frozen=True)
class _Recording:
    """One graph with the tensors that it reads and writes."""

    graph: Any
    tokens: Any
    index: Any
    shifts: Any
    logits: Any

    def replay(self, tokens: Any, index: Any, shifts: Any) -> Any:
        self.tokens.copy_(tokens)
        self.index.copy_(index)
        self.shifts.copy_(shifts)
        self.graph.replay()
        return self.logits


class RecordedPasses:
    """The passes of one model over one cache, by their number of rows and width."""

    def __init__(self, text: FlatText, head: Any) -> None:
        self._text, self._head = text, head
        self._recordings: dict[tuple[int, int], _Recording] = {}
        self._memory: tuple[int, int, int] | None = None
        self.fresh = False
        """Whether the last pass was recorded first, so that its seconds say nothing of the next one's."""

    def run(self, cache: KeyValueCache, tokens: Any, index: Any, shifts: Any) -> Any:
        """Logits [rows, width, vocabulary] of `tokens` [rows, width] at positions `index` [rows, width] of the cache.

        `shifts` [rows] is what each row's pictures shift its rotary positions by. The logits are overwritten by the
        next pass of the same shape. Raises CannotRecord where a pass cannot be recorded; what fails in a pass that runs
        by itself, memory above all, is raised as it is.
        """
        memory = (cache.keys[0].data_ptr(), cache.rows, cache.capacity)
        if memory != self._memory:
            self._recordings.clear()
            self._memory = memory
        shape = (tokens.shape[0], tokens.shape[1])
        self.fresh = shape not in self._recordings
        if self.fresh:
            self._recordings[shape] = self._record(cache, tokens, index, shifts)
        return self._recordings[shape].replay(tokens, index, shifts)

    def forget(self) -> None:
        """Give back the recordings and with them their hold on the cache."""
        self._recordings.clear()
        self._memory = None

    def _record(self, cache: KeyValueCache, tokens: Any, index: Any, shifts: Any) -> _Recording:
        import torch

        inputs = (torch.zeros_like(tokens), index.clone(), torch.zeros_like(shifts))
        # Kernels are chosen and workspaces made before the recording, on a stream of their own.
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.logits(cache, *inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        logits = _captured(graph, lambda: self.logits(cache, *inputs))
        recording = _Recording(graph, *inputs, logits)
        expected = self.logits(cache, tokens, index, shifts).float()
        difference = (recording.replay(tokens, index, shifts).float() - expected).abs().max()
        if not difference <= TOLERANCE * expected.abs().max():
            raise CannotRecord("the recorded pass gave other logits than the pass itself")
        return recording

    def logits(self, cache: KeyValueCache, tokens: Any, index: Any, shifts: Any) -> Any:
        """What is recorded: the whole capacity takes part, so that the shape stays the same while the reply grows."""
        import torch

        mask = (torch.arange(cache.capacity, device=index.device) <= index[..., None])[:, None]
        row = torch.arange(cache.rows, device=index.device)[:, None]
        place = Place(index, row, cache.capacity, None, mask)
        return self._head(self._text(self._text.embed(tokens), index + shifts[:, None], cache, place))


def _captured(graph: Any, run: Callable[[], Any]) -> Any:
    """What `run` gives while it is recorded. CannotRecord for what a recording forbids, not for memory that ran out."""
    import torch

    try:
        with torch.cuda.graph(graph):
            return run()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CannotRecord(str(error)) from error
