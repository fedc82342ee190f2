"""The flat layers compute what transformers' text model computes, pass by pass over the same cache."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.backends.decoding import flat_text
from rationalrewards_core.backends.decoding.flat_text import Deepstack, FlatText
from rationalrewards_core.backends.decoding.kv_cache import BLOCK, KeyValueCache, place_of
from tests.core.decoding.random_checkpoint import GROUPS, VOCABULARY, random_checkpoint

SEEDS = sorted(GROUPS)


def text_model(seed: int, dtype: Any = torch.float32) -> Any:
    """A copy, for FlatText makes the modules' weights views of its own."""
    return copy.deepcopy(random_checkpoint(seed).model.model.language_model).to(dtype)


def ids(rows: int, width: int, seed: int = 0) -> Any:
    return torch.randint(10, VOCABULARY, (rows, width), generator=torch.Generator().manual_seed(seed))


def rotary(rows: int, width: int) -> Any:
    """Positions that differ in time, height and width, as a picture's do."""
    steps = torch.arange(width)
    return torch.stack([steps, steps // 2, steps // 3])[:, None].expand(3, rows, -1).contiguous()


def of_transformers(model: Any, tokens: Any, positions: Any, deepstack: Deepstack | None = None) -> Any:
    """Hidden states of whole rows without padding."""
    with torch.inference_mode():
        return model(
            inputs_embeds=model.embed_tokens(tokens),
            position_ids=positions,
            visual_pos_masks=None if deepstack is None else deepstack.mask,
            deepstack_visual_embeds=None if deepstack is None else deepstack.features,
            use_cache=False,
        ).last_hidden_state


def flat(
    text: FlatText,
    tokens: Any,
    positions: Any,
    cache: KeyValueCache,
    starts: list[int],
    deepstack: Any = None,
    last: Any = None,
) -> Any:
    cache.reserve(max(starts) + tokens.shape[1])
    with torch.inference_mode():
        place = place_of(starts, tokens.shape[1], tokens.device)
        return text(text.embed(tokens), positions, cache, place, deepstack, last)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_prompt_with_deepstack_features(seed: int) -> None:
    model, tokens, positions = text_model(seed), ids(2, 30), rotary(2, 30)
    mask = torch.zeros(2, 30, dtype=torch.bool)
    mask[0, 4:9] = mask[1, 20:22] = True
    features = [torch.randn(7, 48, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    deepstack = Deepstack(mask, features)
    expected = of_transformers(model, tokens, positions, deepstack)
    text = FlatText(model)
    got = flat(text, tokens, positions, KeyValueCache(text.depth, 2), [0, 0], deepstack)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    plain = flat(text, tokens, positions, KeyValueCache(text.depth, 2), [0, 0])
    assert (plain - expected).abs().max() > 0.01, "the features make a difference"


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_prompt_the_last_tokens_alone_are_computed_to_the_end(seed: int) -> None:
    """Rows of unequal length, features up to the last layer: the same states there, the same keys and values everywhere."""
    model, tokens, positions = text_model(seed), ids(2, 30), rotary(2, 30)
    mask = torch.zeros(2, 30, dtype=torch.bool)
    mask[:, 4:9] = True
    features = [torch.randn(10, 48, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    text, deepstack, last = FlatText(model), Deepstack(mask, features), torch.tensor([29, 17])
    assert text.depth == len(features)
    whole, part = KeyValueCache(text.depth, 2), KeyValueCache(text.depth, 2)
    expected = flat(text, tokens, positions, whole, [0, 0], deepstack)
    got = flat(text, tokens, positions, part, [0, 0], deepstack, last)
    torch.testing.assert_close(got[:, 0], expected[torch.arange(2), last], atol=1e-6, rtol=1e-5)
    for layer in range(text.depth):
        assert torch.equal(part.keys[layer], whole.keys[layer])
        assert torch.equal(part.values[layer], whole.values[layer])


@pytest.mark.parametrize("seed", SEEDS)
def test_text_alone_needs_one_position_per_token(seed: int) -> None:
    """What the loop gives for a draft: the same number in time, height and width."""
    model, tokens = text_model(seed), ids(2, 12)
    positions = torch.stack([torch.arange(12) + 5, torch.arange(12) + 90])
    expected = of_transformers(model, tokens, positions.expand(3, -1, -1))
    text = FlatText(model)
    got = flat(text, tokens, positions, KeyValueCache(text.depth, 2), [0, 0])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_unequal_length_padded_on_the_right_and_continued_raggedly(seed: int) -> None:
    """Whatever stands in the padding, in a refused draft or in an earlier use of the cache is not seen."""
    model, lengths, grown = text_model(seed), [17, 5, 11], [6, 9, 1]
    tokens, positions = ids(3, 40), rotary(3, 40)
    expected = [
        of_transformers(model, tokens[row : row + 1, : a + b], positions[:, row : row + 1, : a + b])[0]
        for row, (a, b) in enumerate(zip(lengths, grown, strict=True))
    ]
    text = FlatText(model)
    cache = KeyValueCache(text.depth, 3)
    flat(text, ids(3, 40, seed=9), positions, cache, [0, 0, 0])
    padded = tokens[:, : max(lengths)].clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = 0
    first = flat(text, padded, positions[:, :, : max(lengths)], cache, [0, 0, 0])
    for row, length in enumerate(lengths):
        torch.testing.assert_close(first[row, :length], expected[row][:length], atol=1e-5, rtol=1e-5)
    index = torch.tensor(lengths)[:, None] + torch.arange(max(grown))
    drafts = tokens.gather(1, index)
    for row, count in enumerate(grown):
        drafts[row, count:] = 7
    places = positions.gather(2, index.expand(3, -1, -1))
    second = flat(text, drafts, places, cache, lengths)
    for row, count in enumerate(grown):
        torch.testing.assert_close(second[row, :count], expected[row][lengths[row] :], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("piece", [1, 7, 64, 119])
def test_feed_forward_in_pieces_computes_the_same(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, positions = ids(3, 40), rotary(3, 40)
    text = FlatText(text_model(1))
    whole = flat(text, tokens, positions, KeyValueCache(text.depth, 3), [0] * 3)
    monkeypatch.setattr(flat_text, "PIECE_ON_CPU", piece)
    got = flat(text, tokens, positions, KeyValueCache(text.depth, 3), [0] * 3)
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("widths", [[1] * 6, [4, 1, 1], [2, 3, 1]])
def test_a_row_grows_over_the_border_of_a_block(widths: list[int]) -> None:
    model, start = text_model(0), BLOCK - 3
    tokens, positions = ids(2, start + 6), rotary(2, start + 6)
    expected = of_transformers(model, tokens, positions)
    text = FlatText(model)
    cache = KeyValueCache(text.depth, 2)
    flat(text, tokens[:, :start], positions[:, :, :start], cache, [0, 0])
    assert cache.capacity == BLOCK
    for width in widths:
        got = flat(text, tokens[:, start : start + width], positions[:, :, start : start + width], cache, [start] * 2)
        torch.testing.assert_close(got, expected[:, start : start + width], atol=1e-5, rtol=1e-5)
        start += width
    assert cache.capacity == 2 * BLOCK


def test_bf16_differs_by_rounding_only() -> None:
    """As far from fp32 as transformers' own bf16 is."""
    exact, model = text_model(0), text_model(0, torch.bfloat16)
    tokens, positions = ids(2, 60), rotary(2, 60)
    truth = of_transformers(exact, tokens, positions)
    theirs = of_transformers(model, tokens, positions)
    text = FlatText(model)
    ours = flat(text, tokens, positions, KeyValueCache(text.depth, 2), [0, 0])
    assert ours.dtype is torch.bfloat16
    assert (ours - truth).norm() <= 1.1 * (theirs - truth).norm()


def test_weights_stand_in_memory_once_and_the_modules_still_work() -> None:
    model, tokens, positions = text_model(0), ids(1, 9), rotary(1, 9)
    expected = of_transformers(model, tokens, positions)
    FlatText(model)
    attention = model.layers[0].self_attn
    storage = {m.weight.untyped_storage().data_ptr() for m in (attention.q_proj, attention.k_proj, attention.v_proj)}
    assert len(storage) == 1
    # The weights are those they were; lying otherwise in memory, their products may round otherwise.
    torch.testing.assert_close(of_transformers(model, tokens, positions), expected, rtol=1e-5, atol=1e-5)


def test_adapted_projections_are_called_as_they_are() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, hidden: Any) -> Any:
            return 2 * super().forward(hidden)

    model, tokens, positions = text_model(0), ids(1, 9), rotary(1, 9)
    for layer in model.layers:
        for name in ("q_proj", "v_proj"):
            old = getattr(layer.self_attn, name)
            new = Doubled(old.in_features, old.out_features, bias=False)
            new.weight.data = old.weight.data
            setattr(layer.self_attn, name, new.requires_grad_(False))
    expected = of_transformers(model, tokens, positions)
    text = FlatText(model)
    got = flat(text, tokens, positions, KeyValueCache(text.depth, 1), [0])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_only_the_very_class_fits() -> None:
    model = text_model(0)
    assert FlatText.fits(model)
    model.__class__ = type("Qwen3VLTextModel", (type(model),), {})
    assert not FlatText.fits(model)
