"""Get the judge, as the page asks for it: only a released one, only where it is allowed, only from ComfyUI's own page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.core.hub_server import COMMIT, HubServer, serving_hub
from tests.nodes.comfy_stub import Pack

JUDGE = "/rationalrewards/judges/RationalRewards-8B-Edit"
Client = TestClient[Any, Any]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as hub:
        yield hub


def on_page(pack: Pack, folder: Path, hub: str, act: Callable[[Client], Awaitable[Any]]) -> Any:
    async def acted() -> Any:
        routes = web.RouteTableDef()
        pack.module("nodes.models.downloads").DownloadRoutes(lambda: folder, lambda: hub).add_to(routes)
        app = web.Application()
        app.add_routes(routes)
        async with TestClient(TestServer(app)) as client:
            return await act(client)

    return asyncio.run(acted())


def test_a_judge_is_fetched_into_its_folder_after_the_version_that_was_shown_is_agreed_to(
    pack: Pack, tmp_path: Path, hub: HubServer
) -> None:
    async def act(client: Client) -> Any:
        first = await (await client.get(JUDGE)).json()
        assert (first["state"], first["licence"], first["checkpoint"]) == (
            "missing",
            "Apache-2.0",
            "LLM/RationalRewards-8B-Edit",
        )
        assert not hub.asked
        asked = await (await client.post(f"{JUDGE}/ask")).json()
        assert (asked["commit"], asked["size"]) == (COMMIT, sum(map(len, hub.files.values())))
        assert (await client.post(f"{JUDGE}/start", json={"commit": "f" * 40})).status == 409
        assert (await client.post(f"{JUDGE}/start", json={})).status == 400
        assert (await client.post(f"{JUDGE}/start", data=b"x" * 5000)).status == 400
        assert not hub.spans
        state = await (await client.post(f"{JUDGE}/start", json={"commit": COMMIT})).json()
        while state["state"] == "running":
            await asyncio.sleep(0.02)
            state = await (await client.get(JUDGE)).json()
        return state

    state = on_page(pack, tmp_path, hub.address, act)
    assert state["state"] == "here"
    assert str(tmp_path) not in str(state)
    assert (tmp_path / "RationalRewards-8B-Edit" / "config.json").read_bytes() == hub.files["config.json"]


@pytest.mark.parametrize(
    "name", ["other", "..", "TIGER-Lab%2FRationalRewards-8B-T2I", "http:%2F%2Fevil", "RationalRewards-8B-T2I%2F.."]
)
def test_only_a_released_judge_can_be_named(pack: Pack, tmp_path: Path, hub: HubServer, name: str) -> None:
    async def act(client: Client) -> list[int]:
        answers = [
            await client.post(f"/rationalrewards/judges/{name}/{verb}", json={"commit": COMMIT})
            for verb in ("ask", "start", "discard")
        ]
        return [answer.status for answer in answers]

    assert set(on_page(pack, tmp_path, hub.address, act)) == {404}
    assert not hub.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_can_start_nothing(pack: Pack, tmp_path: Path, hub: HubServer, headers: dict[str, str]) -> None:
    async def act(client: Client) -> list[int]:
        verbs = ("ask", "start", "stop", "discard")
        return [
            (await client.post(f"{JUDGE}/{verb}", json={"commit": COMMIT}, headers=headers)).status for verb in verbs
        ]

    assert set(on_page(pack, tmp_path, hub.address, act)) == {403}
    assert not hub.asked


def test_what_the_hub_and_the_disk_refuse_is_a_sentence(pack: Pack, tmp_path: Path) -> None:
    async def act(client: Client) -> tuple[int, str]:
        answer = await client.post(f"{JUDGE}/ask")
        return answer.status, (await answer.json())["error"]

    status, sentence = on_page(pack, tmp_path, "http://127.0.0.1:9", act)
    assert status == 502
    assert "cannot be reached" in sentence


@pytest.mark.parametrize(
    ("multi_user", "listen", "config", "allowed"),
    [
        (False, "127.0.0.1", None, True),
        (False, "127.0.0.1,::1", None, True),
        (False, "0.0.0.0,::", None, False),
        (False, "192.168.1.5", None, False),
        (True, "127.0.0.1", None, False),
        (True, "0.0.0.0", "true", True),
        (False, "127.0.0.1", "false", False),
        (False, "127.0.0.1", '"yes"', False),
    ],
)
def test_downloads_are_allowed_to_one_person_on_this_machine_or_by_the_config_file(
    pack: Pack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    multi_user: bool,
    listen: str,
    config: str | None,
    allowed: bool,
) -> None:
    from comfy.cli_args import args

    monkeypatch.setattr(args, "multi_user", multi_user)
    monkeypatch.setattr(args, "listen", listen)
    downloads = pack.module("nodes.models.downloads")
    file = tmp_path / "config.toml"
    monkeypatch.setattr(downloads, "default_config_path", lambda: file)
    if config is not None:
        file.write_text(f"[downloads]\njudges = {config}\n")
    assert downloads.downloads_allowed() is allowed
    routes = web.RouteTableDef()
    downloads.add_download_routes(routes)
    assert len(routes) == (5 if allowed else 0)
