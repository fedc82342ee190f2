"""What a scalar reward behind HTTP may answer: a number, or a failure of one sentence."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.messages import UserRequest
from training.rewards.scalar_remote import RemoteScalar

QUESTION = (UserRequest("a cat"), Image.new("RGB", (8, 8)))


@contextmanager
def answering(content: bytes, length: int | None = None) -> Iterator[str]:
    """A server whose /compute says `content` and announces `length` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(b"{}", 2)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(content, len(content) if length is None else length)

        def _send(self, body: bytes, announced: int) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize("value", ["0.5", "1"])
def test_a_number_is_a_reward(value: str) -> None:
    with answering(f'{{"rewards": [{value}]}}'.encode()) as url:
        assert RemoteScalar(url)(*QUESTION) == float(value)


@pytest.mark.parametrize("value", ["NaN", "1e999", "true", '"0.5"', "null", "1" + "0" * 400])
def test_what_is_no_number_is_none(value: str) -> None:
    with answering(f'{{"rewards": [{value}]}}'.encode()) as url:
        assert math.isnan(RemoteScalar(url)(*QUESTION))


@pytest.mark.parametrize(
    ("content", "length"),
    [
        (b"[" * 200_000, None),
        (b'{"rewards": [0.5', 90),
        (b"<html>", None),
        (b"\xff", None),
        (b'{"rewards": [1, 2]}', None),
    ],
)
def test_what_is_no_answer_is_one_sentence(content: bytes, length: int | None) -> None:
    with answering(content, length) as url, pytest.raises(BackendError, match=r"did not answer|gave no rewards"):
        RemoteScalar(url)(*QUESTION)


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "http://127.0.0.1:1"])
def test_nobody_there_is_one_sentence(url: str) -> None:
    with pytest.raises(ConfigError, match="No scalar reward answers"):
        RemoteScalar(url)
