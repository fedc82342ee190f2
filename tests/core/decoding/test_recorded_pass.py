"""What is recorded as a graph computes what the pass itself computes: the whole capacity, masked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.decoding import recorded_pass
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.flat_text import FlatText
from rationalrewards_core.backends.decoding.kv_cache import KeyValueCache, place_of
from rationalrewards_core.backends.decoding.recorded_pass import CannotRecord, RecordedPasses, _captured
from tests.core.decoding.random_checkpoint import VOCABULARY, asked, random_checkpoint

SHIFTS = torch.tensor([0, -7, -3])


class ThreeRows:
    """A model with a cache in which three rows of different length stand."""

    def __init__(self) -> None:
        model = random_checkpoint(0).model
        self.text, self.head = FlatText(model.model.language_model), model.lm_head
        self.cache = KeyValueCache(self.text.depth, 3)
        self.starts = [20, 9, 14]
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(10, VOCABULARY, (3, 16), generator=generator)
        prompt = torch.randint(10, VOCABULARY, (3, 40), generator=generator)
        self.plain(prompt, [0, 0, 0])

    def plain(self, tokens: Any, starts: list[int]) -> Any:
        place = place_of(starts, tokens.shape[1], "cpu")
        self.cache.reserve(max(starts) + tokens.shape[1])
        positions = (place.index + SHIFTS[:, None]).expand(3, -1, -1)
        with torch.inference_mode():
            return self.head(self.text(self.text.embed(tokens), positions, self.cache, place))


@pytest.mark.parametrize("width", [1, 2, 8, 16])
def test_the_whole_capacity_takes_part_and_changes_nothing(width: int) -> None:
    stage = ThreeRows()
    tokens = stage.tokens[:, :width]
    expected = stage.plain(tokens, stage.starts)
    index = place_of(stage.starts, width, "cpu").index
    with torch.inference_mode():
        got = RecordedPasses(stage.text, stage.head).logits(stage.cache, tokens, index, SHIFTS)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


class Recordings:
    """CUDA's part, left out: which shapes were recorded."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def record(self, cache: KeyValueCache, tokens: Any, index: Any, shifts: Any) -> Any:
        self.shapes.append(tuple(tokens.shape))
        return recorded_pass._Recording(self, tokens.clone(), index.clone(), shifts.clone(), None)

    def replay(self) -> None:
        pass


def test_a_recording_is_used_again_until_the_cache_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ThreeRows()
    recordings = Recordings()
    monkeypatch.setattr(RecordedPasses, "_record", lambda self, *inputs: recordings.record(*inputs))
    passes = RecordedPasses(stage.text, stage.head)

    def run(width: int) -> None:
        passes.run(stage.cache, stage.tokens[:, :width], place_of(stage.starts, width, "cpu").index, SHIFTS)

    for width in (1, 4, 1, 4):
        run(width)
    assert recordings.shapes == [(3, 1), (3, 4)]
    stage.cache.reserve(stage.cache.capacity + 1)
    run(4)
    assert recordings.shapes[2:] == [(3, 4)], "what was recorded over the old memory is gone"
    passes.forget()
    run(4)
    assert len(recordings.shapes) == 4


@contextlib.contextmanager
def no_graph(graph: object) -> Iterator[None]:
    yield


def failing(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_only_what_a_recording_forbids_ends_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass for which memory runs out is the batch's failure, which is tried again in halves, not the recording's."""
    monkeypatch.setattr(torch.cuda, "graph", no_graph)
    with pytest.raises(CannotRecord, match="not permitted when stream is capturing"):
        _captured(None, failing(RuntimeError("operation not permitted when stream is capturing")))
    with pytest.raises(torch.OutOfMemoryError):
        _captured(None, failing(torch.OutOfMemoryError("CUDA out of memory")))


@pytest.mark.parametrize(
    ("error", "recorded"),
    [(CannotRecord("no"), False), (torch.OutOfMemoryError("full"), True), (RuntimeError("bug"), True)],
)
def test_a_decoder_gives_recording_up_only_where_it_cannot_be_done(error: Exception, recorded: bool) -> None:
    class Failing:
        fresh = False

        def run(self, *inputs: object) -> None:
            raise error

    decoder = Decoder(random_checkpoint(0))
    decoder._recorded = Failing()  # type: ignore[assignment]
    row = decoder.row(asked("Say something."), Sampling(max_tokens=4))
    with contextlib.nullcontext() if not recorded else pytest.raises(type(error)):
        decoder.run([row])
    assert (decoder._recorded is not None) == recorded
