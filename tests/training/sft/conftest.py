"""What tests of fine-tuning share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.sft.exports import write_export


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("export"), train=18, dev_pairs=4)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, so that runs can be compared bit for bit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
