"""A model server as a program, for the tests of servers that are started: answers any question with the text it is given.

    python managed_stub.py --port N [--wait SECONDS] [--die-at FILE] [--broken] [--child FILE] [--stubborn] [--text TEXT]

`--die-at` ends it under the first question for as long as the file exists, which it removes; `--die` under every one.
`--child` starts a process of its own that outlives it, and writes that one's id.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--die-at", type=Path)
    parser.add_argument("--die", action="store_true")
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--child", type=Path)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--text", default="yes")
    given = parser.parse_args()
    print("reading the weights", flush=True)
    if given.broken:
        sys.exit("RuntimeError: the weights are no weights\n")
    if given.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if given.child:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        given.child.write_text(str(child.pid))
    began = time.monotonic()
    key = os.environ.get("STUB_KEY", "")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                self._send(200 if time.monotonic() - began >= given.wait else 503, {})
            else:
                self._send(200, {"data": [{"id": "stub"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if key and self.headers.get("Authorization") != f"Bearer {key}":
                self._send(401, {"error": {"message": "wrong key"}})
                return
            if given.die or (given.die_at and given.die_at.exists()):
                if given.die_at:
                    given.die_at.unlink(missing_ok=True)
                print(f"out of memory, key {key}", file=sys.stderr, flush=True)
                os._exit(3)
            time.sleep(given.slow)
            choice = {"message": {"role": "assistant", "content": given.text}, "finish_reason": "stop"}
            self._send(
                200, {"model": "stub", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
            )

        def _send(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
