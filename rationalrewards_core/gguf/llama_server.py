"""llama.cpp's own server, from the package xllamacpp, as a program: it ends when it is told to.

    LLAMA_API_KEY=... python llama_server.py --model FILE --mmproj FILE --port N

Imports nothing of this project, so that it can be run by its path in whatever environment has the package.
"""

from __future__ import annotations

import argparse
import os
import threading
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the language model, a GGUF file")
    parser.add_argument("--mmproj", required=True, help="the picture tower, a GGUF file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=2, help="questions answered at once")
    parser.add_argument("--context", type=int, default=8192, help="tokens of one question, its reply included")
    parser.add_argument("--threads", type=int, default=spare_threads(), help="CPU threads")
    parser.add_argument("--cpu", action="store_true", help="leave the graphics card alone")
    arguments = parser.parse_args()
    server = start(arguments, os.environ.get("LLAMA_API_KEY", ""))
    print(server.listening_address, flush=True)  # noqa: T201 - it goes into the log
    threading.Event().wait()


def spare_threads() -> int:
    """All cores but one, or OMP_NUM_THREADS: llama.cpp's threads wait for each other by spinning, so that one that shares its
    core with another program holds up all of them, a thousandfold.
    """
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 2) - 1))


def start(options: argparse.Namespace, key: str) -> Any:
    """The server's own settings but for what `options` say; layers that do not fit on the card stay in memory by themselves."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = options.model, options.mmproj
    params.n_parallel, params.n_ctx = options.slots, options.slots * options.context
    params.port = options.port
    params.api_keys = [key] if key else []
    params.cache_ram_mib = 0  # prompts begin with their picture: hardly one is asked twice
    params.ui = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    if options.cpu:
        params.n_gpu_layers, params.mmproj_use_gpu = 0, False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
