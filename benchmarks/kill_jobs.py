"""The long jobs that are killed: the commands as a user types them, on the miniature and data of seconds."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rationalrewards_core.miniature.flaws import sample_generation
from tests.training.evaluate.suites import unigenbench
from tests.training.sft.exports import labelled_pairs, write_export
from training.data.labelled_pairs import write_pairs
from training.data.store import ImageStore
from training.personal.example_picks import write_picks

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
WORDS = (
    "--ways", "wordless", "scores-taught", "head", "--development", "2", "--held-out", "2", "--steps", "2",
    "--pairs", "16", "--drawn", "0",
)  # fmt: skip
BUDGETS = ("--images", "2", "--development", "16", "--held-out", "8")
PERSONAL = ("max_steps=6", "save_every=2", "evaluate_every=3", "dev_pairs=4", "lora_rank=4", "lora_alpha=8")
PICTURES = 24


@dataclass(frozen=True, kw_only=True)
class LongJob:
    """Commands, one after the other, each of which goes on where it was when it is typed again."""

    name: str
    prepare: Callable[[Path], object]
    """Writes what the job reads into a folder."""
    commands: Callable[[Path, Path], list[list[str]]]
    """(folder of what it reads, folder of the run) -> module and arguments of each."""
    beside: Callable[[Path], AbstractContextManager[object]] = lambda _: nullcontext()
    """What runs meanwhile, such as a server; it may write into the folder of what the job reads."""
    unordered: tuple[str, ...] = ()
    """Files whose lines come in any order."""
    apart: tuple[str, ...] = ()
    """Files that tell of the starts, and so cannot be the same."""
    shows: bool = False
    """Whether what it prints is what it makes."""


def _sets(settings: tuple[str, ...]) -> Iterator[str]:
    for setting in settings:
        yield from ("--set", setting)


def _nothing(_: Path) -> None:
    """It reads nothing."""


def _export(folder: Path) -> None:
    export = write_export(folder / "export", train=18, dev_pairs=1)
    store = ImageStore(export)
    write_pairs([*labelled_pairs(store, 16, "train"), *labelled_pairs(store, 24, "dev")], export)


def _sft(command: str) -> Callable[[Path, Path], list[list[str]]]:
    def words(inputs: Path, run: Path) -> list[list[str]]:
        places = ["--export", str(inputs / "export"), "--run", str(run)]
        return [["training.sft", command, "--preset", "miniature", *places, "--threads", "1", *_sets(SFT)]]

    return words


def _nft(inputs: Path, run: Path) -> list[list[str]]:
    return [["training.nft", "--preset", "miniature_cpu", "--run", str(run), "--threads", "1", *_sets(NFT)]]


JUDGE = ("--judge", "miniature", "--precision", "fp32", "--device", "cpu", "--batch-size", "2")


def _evaluate(inputs: Path, run: Path) -> list[list[str]]:
    places = [str(inputs / "export"), "--split", "dev", "--out", str(run)]
    return [["training.evaluate", "judge", *places, *JUDGE, "--mode", "pointwise"]]


def _generation(inputs: Path, run: Path) -> list[list[str]]:
    places = ["--benchmark", str(inputs), "--outputs", str(inputs / "made"), "--out", str(run)]
    return [["training.evaluate", "generation", "unigenbench", *places, "--ask", "rubric", *JUDGE]]


def _parrot(inputs: Path, run: Path) -> list[list[str]]:
    own = ["--run", str(run)]
    asks = [*own, "--teacher", "teacher", "--config", str(inputs / "servers.toml")]
    stages = [
        ["import", "miniature", *own, "--count", "8", "--seed", "3"],
        ["rationalize", *asks],
        ["check", *asks],
        ["project", *asks],
        ["export", *own, "--out", str(run / "export"), "--dev", "0.3"],
        ["report", *own, "--samples", "2"],
    ]
    return [["training.parrot", *stage] for stage in stages]


@contextmanager
def _teacher(inputs: Path) -> Iterator[None]:
    """The synthetic teacher, so slow that a stage is at work when it is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    (inputs / "servers.toml").write_text(f'[servers.teacher]\nurl = "{url}"\nconcurrency = 2\n')
    words = ["training.lab.teacher", "--port", str(port), "--sound", "--truncated", "0.1", "--latency", "0.3"]
    server = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait_for(f"{url}/models")
        yield
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"nothing answers at {url}")


def _refine(inputs: Path, run: Path) -> list[list[str]]:
    engine = ["--precision", "fp32", "--device", "cpu"]
    loop = ["--max-iterations", "6", "--patience", "6", "--threshold", "1.0", "--seed", "5"]
    request = 'a large red square left of a small blue circle with the word "TO"'
    return [["rationalrewards_core", "refine", "-p", request, "--out", str(run), "--resume", *loop, *engine]]


def _pictures(folder: Path) -> None:
    rng = np.random.default_rng(3)
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        Image.fromarray(sample_generation(rng).picture).save(folder / "pictures" / f"{number:02d}.png")


def _score(inputs: Path, run: Path) -> list[list[str]]:
    engine = ["--precision", "fp32", "--device", "cpu", "--batch", "2", "--json"]
    return [["rationalrewards_core", "score", str(inputs / "pictures"), "-p", "a red circle",
             "--memo", str(run / "memo.jsonl"), *engine]]  # fmt: skip


def _picks(folder: Path) -> None:
    write_picks(folder / "picks", 30, 4)


def _judge(inputs: Path, run: Path) -> list[list[str]]:
    own = ["--picks", str(inputs / "picks"), "--base", "miniature", "--samples", "16", "--device", "cpu"]
    return [["rationalrewards_core", "train", "judge", *own, "--run", str(run), "--yes", *_sets(PERSONAL)]]


def _comparison(name: str, options: tuple[str, ...]) -> Callable[[Path, Path], list[list[str]]]:
    return lambda _, run: [[f"training.lab.{name}", "--out", str(run), *options]]


FIGURES = ("summary.json", "report.html", "curves.png")
PRICED = ("prices.json", *FIGURES)
"""Seconds were measured for these."""
EXPECTED = ("miniature_fp32_run_adapter_wordless-expected.jsonl", *FIGURES)
"""Expected scores, which round by what else was in the judge's batch, and what is made of them."""
JOBS = {
    job.name: job
    for job in (
        LongJob(name="sft", prepare=_export, commands=_sft("train")),
        LongJob(name="sft-scalar", prepare=_export, commands=_sft("scalar")),
        LongJob(name="judge", prepare=_picks, commands=_judge, apart=("log.jsonl",)),
        LongJob(name="nft", prepare=_nothing, commands=_nft),
        LongJob(name="evaluate", prepare=_export, commands=_evaluate),
        LongJob(name="generation", prepare=unigenbench, commands=_generation),
        LongJob(name="parrot", prepare=_nothing, commands=_parrot, beside=_teacher, apart=("log.jsonl",)),
        LongJob(name="refine", prepare=_nothing, commands=_refine),
        LongJob(name="words", prepare=_nothing, commands=_comparison("words", WORDS), apart=EXPECTED),
        LongJob(name="budgets", prepare=_nothing, commands=_comparison("budgets", BUDGETS), apart=PRICED),
        LongJob(name="score", prepare=_pictures, commands=_score, unordered=("memo.jsonl",), shows=True),
    )
}
