"""The NFT trainer against a plain transcription of the published loop on the miniature, in one run.

python -m benchmarks.nft                a few minutes of one core; compiling takes half of it

Seconds of an optimiser step (`nft_steps`), seconds of an epoch (`nft_epochs`), peak memory of both (`nft_peaks`), and in
every row how far the two sides' results lie apart. Steps are counted in processor seconds of one thread: unlike the
clock they mean something on a machine that others use too.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.nft_epochs import WAIT, Compared, compared, epoch_config
from benchmarks.nft_peaks import peak
from benchmarks.nft_steps import State, Steps, measured, put
from benchmarks.timing import table

NAMES: dict[State, str] = {
    "first": "first step (all three equal)",
    "hard copy": "right after a hard copy",
    "apart": "all three different",
}
WHY = (
    "Where all three policies differ there is nothing to leave out: old and reference cost a pass each, the current one "
    "a pass forward and about as much backward, four units on both sides. What is left is to compute each faster: "
    "compiled blocks (model.compile), and in bf16 another attention kernel than the pipeline's."
)


def run(rounds: int = 3, epochs: int = 3) -> str:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return "\n\n".join((_steps(rounds), WHY, _epochs(epochs), _peaks()))
    finally:
        torch.set_num_threads(threads)


def _steps(rounds: int) -> str:
    rows = []
    for weight in (1e-2, 0.0):
        sides = Steps(kl_weight=weight)
        for state in NAMES:
            rows.append(_row(state, f"fp32, KL {'on' if weight else 'off'}", sides, sides, rounds))
    plain = Steps(precision="bf16")
    rows += [_row(state, "bf16, KL on", plain, plain, rounds) for state in NAMES]
    rows.append(_row("apart", "fp32, KL on, ours compiled", Steps(), Steps(compiled=True), rounds))
    heads = [
        f"{plain.pairs} pairs, policies",
        "",
        "published, CPU s",
        "ours, CPU s",
        "times faster",
        "gradients differ by",
    ]
    return table(heads, rows)


def _row(state: State, how: str, published: Steps, ours: Steps, rounds: int) -> list[object]:
    for side in (published, ours):
        put(side.policy, state)
    seconds = measured(published, ours, rounds)
    ratio = seconds.published / seconds.ours
    return [NAMES[state], how, seconds.published, seconds.ours, ratio, f"{seconds.difference:.1e}"]


def _epochs(epochs: int) -> str:
    rows = []
    for decay in ("on_policy", "ramp_to_half"):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_epoch_row(decay, compared(epoch_config(decay), Path(folder), epochs)))
    heads = [
        *("an epoch, fp32, KL on", "published, s", "ours, s", "times faster", "published, CPU s", "ours, CPU s"),
        *("rewards differ by", "weights differ by"),
    ]
    about = f"The judge takes {1000 * WAIT:.0f} ms of waiting for each picture; medians of {epochs} epochs."
    return f"{table(heads, rows)}\n\n{about}"


def _epoch_row(decay: str, times: Compared) -> list[object]:
    sides = (times.published, times.ours)
    clock = [statistics.median(side.clock) for side in sides]
    processor = [statistics.median(side.processor) for side in sides]
    apart = (f"{times.rewards:.1e}", f"{times.weights:.1e}")
    return [f"old policy `{decay}`", *clock, clock[0] / clock[1], *processor, *apart]


def _peaks() -> str:
    rows: list[Sequence[object]] = []
    for what, name in (("step", "step, all three different"), ("epoch", "first epoch")):
        published, ours = peak("published", what), peak("ours", what)
        rows.append([name, published, ours, ours / published])
    return table(["peak memory above the loaded model", "published, MiB", "ours, MiB", "ratio"], rows)


if __name__ == "__main__":
    print(run())
