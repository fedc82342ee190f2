"""What the reward server refuses: bodies, images, tokens."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import ConfigError
from tests.core.serving import TOKEN, encoded, run, serving

Text = Callable[..., str]


@pytest.fixture
def png(picture: Image.Image) -> str:
    return encoded(picture)


def bomb(width: int, height: int) -> str:
    """A PNG whose header promises far more pixels than it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


class TestRefusals:
    def refused(self, body: bytes, **limits: Any) -> tuple[int, str]:
        """Status and message; the judge must not have been asked."""
        found: list[tuple[int, str]] = []

        async def work() -> None:
            backend = ScriptedBackend([])
            async with serving(backend, **limits) as client:
                status, answer = await client.ask("POST", "/v1/critique", data=body)
                assert set(answer) == {"error"}
                assert (await client.metrics())["rejected"] == {str(status): 1}
                found.append((status, answer["error"]["message"]))
            assert backend.calls == []

        run(work())
        return found[0]

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            (b"", "The body is not valid JSON."),
            (b"{", "The body is not valid JSON."),
            (b"\xff\xfe\x00", "The body is not valid JSON."),
            (b"[" * 100_000, "The body is not valid JSON."),
            (b"[]", "The body must be a JSON object."),
            (b'{"request": 3}', "request must be a text."),
            (b'{"image": "AA=="}', "request must be a text."),
            (b'{"request": "a", "image": ""}', "image must be a base64 text."),
            (b'{"request": "a", "image": "!!"}', "image is not valid base64."),
            (b'{"request": "a", "image": "\\u00e9"}', "image is not valid base64."),
            (b'{"request": "a", "image": "AAAA"}', "image: The image is not a readable PNG, JPEG or WEBP file."),
            (b'{"request": "a", "mode": "fast"}', "mode must be 'critique' or 'score'."),
            (b'{"request": "a", "sources": false}', "sources must be a list of at most 8 images."),
            (b'{"request": "a", "prompt": "a"}', "unknown field 'prompt'; known fields are image, mode, request, sources."),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_in_one_sentence(self, body: bytes, sentence: str) -> None:
        assert self.refused(body) == (400, sentence)

    def test_a_long_unknown_field_is_not_sent_back_whole(self) -> None:
        status, message = self.refused(json.dumps({"x" * 100_000: 1}).encode())
        assert status == 400
        assert len(message) < 200

    @pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (5000, 5000), (101, 100)])
    def test_bombs_and_large_images_are_refused_undecoded(self, width: int, height: int) -> None:
        body = json.dumps({"request": "a", "image": bomb(width, height)}).encode()
        status, message = self.refused(body, max_pixels=10_000)
        assert status == 400
        assert message.startswith("image: The image has ")
        assert "10000" in message

    def test_a_large_source_is_named(self, png: str) -> None:
        body = json.dumps({"request": "a", "image": png, "sources": [png, bomb(500, 500)]}).encode()
        status, message = self.refused(body, max_pixels=10_000)
        assert status == 400
        assert message.startswith("sources[1]: The image has 500 x 500 pixels")

    def test_a_large_body_is_413(self) -> None:
        status, message = self.refused(b" " * 300_000, max_body_bytes=10_000)
        assert status == 413
        assert "at most 10000 bytes" in message

    def test_a_packed_body_counts_unpacked(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([]), max_body_bytes=10_000) as client:
                packed = gzip.compress(b" " * 5_000_000)
                assert len(packed) < 10_000
                status, _ = await client.ask(
                    "POST", "/v1/critique", data=packed, headers={"Content-Encoding": "gzip"}, compress=False
                )
            assert status == 413

        run(work())

    def test_unknown_paths_and_methods(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([])) as client:
                assert await client.ask("GET", "/v1/nothing") == (
                    404,
                    {"error": {"reason": "not_found", "message": "Not Found."}},
                )
                async with client.session.get(client.url + "/v1/critique") as answer:
                    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
                    assert (await answer.json())["error"]["reason"] == "method_not_allowed"

        run(work())

    @pytest.mark.parametrize(
        ("error", "reason"), [(ConfigError("/secret/folder is not there"), "config"), (ValueError("/secret"), "internal")]
    )  # fmt: skip
    def test_the_servers_own_fault_is_500_and_its_cause_only_in_the_log(
        self, png: str, error: Exception, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer(*_: object) -> str:
            raise error

        async def work() -> None:
            async with serving(ScriptedBackend(answer)) as client:
                status, body = await client.critique(request="a", image=png)
            assert (status, body["error"]["reason"]) == (500, reason)
            assert "secret" not in str(body)

        run(work())
        assert "/secret" in caplog.text


class TestToken:
    @pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
    def test_without_it_nothing_but_health_answers(self, given: str | None) -> None:
        headers = {} if given is None else {"Authorization": given}

        async def work() -> None:
            async with serving(ScriptedBackend([]), token=TOKEN) as client:
                for method, path in [("POST", "/v1/critique"), ("GET", "/metrics"), ("GET", "/nothing")]:
                    async with client.session.request(method, client.url + path, headers=headers) as answer:
                        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                        assert TOKEN not in await answer.text()
                assert (await client.ask("GET", "/health", headers=headers))[0] == 200

        run(work())

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_with_it_all_is_well(self, reply_text: Text, png: str, scheme: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([reply_text()]), token=TOKEN) as client:
                body = {"request": "a", "image": png}
                headers = {"Authorization": f"{scheme} {TOKEN}"}
                assert (await client.ask("POST", "/v1/critique", json=body, headers=headers))[0] == 200

        run(work())

    def test_bytes_that_are_no_text_are_just_a_wrong_token(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([]), token=TOKEN) as client:
                reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
                assert b" 401 " in await reader.readline()
                writer.close()

        run(work())

    def test_the_comparison_takes_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[tuple[bytes, bytes]] = []
        original = hmac.compare_digest

        def watched(a: bytes, b: bytes) -> bool:
            compared.append((a, b))
            return original(a, b)

        monkeypatch.setattr(hmac, "compare_digest", watched)

        async def work() -> None:
            async with serving(ScriptedBackend([]), token=TOKEN) as client:
                assert (await client.ask("GET", "/metrics", headers={"Authorization": "Bearer guess"}))[0] == 401

        run(work())
        assert compared == [(b"guess", TOKEN.encode())]
