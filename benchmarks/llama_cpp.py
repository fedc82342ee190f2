"""CPU seconds per critique beside llama.cpp's server, on the same weights in 32-bit floats and the same pictures.

    python -m venv llama && llama/bin/pip install xllamacpp gguf
    python -m benchmarks.llama_cpp --environment llama        # or LLAMA_CPP_ENVIRONMENT=llama

Three ways, interleaved, at one and at eight requests at once, every round with pictures of its own: our engine;
llama.cpp asked for the same (grammar and ten alternatives a token, by our client); llama.cpp asked for text alone. A
server's seconds are its process's own; the client's are told apart. One thread each.

llama.cpp's wheels know AVX2 at most; on a CPU with AVX-512, ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2 and
MKL_ENABLE_INSTRUCTIONS=AVX2 hold our engine to the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import table
from rationalrewards_core.miniature import scorer_folder

if TYPE_CHECKING:
    from rationalrewards_core.backends.base import Backend, Reply, Sampling
    from rationalrewards_core.judged import Case
    from rationalrewards_core.rubric import Rubric

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_TOKENS = 400
CONCURRENCIES = (1, 8)


class LlamaCpp:
    """A running server and the CPU seconds it has used."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._line()

    def seconds(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit("llama.cpp's server ended; run with --verbose to see what it says.")
        return line


@dataclass
class Contender:
    """A way to a critique, and what it took at each concurrency, a figure a round."""

    name: str
    backend: Backend
    sampling: Sampling
    server: LlamaCpp | None = None
    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    """CPU time per critique where the model runs."""
    client_milliseconds: dict[int, list[float]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)

    async def judge(self, cases: Sequence[Case], concurrency: int) -> None:
        here, there = time.process_time(), self.server.seconds() if self.server else 0.0
        replies = await _replies(self.backend, self.sampling, cases, concurrency)
        here = time.process_time() - here
        there = self.server.seconds() - there if self.server else here
        self.milliseconds.setdefault(concurrency, []).append(1000 * there / len(cases))
        self.client_milliseconds.setdefault(concurrency, []).append(1000 * here / len(cases) if self.server else 0.0)
        self.texts += [reply.text for reply in replies]
        self.prompt_tokens += [reply.prompt_tokens for reply in replies]

    def median(self, concurrency: int) -> float:
        return statistics.median(self.milliseconds[concurrency])

    def client_median(self, concurrency: int) -> float:
        return statistics.median(self.client_milliseconds[concurrency])


def run(python: Path, count: int = 30, rounds: int = 3, verbose: bool = False) -> str:
    """A Markdown table; `python` is the interpreter of the environment that holds xllamacpp and gguf."""
    import torch

    from benchmarks.subjects import engine
    from rationalrewards_core.backends.base import Sampling
    from rationalrewards_core.grammar import critique_grammar

    torch.set_num_threads(1)
    full = Sampling(max_tokens=MAX_TOKENS, grammar=critique_grammar(_rubric()), alternatives=10)
    bare = Sampling(max_tokens=MAX_TOKENS)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = _converted(python, folder)
        servers = [stack.enter_context(_running(python, files, verbose)) for _ in range(2)]
        local = engine(batch_size=max(CONCURRENCIES), precision="fp32")
        contenders = [
            Contender("ours", local, full),
            Contender("llama.cpp, the same request", _client(servers[0]), full, servers[0]),
            Contender("llama.cpp, text alone", _client(servers[1]), bare, servers[1]),
        ]
        asyncio.run(_race(contenders, count, rounds))
    return _table(contenders)


async def _race(contenders: Sequence[Contender], count: int, rounds: int) -> None:
    from benchmarks.subjects import cases

    warm = cases(8, seed=100)
    for contender in contenders:
        await _replies(contender.backend, contender.sampling, warm, 8)
    for number in range(rounds):
        for concurrency in CONCURRENCIES:
            sample = cases(count, seed=1000 + 100 * number + concurrency)
            for contender in contenders:
                await contender.judge(sample, concurrency)
    for contender in contenders:
        await contender.backend.close()


async def _replies(backend: Backend, sampling: Sampling, cases: Sequence[Case], concurrency: int) -> list[Reply]:
    from rationalrewards_core.messages import critique_messages

    gate, rubric = asyncio.Semaphore(concurrency), _rubric()

    async def one(case: Case) -> Reply:
        async with gate:
            return await backend.reply(critique_messages(case.request, case.candidate, rubric), sampling)

    return await asyncio.gather(*(one(case) for case in cases))


def _table(contenders: Sequence[Contender]) -> str:
    ours, rows = contenders[0], []
    for contender in contenders:
        same = [_share_equal(contender.texts, ours.texts), _share_equal(contender.prompt_tokens, ours.prompt_tokens)]
        for concurrency in CONCURRENCIES:
            took, client = contender.median(concurrency), contender.client_median(concurrency)
            ratios = [ours.median(concurrency) / took, ours.median(concurrency) / (took + client)]
            rows.append([contender.name, concurrency, took, client, *ratios, *same])
    heads = ["way", "at once", "CPU ms per critique", "client's ms", "ours over it", "client counted", "same text"]
    return table([*heads, "same prompt length"], rows)


def _share_equal(ones: Sequence[object], others: Sequence[object]) -> float:
    return sum(one == other for one, other in zip(ones, others, strict=True)) / len(ones)


def _rubric() -> Rubric:
    from rationalrewards_core.engines import EngineName, make_rubrics

    return make_rubrics(EngineName("miniature"))["generation"]


def _client(server: LlamaCpp) -> Backend:
    from rationalrewards_core.backends.openai_chat import OpenAIChat
    from rationalrewards_core.servers import ServerConfig

    return OpenAIChat(ServerConfig(name="llama.cpp", url=f"{server.url}/v1", structured="llama_cpp"))


def _converted(python: Path, folder: Path) -> list[str]:
    """The scorer as GGUF: the language model's and the tower's path."""
    command = [str(python), "-m", "training.lab.miniature.gguf_files", str(scorer_folder()), str(folder)]
    process = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)  # noqa: S603
    return process.stdout.splitlines()


@contextlib.contextmanager
def _running(python: Path, files: Sequence[str], verbose: bool) -> Iterator[LlamaCpp]:
    process = subprocess.Popen(  # noqa: S603
        [str(python), "-m", "benchmarks.llama_cpp_server", *files],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        text=True,
    )
    try:
        yield LlamaCpp(process)
    finally:
        process.terminate()
        process.wait()


def interpreter(environment: str) -> Path | None:
    """The environment's Python, if it is there and has what is needed."""
    for place in ("bin/python", "Scripts/python.exe"):
        python = Path(environment).expanduser().absolute() / place
        if environment and python.exists():
            command = [str(python), "-c", "import gguf, xllamacpp"]
            tried = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
            return python if tried.returncode == 0 else None
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default=os.environ.get("LLAMA_CPP_ENVIRONMENT", ""))
    parser.add_argument("--count", type=int, default=30, help="pictures a round and concurrency")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verbose", action="store_true", help="show what the servers say")
    arguments = parser.parse_args()
    python = interpreter(arguments.environment)
    if python is None:
        print(
            "llama.cpp was not found, so nothing was measured: python -m venv llama && llama/bin/pip install xllamacpp "
            "gguf, then --environment llama."
        )
        return
    print(run(python, arguments.count, arguments.rounds, arguments.verbose))


if __name__ == "__main__":
    main()
