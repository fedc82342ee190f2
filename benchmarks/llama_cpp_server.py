"""llama.cpp's server, for as long as standard input is open or for ever; run in the environment that holds `xllamacpp`.

Prints its address as its first line. Every line it reads is answered with the CPU seconds that this process, all of its
threads, has used since it was started.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="the language model, a GGUF file")
    parser.add_argument("mmproj", nargs="?", default="", help="the picture tower, a GGUF file; without it, no pictures")
    parser.add_argument("--slots", type=int, default=8, help="requests answered at once")
    parser.add_argument("--context", type=int, default=2048, help="tokens of one request, its reply included")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--forever", action="store_true", help="do not end with standard input")
    arguments = parser.parse_args()
    server = start(arguments.model, arguments.mmproj, arguments.slots, arguments.context, arguments.port)
    print(server.listening_address, flush=True)
    if arguments.forever:
        threading.Event().wait()
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


def start(model: str, mmproj: str, slots: int, context: int, port: int = 0) -> object:
    """The server's own settings, but for one thread, the slots and their size."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    if mmproj:
        params.mmproj.path = mmproj
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port = port
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
