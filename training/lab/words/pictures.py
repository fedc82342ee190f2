"""Pairs of pictures that the shipped generator drew of one request, labelled by the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.images import png_bytes
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ...data.labelled_pairs import PAIRS_FILE, LabelledPair, PairFolder, write_pairs
from ...data.pairs import PreferencePair
from ...data.store import ImageStore
from ...rewards.rendered_preferences import LEAST_GAP
from ..nft_proof.rivals import tuned_generator
from ..nft_recipes.requests import FIRST_IMAGE, HELD_OUT_SEED, development_requests, held_out_requests
from ..nft_recipes.use import drawn

EACH: Final = 4
"""Pictures of a request, each of which is paired with each other."""
DEVELOPMENT, HELD_OUT = "dev", "test"


def generated_pairs(folder: Path, development: int, held_out: int) -> PairFolder:
    """Drawn as the generator is shipped, guidance 3; made once. Pairs that the oracle holds for equal are left out."""
    if not (folder / PAIRS_FILE).is_file():
        generator, store = tuned_generator(None), ImageStore(folder)
        parts = (
            (DEVELOPMENT, development_requests(development), FIRST_IMAGE),
            (HELD_OUT, held_out_requests(held_out), HELD_OUT_SEED),
        )
        pairs = [
            LabelledPair(pair, split)
            for split, requests, seed in parts
            for pair in _pairs(generator, store, requests, seed)
        ]
        write_pairs(pairs, folder)
    return PairFolder(folder)


def _pairs(
    generator: MiniatureGenerator, store: ImageStore, requests: Sequence[str], seed: int
) -> Iterator[PreferencePair]:
    for text, pictures, truth in zip(requests, *drawn(generator, requests, seed, EACH), strict=True):
        images = [store.add(png_bytes(picture)) for picture in pictures]
        for a, b in combinations(range(EACH), 2):
            gap = float(truth[a] - truth[b])
            if images[a] != images[b] and abs(gap) >= LEAST_GAP:
                yield PreferencePair(
                    request=text,
                    first=images[a],
                    second=images[b],
                    preference=Verdict.A if gap > 0 else Verdict.B,
                    origin="miniature",
                    strength=abs(gap),
                )
