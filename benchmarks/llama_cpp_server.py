"""llama.cpp's server on a free port, for as long as standard input is open; run in the environment that holds `xllamacpp`.

Prints its address as its first line. Every line it reads is answered with the CPU seconds that this process, all of its
threads, has used since it was started.
"""

from __future__ import annotations

import argparse
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="the language model, a GGUF file")
    parser.add_argument("mmproj", help="the picture tower, a GGUF file")
    parser.add_argument("--slots", type=int, default=8, help="requests answered at once")
    parser.add_argument("--context", type=int, default=2048, help="tokens of one request, its reply included")
    given = parser.parse_args()
    server = start(given.model, given.mmproj, given.slots, given.context)
    print(server.listening_address, flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


def start(model: str, mmproj: str, slots: int, context: int) -> object:
    """The server's own settings, but for one thread, the slots and their size."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = model, mmproj
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
