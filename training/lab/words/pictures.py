"""Pairs of pictures that the shipped generator drew of one request, labelled by the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.images import png_bytes
from rationalrewards_core.miniature.demo import oracle_reward
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ...data.labelled_pairs import PAIRS_FILE, LabelledPair, PairFolder, write_pairs
from ...data.pairs import PreferencePair
from ...data.store import ImageStore
from ...rewards.rendered_preferences import LEAST_GAP
from ..nft_proof.rivals import tuned_generator
from ..nft_recipes.requests import FIRST_IMAGE, HELD_OUT_SEED, development_requests, held_out_requests

EACH: Final = 4
"""Pictures of a request, each of which is paired with each other."""
BATCH: Final = 32
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
    questions = [(text, seed + 1000 * i + k) for i, text in enumerate(requests) for k in range(EACH)]
    images: list[tuple[str, float]] = []
    for begin in range(0, len(questions), BATCH):
        part = questions[begin : begin + BATCH]
        pictures = generator.generate_many([text for text, _ in part], [number for _, number in part])
        images += [
            (store.add(png_bytes(picture)), oracle_reward(text, picture))
            for (text, _), picture in zip(part, pictures, strict=True)
        ]
    for i, text in enumerate(requests):
        for (first, a), (second, b) in combinations(images[i * EACH : (i + 1) * EACH], 2):
            if first != second and abs(a - b) >= LEAST_GAP:
                better = Verdict.A if a > b else Verdict.B
                yield PreferencePair(
                    request=text, first=first, second=second, preference=better, origin="miniature", strength=abs(a - b)
                )
