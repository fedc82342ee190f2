"""How much of the proof is run, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import BaseConfig
from .lessons import LessonConfig


@dataclass(frozen=True, kw_only=True)
class ParrotProofOptions:
    """Everything that decides a figure. It is saved in the proof's folder."""

    base: BaseConfig = field(default_factory=BaseConfig)
    lessons: LessonConfig = field(default_factory=LessonConfig)
    sizes: tuple[int, ...] = (300, 900, 3000)
    """Preference pairs of the nested subsets; the largest is where the arms are compared."""
    test_pairs: int = 480
    """Held-out pairs with a winner, all of reserved requests."""
    test_seed: int = 977
    steps: int = 500
    """Optimiser steps of every student, whatever its arm and size; the most, with `patience`."""
    head_steps: int = 300
    """The same for every head; without patience they are best long before."""
    batch: int = 16
    """Examples per step: critiques for a student, pairs for a head, which so sees twice as many pictures."""
    rank: int = 32
    lrs: tuple[float, ...] = (3e-3, 6e-3)
    """Learning rates tried for the students at the middle size; the best on the development pairs serves all arms."""
    head_lrs: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """The same for the heads."""
    dev_pairs: int = 120
    measurements: int = 4
    """Times that a student or head is measured on the development pairs; the best of them is kept."""
    patience: int = 0
    """Measurements in a row without a better one after which a student or head counts as converged; 0 trains every step."""
    seed: int = 0

    @property
    def tuned_at(self) -> int:
        return self.sizes[len(self.sizes) // 2]


def smoke() -> ParrotProofOptions:
    """A minute of the same, which proves nothing but that everything runs."""
    return ParrotProofOptions(
        base=BaseConfig(steps=6, horizon=6, cooldown=0, batch=4, chunk=2, warmup=2, save_every=3),
        lessons=LessonConfig(pairs=48, dev=0.15),
        sizes=(8, 16, 32),
        test_pairs=6,
        steps=2,
        head_steps=2,
        batch=4,
        rank=4,
        lrs=(1e-3,),
        head_lrs=(1e-3,),
        dev_pairs=4,
        measurements=1,
    )
