"""Memory that eight critiques in one batch take besides the weights, plain `generate()` and ours, each in a new process.

    OMP_NUM_THREADS=1 python -m benchmarks.decode_memory [--precision bf16]

Counted are tensors that are alive at once, as torch's profiler sees them. A process's resident memory says less: it keeps
what libraries make at the first pass of every shape, and what was freed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

import torch

from benchmarks.subjects import cases, scorer
from benchmarks.timing import table
from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.messages import critique_messages
from rationalrewards_core.miniature import scorer_folder

WAYS = ("plain", "ours")
BATCH = 8


def measured(way: str, precision: str) -> float:
    """MiB, in a new process."""
    command = [sys.executable, "-m", "benchmarks.decode_memory", "--way", way, "--precision", precision]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    process = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet)  # noqa: S603
    return float(process.stdout.split()[-1])


def peak_of(way: str, precision: str) -> float:
    """MiB of tensors of a batch, after another one."""
    from benchmarks.decode import ours, plain

    checkpoint = load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision=precision, device="cpu"))  # type: ignore[arg-type]
    checkpoint.model.requires_grad_(False)
    asker = scorer(None)  # type: ignore[arg-type]
    sample = cases(2 * BATCH, seed=77)
    rubric = asker.rubric_for(sample[0].request)
    questions = [critique_messages(case.request, case.candidate, rubric) for case in sample]
    decoder, sampling = Decoder(checkpoint), asker._sampling(rubric, "critique")
    work: dict[str, Callable[[int], list[str]]] = {
        "plain": lambda start: plain(checkpoint, questions[start : start + BATCH]),
        "ours": lambda start: ours(decoder, questions[start : start + BATCH], sampling),
    }
    work[way](0)
    return most_alive(lambda: work[way](BATCH)) / 2**20


def most_alive(work: Callable[[], object]) -> int:
    """Bytes of tensors that were alive at once, of those that `work` made."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.way:
        print(peak_of(options.way, options.precision))
        return
    peaks = {way: measured(way, options.precision) for way in WAYS}
    rows = [[way, peak, peak / peaks["plain"]] for way, peak in peaks.items()]
    print(table([f"{options.precision}, batch {BATCH}", "MiB of tensors at once", "to plain"], rows))


if __name__ == "__main__":
    main()
