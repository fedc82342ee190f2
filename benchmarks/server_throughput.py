"""Critiques per second at 1, 4 and 16 questions at once: the local engine beside real servers with the same weights.

    python -m benchmarks.server_throughput --llama-cpp llama --vllm vllm     # environments: benchmarks/real_servers.py

All in one run, interleaved, every round with pictures of its own; guided, with ten alternatives a token. A server's
processes and the client share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.real_servers import RealServer, interpreter, llama_cpp, vllm
from benchmarks.timing import table

if TYPE_CHECKING:
    from rationalrewards_core.backends.base import Backend
    from rationalrewards_core.judged import Case

CONCURRENCIES = (1, 4, 16)
MAX_TOKENS = 400


@dataclass
class ServerContender:
    """A way to a critique and its rates, images a second, by concurrency."""

    name: str
    backend: Backend
    rates: dict[int, list[float]] = field(default_factory=dict)
    unscored: int = 0

    async def judge(self, cases: Sequence[Case], concurrency: int) -> None:
        scorer = _scorer(self.backend)
        gate = asyncio.Semaphore(concurrency)

        async def one(case: Case) -> bool:
            async with gate:
                return not (await scorer.score_many([case])).reasons

        started = time.perf_counter()
        outcomes = await asyncio.gather(*(one(case) for case in cases))
        self.rates.setdefault(concurrency, []).append(len(cases) / (time.perf_counter() - started))
        self.unscored += outcomes.count(False)


def run(environments: dict[str, str], count: int = 32, rounds: int = 2) -> str:
    """A Markdown table; servers whose environment is not there are named below it."""
    import torch

    from benchmarks.subjects import engine

    torch.set_num_threads(1)
    missing = []
    with contextlib.ExitStack() as stack:
        contenders = [ServerContender("in this process, fp32, 16 together", engine(batch_size=16, precision="fp32"))]
        starts: dict[str, tuple[Any, tuple[str, ...]]] = {
            "llama.cpp": (llama_cpp, ("xllamacpp", "gguf")),
            "vLLM": (vllm, ("vllm",)),
        }
        for name, (start, packages) in starts.items():
            python = interpreter(environments.get(name, ""), *packages)
            if python is None:
                missing.append(name)
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            contenders.append(ServerContender(name, _client(name, stack.enter_context(start(python, folder)))))
        asyncio.run(_race(contenders, count, rounds))
    return _table(contenders) + (f"\nNot found, so not measured: {', '.join(missing)}." if missing else "")


async def _race(contenders: Sequence[ServerContender], count: int, rounds: int) -> None:
    from benchmarks.subjects import cases

    for contender in contenders:
        await _scorer(contender.backend).score_many(cases(16, seed=100))
    for number in range(rounds):
        for concurrency in CONCURRENCIES:
            sample = cases(count, seed=2000 + 100 * number + concurrency)
            for contender in contenders:
                await contender.judge(sample, concurrency)
    for contender in contenders:
        await contender.backend.close()


def _scorer(backend: Backend) -> Any:
    from rationalrewards_core.engines import EngineName, make_rubrics
    from rationalrewards_core.memo import Memo
    from rationalrewards_core.scorer import Scorer
    from rationalrewards_core.scorer_settings import ScorerSettings

    settings = ScorerSettings(max_tokens=MAX_TOKENS, ask_again=0)
    return Scorer(backend, make_rubrics(EngineName("miniature")), settings, Memo(limit=0))


def _client(name: str, server: RealServer) -> Backend:
    from rationalrewards_core.backends.openai_chat import OpenAIChat
    from rationalrewards_core.miniature import scorer_folder
    from rationalrewards_core.servers import ServerConfig

    folder = str(scorer_folder())
    config = ServerConfig(name=name, url=server.url, concurrency=16, processor=folder, remember=False)
    return OpenAIChat(config)


def _table(contenders: Sequence[ServerContender]) -> str:
    base = contenders[0]
    rows = [
        [
            contender.name,
            concurrency,
            statistics.median(contender.rates[concurrency]),
            min(contender.rates[concurrency]),
            statistics.median(contender.rates[concurrency]) / statistics.median(base.rates[concurrency]),
            contender.unscored,
        ]
        for concurrency in CONCURRENCIES
        for contender in contenders
    ]
    return table(["judge", "at once", "critiques per second (median)", "least", "ratio to ours", "unscored"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", default=os.environ.get("LLAMA_CPP_ENVIRONMENT", ""))
    parser.add_argument("--vllm", default=os.environ.get("VLLM_ENVIRONMENT", ""))
    parser.add_argument("--count", type=int, default=32, help="pictures a round and concurrency")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(run({"llama.cpp": arguments.llama_cpp, "vLLM": arguments.vllm}, arguments.count, arguments.rounds))


if __name__ == "__main__":
    main()
