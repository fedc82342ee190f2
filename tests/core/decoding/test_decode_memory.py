"""A batch of critiques takes no more memory than plain `generate()` takes for it."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")

from benchmarks.decode_memory import most_alive, peak_of


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_eight_critiques_take_no_more_memory_than_plain_ones(precision: str) -> None:
    assert peak_of("ours", precision) <= peak_of("plain", precision)


def test_tensors_count_while_they_are_alive() -> None:
    import torch

    def work() -> None:
        first = torch.zeros(1000, dtype=torch.float32)
        first = first[:10].clone()
        second = torch.zeros(500, dtype=torch.float32)
        del first, second

    assert 4000 <= most_alive(work) <= 4200
