"""The two routes: what they accept, whom they stop, and what a reloaded page is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.nodes.comfy_stub import Pack

LOOP = {"12:5": {"class_type": "RR_LoopUntilScore", "inputs": {}}, "3": {"class_type": "KSampler", "inputs": {}}}
STOP = "/rationalrewards/loop/stop"


class Site:
    """The routes on a test server, with a board of their own and a queue that says what runs."""

    def __init__(self, pack: Pack) -> None:
        self.board = pack.module("nodes.loop_board").LoopBoard()
        self.running: list[tuple[str, dict[str, Any]]] = [("p1", LOOP)]
        routes = pack.module("nodes.routes")
        self._paths = (routes.STOP_PATH, routes.STATE_PATH)
        self._handlers = routes.LoopRoutes(self.board, lambda: self.running)

    def ask(self, question: Callable[[TestClient[Any, Any]], Awaitable[web.Response]]) -> tuple[int, Any]:
        async def answered() -> tuple[int, Any]:
            app = web.Application()
            app.router.add_post(self._paths[0], self._handlers.stop)
            app.router.add_get(self._paths[1], self._handlers.state)
            async with TestClient(TestServer(app)) as client:
                answer: Any = await question(client)
                return answer.status, await answer.json()

        return asyncio.run(answered())

    def stop(self, body: Any) -> tuple[int, Any]:
        return self.ask(
            lambda client: client.post(STOP, data=body) if isinstance(body, bytes) else client.post(STOP, json=body)
        )

    def state(self, node: str) -> tuple[int, Any]:
        return self.ask(lambda client: client.get(f"/rationalrewards/loop/{node}"))


@pytest.fixture
def site(pack: Pack) -> Site:
    return Site(pack)


def page(node: str = "12:5", prompt_id: str = "p1", running: bool = True) -> dict[str, Any]:
    return {"node": node, "prompt_id": prompt_id, "running": running, "stopped": None, "iterations": []}


def test_a_running_loop_is_asked_to_stop_once(site: Site) -> None:
    assert site.stop({"node": "12:5"}) == (200, {"stopping": True})
    assert not site.board.take_stop("p2", "12:5"), "the wish belongs to the prompt that ran"
    assert site.board.take_stop("p1", "12:5")
    assert not site.board.take_stop("p1", "12:5")


@pytest.mark.parametrize("node", ["3", "99"])
def test_what_is_no_running_loop_cannot_be_stopped(site: Site, node: str) -> None:
    status, answer = site.stop({"node": node})
    assert (status, answer) == (404, {"error": "No such loop is running."})
    site.running = []
    assert site.stop({"node": "12:5"})[0] == 404


def test_a_loop_that_another_node_made_is_known_by_its_state(site: Site) -> None:
    site.running = [("p1", {"8": {"class_type": "Wrapper"}})]
    assert site.stop({"node": "8"})[0] == 404
    site.board.post(page("8"))
    assert site.stop({"node": "8"})[0] == 200
    site.board.post(page("8", running=False))
    assert site.stop({"node": "8"})[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 4000,
        [],
        {},
        {"node": 12},
        {"node": ["12:5"]},
        {"node": ""},
        {"node": "../../etc/passwd"},
        {"node": "<b>"},
        {"node": "12:5\n"},
        {"node": "1" * 201},
        {"node": "٣"},
    ],
)
def test_anything_else_is_refused_with_a_sentence(site: Site, body: Any) -> None:
    status, answer = site.stop(body)
    assert status == 400
    assert answer["error"].endswith(".")


def test_a_long_request_is_not_read(site: Site) -> None:
    assert site.stop({"node": "12:5", "more": "x" * 5000})[0] == 413


def test_a_reloaded_page_is_told_the_last_state(site: Site) -> None:
    assert site.state("12:5")[0] == 404
    site.board.post(page())
    assert site.state("12:5") == (200, page())
    site.running = []
    status, state = site.state("12:5")
    assert (status, state["running"], state["stopped"]) == (200, False, "interrupted")
    site.board.post({**page(running=False), "stopped": "reached"})
    assert site.state("12:5")[1]["stopped"] == "reached"


@pytest.mark.parametrize("node", ["%2e%2e%2fx", "a%20b", "%3Cscript%3E", "x" * 201])
def test_ids_that_no_node_has_are_refused(site: Site, node: str) -> None:
    status, answer = site.state(node)
    assert (status, answer["error"]) == (400, "That is not the id of a node.")


def test_the_board_forgets_the_oldest(site: Site, pack: Pack) -> None:
    kept = pack.module("nodes.loop_board").KEPT_STATES
    for number in range(kept + 1):
        site.board.post(page(str(number)))
    assert site.board.last("0") is None
    assert site.board.last(str(kept)) is not None


def test_routes_are_added_once_and_not_without_a_server(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    import server

    routes = pack.module("nodes.routes")
    monkeypatch.setattr(server.PromptServer.instance, "routes", web.RouteTableDef())
    routes.add_routes()
    routes.add_routes()
    assert [(route.method, route.path) for route in server.PromptServer.instance.routes] == [
        ("POST", routes.STOP_PATH),
        ("GET", routes.STATE_PATH),
        ("GET", "/rationalrewards/preferences/{dataset}"),
        *(("POST", f"/rationalrewards/preferences/{{dataset}}/{wish}") for wish in ("pick", "undo", "export")),
    ]
    monkeypatch.delattr(server.PromptServer, "instance")
    routes.add_routes()
