"""Keys and values: growth, ragged writing, rows that leave, and who may attend to what."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from rationalrewards_core.backends.decoding.kv_cache import ALIGNED, BLOCK, KeyValueCache, place_of


def filled(cache: KeyValueCache, starts: list[int], width: int, seed: int = 0) -> tuple[object, object]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = (torch.randn(cache.rows, width, 2, 3, generator=generator) for _ in range(2))
    cache.reserve(max(starts) + width)
    for layer in range(len(cache.keys)):
        cache.update(layer, keys.flatten(0, 1), values.flatten(0, 1), place_of(starts, width, "cpu"))
    return keys, values


@pytest.mark.parametrize("starts", [[0, 0], [3, 3], [2, 5]])
def test_rows_are_written_at_their_own_place(starts: list[int]) -> None:
    cache = KeyValueCache(2, 2)
    filled(cache, [0, 0], 9, seed=1)
    before = cache.keys[1].clone()
    keys, values = filled(cache, starts, 4)
    for row, start in enumerate(starts):
        assert torch.equal(cache.keys[1][row, start : start + 4], keys[row])
        assert torch.equal(cache.values[1][row, start : start + 4], values[row])
        assert torch.equal(cache.keys[1][row, :start], before[row, :start])


def test_room_grows_by_blocks_and_keeps_what_is_there() -> None:
    cache = KeyValueCache(1, 1)
    keys, values = filled(cache, [0], BLOCK)
    assert cache.capacity == BLOCK
    cache.reserve(BLOCK)
    assert cache.capacity == BLOCK
    cache.reserve(BLOCK + 1)
    assert cache.capacity == 2 * BLOCK
    assert torch.equal(cache.keys[0][:, :BLOCK], keys)
    assert torch.equal(cache.values[0][:, :BLOCK], values)
    assert not cache.keys[0][:, BLOCK:].any()


def test_rows_leave_and_are_doubled() -> None:
    cache = KeyValueCache(2, 3)
    keys, _ = filled(cache, [0, 0, 0], 5)
    cache.keep([2, 0])
    assert cache.rows == 2
    assert torch.equal(cache.keys[0][:, :5], keys[[2, 0]])
    cache.keep([1, 0, 1])
    assert torch.equal(cache.keys[1][:, :5], keys[[0, 2, 0]])
    cache.reserve(BLOCK + 5)
    assert cache.keys[0].shape == (3, 2 * BLOCK, 2, 3)


@given(st.integers(1, 6).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(0, rows - 1)))))
def test_rows_that_are_dropped_leave_the_others_whole_and_the_memory_where_it_is(
    rows_and_ended: tuple[int, set[int]],
) -> None:
    rows, ended = rows_and_ended
    cache = KeyValueCache(2, rows)
    keys, values = filled(cache, [0] * rows, 5)
    memory = [store.data_ptr() for store in (*cache.keys, *cache.values)]
    order = cache.drop(ended)
    assert sorted(order) == sorted(set(range(rows)) - ended)
    assert cache.rows == len(order)
    for layer in range(2):
        assert torch.equal(cache.keys[layer][:, :5], keys[order])
        assert torch.equal(cache.values[layer][:, :5], values[order])
    if order:
        assert [store.data_ptr() for store in (*cache.keys, *cache.values)] == memory
        filled(cache, [BLOCK] * len(order), 2, seed=3)
        assert torch.equal(cache.keys[1][:, :5], keys[order])


def test_a_token_attends_to_what_stands_before_it_in_its_row() -> None:
    place = place_of([2, 0], 2, "cpu")
    assert place.used == ALIGNED
    assert place.start is None
    assert place.index.tolist() == [[2, 3], [0, 1]]
    assert place.mask[:, 0, :, :4].int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 1]], [[1, 0, 0, 0], [1, 1, 0, 0]]]
    assert not place.mask[..., 4:].any(), "what is looked at for the sake of alignment is attended to by none"
    single = place_of([7, 7], 1, "cpu")
    assert single.mask is None, "one token that may attend to all needs no mask"
    assert single.used == 8
    alike = place_of([1] * 8, 2, "cpu").mask
    assert alike[:, 0, :, :3].int().tolist() == [[[1, 1, 0], [1, 1, 1]]], "one mask for all rows that start alike"
    assert place_of([ALIGNED - 2, 0], 3, "cpu").used == 2 * ALIGNED
    assert place_of([7, 6], 1, "cpu").mask is not None
