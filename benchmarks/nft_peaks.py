"""Peak memory of a step and of an epoch, each side in a process of its own (Linux).

    python -m benchmarks.nft_peaks ours|published step|epoch

What is measured is how far the process's resident memory rose above what it held when everything was loaded, and before
the first pass: activations, gradients, optimiser, pictures. One number for each process, so nothing blurs another.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def peak(side: str, what: str) -> float:
    """MiB, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.nft_peaks", side, what]
    process = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(process.stdout.split()[-1])


def risen(work: Callable[[], object]) -> float:
    """MiB by which this process's peak during `work` lies above what it held before."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is held now
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> float:
    """Kibibytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def measured(side: str, what: str) -> float:
    if what == "step":
        from benchmarks.nft_steps import Steps, put

        steps = Steps()
        put(steps.policy, "apart")
        return risen(steps.ours if side == "ours" else steps.published)
    from benchmarks.nft_epochs import LoopTimes, epoch_config, trainer

    turning = LoopTimes(trainer(epoch_config("ramp_to_half")))
    try:
        with tempfile.TemporaryDirectory() as folder:
            return risen(lambda: turning.turn(Path(folder) if side == "ours" else None))
    finally:
        turning.trainer.close()


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(measured(*sys.argv[1:]))
