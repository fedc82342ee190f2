"""Seconds per image at batch 1 to 16, critique mode: what judging together saves."""

from __future__ import annotations

import asyncio

from benchmarks.subjects import cases, engine, scorer
from benchmarks.timing import interleaved, table


def run(count: int = 16, rounds: int = 3) -> str:
    sample = cases(count)
    backends = {size: engine(batch_size=size) for size in (1, 2, 4, 8, 16)}
    scorers = {size: scorer(backend) for size, backend in backends.items()}
    timed = interleaved(
        {str(size): lambda size=size: asyncio.run(scorers[size].score_many(sample)) for size in backends}, rounds
    )
    for backend in backends.values():
        backend.unload()
    base = timed[0].median
    return table(
        ["batch", "s per image (median)", "best", "ratio to batch 1"],
        [[t.name, t.median / count, min(t.seconds) / count, t.median / base] for t in timed],
    )


if __name__ == "__main__":
    print(run())
