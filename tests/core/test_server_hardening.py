"""The reward server under callers that mean no good, or have bad luck: other sites, odd bodies, memory, a stop."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core import images as images_module
from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import Message
from rationalrewards_core.serving.room import Allowance
from rationalrewards_core.serving.server import ServeConfig, make_app
from tests.core.serving import TOKEN, Client, Held, encoded, run, scorer, serving

Text = Callable[..., str]


@pytest.fixture
def png(picture: Image.Image) -> str:
    return encoded(picture)


def port(client: Client) -> int:
    return int(client.url.rsplit(":", 1)[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class TestOtherSites:
    """A page that somebody looks at must not get a judge on the same machine to work, nor read what it says."""

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
    def test_a_form_of_another_page_is_no_call(self, png: str, kind: str | None) -> None:
        async def work() -> None:
            backend = ScriptedBackend([])
            async with serving(backend) as client:
                headers = {} if kind is None else {"Content-Type": kind}
                body = json.dumps({"request": "a", "image": png}).encode()
                async with client.session.post(client.url + "/v1/critique", data=body, headers=headers) as answer:
                    assert answer.status == 415
                    assert "Content-Type: application/json" in (await answer.json())["error"]["message"]
            assert backend.calls == []

        run(work())

    @pytest.mark.parametrize("path", ["/v1/critique", "/v1/critique/batch", "/metrics", "/v1/rubric"])
    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
    def test_an_origin_that_is_not_the_servers_own(self, png: str, path: str, origin: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([])) as client:
                method = "POST" if "critique" in path else "GET"
                status, answer = await client.ask(method, path, headers={"Origin": origin})
                assert (status, answer["error"]["reason"]) == (403, "cross_site")

        run(work())

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "[::2]:9", "a b", "x:y:z"]
    )
    def test_a_name_that_was_pointed_at_this_machine(self, host: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([])) as client:
                headers = {"Host": host.format(port=port(client))}
                status, answer = await client.ask("GET", "/metrics", headers=headers)
                assert (status, answer["error"]["reason"]) == (403, "cross_site")
            async with serving(ScriptedBackend([]), token=TOKEN) as client:
                headers["Authorization"] = f"Bearer {TOKEN}"
                assert (await client.ask("GET", "/metrics", headers=headers))[0] == 200, "behind a proxy, with a token"

        run(work())

    @pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost", "LOCALHOST:{port}", "[::1]:{port}"])
    def test_programs_and_pages_of_this_machine(self, png: str, reply_text: Text, host: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([reply_text()])) as client:
                named = host.format(port=port(client))
                headers = {"Host": named, "Origin": f"http://{named}"}
                body = {"request": "a", "image": png}
                assert (await client.ask("POST", "/v1/critique", json=body, headers=headers))[0] == 200

        run(work())


class TestBodies:
    @pytest.mark.parametrize(
        ("encoding", "content"),
        [
            ("gzip", b"no gzip at all"),
            ("deflate", b"no deflate at all"),
            ("gzip", gzip.compress(b'{"request": "a"}')[:-9]),
            ("gzip", gzip.compress(b"x" * 5000)[:40]),
            ("deflate", zlib.compress(b'{"request": "a"}')[:-5]),
        ],
        ids=["no_gzip", "no_deflate", "gzip_without_its_end", "gzip_cut", "deflate_cut"],  # gzip holds the time of day
    )
    def test_packed_badly(self, encoding: str, content: bytes) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([])) as client:
                headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
                url = client.url + "/v1/critique"
                async with client.session.post(url, data=content, headers=headers, compress=False) as answer:
                    assert answer.status == 400, "aiohttp itself says so where it notices before we read"
                async with client.session.post(url, json={"request": 7}) as answer:
                    assert answer.status == 400, "the next call gets its answer"
                assert "500" not in (await client.metrics())["rejected"]

        run(work())

    def test_packed_well(self, png: str, reply_text: Text) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([reply_text()])) as client:
                content = gzip.compress(json.dumps({"request": "a", "image": png}).encode())
                headers = {"Content-Encoding": "gzip"}
                assert (await client.ask("POST", "/v1/critique", data=content, headers=headers, compress=False))[
                    0
                ] == 200

        run(work())

    def test_one_that_never_ends(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([]), body_seconds=0.1) as client:
                reader, writer = await asyncio.open_connection("127.0.0.1", port(client))
                writer.write(
                    b"POST /v1/critique HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 5000\r\n\r\n{"
                )
                assert b" 408 " in await reader.readline()
                assert b"did not arrive within 0.1 s" in await reader.read(2000)
                writer.close()

        run(work())

    def test_together_they_hold_no_more_than_is_allowed(self, png: str, reply_text: Text) -> None:
        """What is announced counts, before it has arrived: unfinished bodies must not add up."""

        async def work() -> None:
            backend = Held(reply_text())
            async with serving(backend, max_body_bytes=10_000, max_held_bytes=20_000) as client:
                head = b"POST /v1/critique HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                _, first = await asyncio.open_connection("127.0.0.1", port(client))
                first.write(head + b"Content-Length: 9000\r\n\r\n{")
                _, second = await asyncio.open_connection("127.0.0.1", port(client))
                second.write(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")  # may become 10,000
                await asyncio.sleep(0.2)
                body = {"request": "a" * 1200, "image": png}
                status, answer = await client.critique(**body)
                assert (status, answer["error"]["reason"]) == (429, "queue_full")
                assert answer["error"]["message"].startswith("Bodies of 19000 bytes are held")
                second.close()
                held = asyncio.create_task(client.critique(**body))
                await client.until_waiting(1)
                backend.release.set()
                assert (await held)[0] == 200
                first.close()

        run(work())

    def test_too_much_is_refused_as_soon_as_it_is_announced(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([]), max_body_bytes=10_000) as client:
                reader, writer = await asyncio.open_connection("127.0.0.1", port(client))
                writer.write(
                    b"POST /v1/critique HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 10001\r\n\r\n"
                )
                assert b" 413 " in await reader.readline()
                writer.close()

        run(work())

    @pytest.mark.parametrize("wrong", [{"max_held_bytes": 5}, {"body_seconds": 0.0}, {"max_decoded_pixels": 0}])
    def test_impossible_limits_are_named(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} must"):
            ServeConfig(**wrong)


class TestPixels:
    def test_only_so_many_are_decoded_at_once(self, reply_text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
        """Eight callers with an edit of 2 x 900 pixels each, where 4,000 are allowed: two are decoded at a time."""
        opened: list[int] = []
        original = images_module._decoded

        def decoded(image: Image.Image) -> Image.Image:
            opened.append(image.width * image.height)
            return original(image)

        monkeypatch.setattr(images_module, "_decoded", decoded)
        picture = encoded(Image.new("RGB", (30, 30)))

        async def work() -> None:
            backend = Held(reply_text())
            async with serving(backend, max_decoded_pixels=4000) as client:
                body = {"image": picture, "sources": [picture]}
                calls = [asyncio.create_task(client.critique(request=f"request {n}", **body)) for n in range(8)]
                await until(lambda: backend.running == 2)
                await asyncio.sleep(0.2)
                assert (sum(opened), backend.running) == (3600, 2)
                large = asyncio.create_task(client.critique(request="b", image=encoded(Image.new("RGB", (90, 90)))))
                backend.release.set()
                answers = await asyncio.gather(*calls, large)
                assert [status for status, _ in answers] == [200] * 9, "more than the budget goes alone"
            assert backend.most == 2

        run(work())

    def test_shares_are_given_in_order_and_always_back(self) -> None:
        async def work() -> None:
            budget, order = Allowance(10), []

            async def one(name: str, amount: int, release: asyncio.Event) -> None:
                async with budget.hold(amount):
                    order.append(name)
                    await release.wait()

            first, rest = asyncio.Event(), asyncio.Event()
            rest.set()
            tasks = [asyncio.create_task(one("a", 6, first))]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(one(name, amount, rest)) for name, amount in (("large", 99), ("small", 1))]
            gone = asyncio.create_task(one("gone", 10, rest))
            await asyncio.sleep(0.01)
            assert order == ["a"], "a small share does not pass a large one that waits"
            gone.cancel()
            first.set()
            await asyncio.gather(*tasks)
            assert order == ["a", "large", "small"]
            async with asyncio.timeout(1), budget.hold(10):
                pass

        run(work())


class TestStopping:
    def test_what_is_not_finished_in_time_is_said(self, png: str, reply_text: Text, caplog: Any) -> None:
        """Forty items under way: those that end in time keep their rewards, the others have their reason."""

        class Slow(Held):
            async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
                if "quick" not in messages[-1].text:
                    await asyncio.sleep(60)
                return await super().reply(messages, sampling)

        async def work() -> None:
            from aiohttp import ClientSession, web

            backend = Slow(reply_text(), concurrency=2)
            config = ServeConfig(shutdown_seconds=0.4)
            runner = web.AppRunner(make_app(scorer(backend), config), handler_cancellation=True, shutdown_timeout=1.0)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with ClientSession() as session:
                client = Client(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
                items = [{"request": "quick" if n == 0 else f"slow {n}", "image": png} for n in range(40)]
                batch = asyncio.create_task(client.batch(items))
                single = asyncio.create_task(client.critique(request="slow", image=png))
                await client.until_waiting(41)
                await until(lambda: backend.running > 0)
                backend.release.set()
                started = asyncio.get_running_loop().time()
                await runner.cleanup()
                assert asyncio.get_running_loop().time() - started < 1.5
                (status, answers), (_, alone) = await batch, await single
            assert status == 200
            assert answers["items"][0]["reward"] is not None
            unfinished = [item["unscored"] for item in answers["items"][1:]] + [alone["unscored"]]
            assert {item["reason"] for item in unfinished} == {"stopped"}
            assert "ask again" in unfinished[0]["message"]
            assert backend.closed == 1

        with caplog.at_level(logging.WARNING):
            run(work())
        assert "stopped with 40 items unscored: they were not judged within 0.4 s" in caplog.text
