"""What a run needs on this machine, measured: a few critiques by the base, and two optimiser steps on them."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rationalrewards_core.critique import Critique, render_critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.images import png_bytes
from rationalrewards_core.jsonl import encoded, read_lines
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.messages import critique_messages
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.storage import replace_text

from ..parrot.chat import chat_rows
from ..parrot.run import ParrotRun
from ..run import METRICS
from ..settings import read_settings
from .job import JudgeJob

PICTURES = 4


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Seconds and memory."""

    critique_seconds: float
    """Of one critique, several at a time as a run asks for them."""
    pass_seconds: float
    """Of one forward and backward pass of `micro_batch` examples."""
    peak_gib: float
    """Most memory while two steps were trained: of the GPU, else of the process."""


def probe(job: JudgeJob, run: ParrotRun) -> Probe:
    """Measure. ConfigError if the base can judge none of the pictures: then nothing could be learned from it."""
    pictures = [
        Case(run.request(pair), run.store.open(name))
        for pair in islice(run.pairs(), PICTURES // 2)
        for name in (pair.first, pair.second)
    ]
    scorer = job.scorer()
    outcomes, seconds = asyncio.run(_critiques(scorer, pictures))
    critiques = [(case, o) for case, o in zip(pictures, outcomes, strict=True) if isinstance(o, Critique)]
    if not critiques:
        why = next(o.message for o in outcomes if not isinstance(o, Critique))
        raise ConfigError(f"{job.base} could judge none of {len(pictures)} pictures of yours: {why}")
    with tempfile.TemporaryDirectory(prefix="rationalrewards-probe-") as folder:
        pass_seconds, peak = _steps(job, scorer, critiques, Path(folder))
    return Probe(critique_seconds=seconds, pass_seconds=pass_seconds, peak_gib=peak)


async def _critiques(scorer: Scorer, pictures: Sequence[Case]) -> tuple[Sequence[Outcome], float]:
    """Outcomes, and seconds of one critique; the first, which loads the model, is not timed."""
    try:
        first = await scorer.score_many(pictures[:1])
        started = time.monotonic()
        rest = await scorer.score_many(pictures[1:])
        return (*first.outcomes, *rest.outcomes), (time.monotonic() - started) / max(1, len(pictures) - 1)
    finally:
        await scorer.close()


def _steps(
    job: JudgeJob, scorer: Scorer, critiques: Sequence[tuple[Case, Critique]], folder: Path
) -> tuple[float, float]:
    """Seconds of a pass, and the peak in GiB."""
    import torch

    from ..sft.trainer import SftTrainer

    config = job.sft(0)
    rows = [_row(scorer, case, critique, folder, number) for number, (case, critique) in enumerate(critiques)]
    batch = config.micro_batch
    (folder / "train.jsonl").write_bytes(b"".join(rows * -(-2 * batch // len(rows))))
    short = replace(config, export=str(folder), batch=batch, max_steps=2, evaluate_every=0, save_every=2, epochs=1.0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    SftTrainer(short, folder / "run").train()
    steps = read_lines(folder / "run" / METRICS, lambda row: float(row["seconds"]) if "loss" in row else None)
    first, second = (seconds for seconds in steps if seconds is not None)
    return max(0.01, second - first), peak_gib()


def _row(scorer: Scorer, case: Case, critique: Critique, folder: Path, number: int) -> bytes:
    rubric = scorer.rubric_for(case.request)
    names = []
    for place, picture in enumerate((*case.request.sources, case.candidate)):
        names.append(f"images/{number}-{place}.png")
        (folder / names[-1]).parent.mkdir(exist_ok=True)
        (folder / names[-1]).write_bytes(png_bytes(picture))
    messages = critique_messages(case.request, case.candidate, rubric)
    row = chat_rows(messages, render_critique(critique, rubric), names, "chat")
    return encoded({**row, "request_id": str(number), "split": "train", "provenance": {}})


def peak_gib() -> float:
    """Most memory that this process has had: on the GPU if there is one, else in all."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def saved_probe(job: JudgeJob, run: ParrotRun) -> Probe:
    """The probe of this run, made once."""
    file = job.run / "probe.json"
    if file.is_file():
        table = read_settings(file)
        try:
            return Probe(**{name: float(value) for name, value in table.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"{file} holds no measurement of this version; remove it, and it is made again."
            ) from error
    measured = probe(job, run)
    replace_text(file, json.dumps(measured.__dict__))
    return measured
