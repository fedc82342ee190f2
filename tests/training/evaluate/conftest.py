"""What tests of the evaluation share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rationalrewards_core.comparison import Verdict
from tests.training.evaluate.judging import BRIGHT, DARK
from tests.training.sft.exports import png
from training.data.labelled_pairs import LabelledPair, PairFolder, write_pairs
from training.data.pairs import PreferencePair
from training.data.store import ImageStore


@pytest.fixture
def folder(tmp_path: Path) -> PairFolder:
    """Six pairs of a bright and a dark picture; people prefer the bright one, which is A in every other pair."""
    store = ImageStore(tmp_path)
    bright, dark = (store.add(png(np.full((8, 8, 3), shade, np.uint8))) for shade in (BRIGHT, DARK))
    pairs = []
    for number in range(6):
        first, second = (bright, dark) if number % 2 == 0 else (dark, bright)
        better = Verdict.A if number % 2 == 0 else Verdict.B
        pair = PreferencePair(request=f"request {number}", first=first, second=second, preference=better, origin="t")
        pairs.append(LabelledPair(pair, "test"))
    write_pairs(pairs, tmp_path)
    return PairFolder(tmp_path)
