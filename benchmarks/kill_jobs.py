"""The long jobs that are killed: the commands as a user types them, on the miniature and data of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rationalrewards_core.miniature.flaws import sample_generation
from tests.training.sft.exports import labelled_pairs, write_export
from training.data.labelled_pairs import write_pairs
from training.data.store import ImageStore

SFT = (
    "batch=4", "micro_batch=2", "max_steps=12", "evaluate_every=4", "save_every=2", "dev_pairs=4", "patience=0",
    "lora_rank=4", "lora_alpha=8", "lora_dropout=0.1",
)  # fmt: skip
NFT = (
    "model.precision=fp32", "rollout.prompts=2", "rollout.group=4", "rollout.steps=3", "rollout.batch=8",
    "rewards.judge=miniature", "rewards.precision=fp32", "rewards.held_out_judge=oracle", "times.count=1",
    "policy.rank=4", "policy.alpha=8", "optimiser.micro_batch=8", "run.epochs=4", "run.save_every=1",
    "run.audit_every=2", "run.evaluate_every=2", "run.evaluate_prompts=4",
)  # fmt: skip
PICTURES = 24


@dataclass(frozen=True, kw_only=True)
class LongJob:
    """One command, which goes on where it was when it is typed again."""

    name: str
    prepare: Callable[[Path], object]
    """Writes what the job reads into a folder."""
    command: Callable[[Path, Path], list[str]]
    """(folder of what it reads, folder of the run) -> module and arguments."""
    unordered: tuple[str, ...] = ()
    """Files whose lines come in any order."""
    shows: bool = False
    """Whether what it prints is what it makes."""


def _sets(settings: tuple[str, ...]) -> Iterator[str]:
    for setting in settings:
        yield from ("--set", setting)


def _export(folder: Path) -> None:
    export = write_export(folder / "export", train=18, dev_pairs=1)
    store = ImageStore(export)
    write_pairs([*labelled_pairs(store, 16, "train"), *labelled_pairs(store, 24, "dev")], export)


def _sft(command: str) -> Callable[[Path, Path], list[str]]:
    def words(inputs: Path, run: Path) -> list[str]:
        places = ["--export", str(inputs / "export"), "--run", str(run)]
        return ["training.sft", command, "--preset", "miniature", *places, "--threads", "1", *_sets(SFT)]

    return words


def _nft(inputs: Path, run: Path) -> list[str]:
    return ["training.nft", "--preset", "miniature_cpu", "--run", str(run), "--threads", "1", *_sets(NFT)]


def _evaluate(mode: str) -> Callable[[Path, Path], list[str]]:
    def words(inputs: Path, run: Path) -> list[str]:
        places = [str(inputs / "export"), "--split", "dev", "--out", str(run)]
        judge = ["--judge", "miniature", "--precision", "fp32", "--device", "cpu", "--batch-size", "2"]
        return ["training.evaluate", "judge", *places, *judge, "--mode", mode]

    return words


def _refine(inputs: Path, run: Path) -> list[str]:
    engine = ["--precision", "fp32", "--device", "cpu"]
    loop = ["--max-iterations", "6", "--patience", "6", "--threshold", "1.0", "--seed", "5"]
    request = 'a large red square left of a small blue circle with the word "TO"'
    return ["rationalrewards_core", "refine", "-p", request, "--out", str(run), "--resume", *loop, *engine]


def _pictures(folder: Path) -> None:
    rng = np.random.default_rng(3)
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        Image.fromarray(sample_generation(rng).picture).save(folder / "pictures" / f"{number:02d}.png")


def _score(inputs: Path, run: Path) -> list[str]:
    engine = ["--precision", "fp32", "--device", "cpu", "--batch", "2", "--json"]
    return ["rationalrewards_core", "score", str(inputs / "pictures"), "-p", "a red circle",
            "--memo", str(run / "memo.jsonl"), *engine]  # fmt: skip


JOBS = {
    job.name: job
    for job in (
        LongJob(name="sft", prepare=_export, command=_sft("train")),
        LongJob(name="sft-scalar", prepare=_export, command=_sft("scalar")),
        LongJob(name="nft", prepare=lambda folder: None, command=_nft),
        LongJob(name="evaluate", prepare=_export, command=_evaluate("pointwise")),
        LongJob(name="refine", prepare=lambda folder: None, command=_refine),
        LongJob(name="score", prepare=_pictures, command=_score, unordered=("memo.jsonl",), shows=True),
    )
}
