"""The two routes: what they accept, whom they stop, and what a reloaded page is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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
        self.board = pack.module("nodes.loop.board").LoopBoard()
        routes = pack.module("nodes.loop.routes")
        self.run = routes.Running
        self.running: list[Any] = [self.run("p1", LOOP, "w1")]
        self._paths = (routes.STOP_PATH, routes.LOOPS_PATH)
        self._handlers = routes.LoopRoutes(self.board, lambda: self.running, {"p1": "w1", "p0": "w1", "p2": "w2"}.get)

    def ask(self, question: Callable[[TestClient[Any, Any]], Awaitable[web.Response]]) -> tuple[int, Any]:
        async def answered() -> tuple[int, Any]:
            app = web.Application()
            app.router.add_post(self._paths[0], self._handlers.stop)
            app.router.add_get(self._paths[1], self._handlers.loops)
            async with TestClient(TestServer(app)) as client:
                answer: Any = await question(client)
                return answer.status, await answer.json()

        return asyncio.run(answered())

    def stop(self, body: Any) -> tuple[int, Any]:
        return self.ask(
            lambda client: client.post(STOP, data=body) if isinstance(body, bytes) else client.post(STOP, json=body)
        )

    def loops(self, **query: str) -> tuple[int, Any]:
        return self.ask(lambda client: client.get("/rationalrewards/loops", params=query))


@pytest.fixture
def site(pack: Pack) -> Site:
    return Site(pack)


def page(node: str = "12:5", prompt_id: str = "p1", running: bool = True, workflow: str = "w1") -> dict[str, Any]:
    state = {"node": node, "prompt_id": prompt_id, "workflow": workflow, "running": running}
    return {**state, "stopped": None, "iterations": [{"index": 0}]}


def wish(node: str = "12:5", prompt_id: str = "p1") -> dict[str, str]:
    return {"prompt_id": prompt_id, "node": node}


def test_a_running_loop_is_asked_to_stop_once(site: Site) -> None:
    assert site.stop(wish()) == (200, {"stopping": True})
    assert not site.board.take_stop("p2", "12:5"), "the wish belongs to the prompt that ran"
    assert site.board.take_stop("p1", "12:5")
    assert not site.board.take_stop("p1", "12:5")


@pytest.mark.parametrize("node", ["3", "99"])
def test_what_is_no_running_loop_cannot_be_stopped(site: Site, node: str) -> None:
    status, answer = site.stop(wish(node))
    assert (status, answer) == (404, {"error": "No such loop is running."})
    site.running = []
    assert site.stop(wish())[0] == 404


def test_the_same_node_of_another_prompt_goes_on(site: Site) -> None:
    """A second workflow has a loop of the same id; its button does not end somebody else's run."""
    assert site.stop(wish(prompt_id="p2"))[0] == 404
    assert not site.board.take_stop("p1", "12:5")


def test_a_wish_that_comes_in_two_pieces_is_read_whole(pack: Pack) -> None:
    """A request's body may arrive in any number of TCP segments."""
    body = b'{"prompt_id": "p1", "node": "12:5"}'

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:9]
        await asyncio.sleep(0.05)
        yield body[9:]

    site = Site(pack)
    assert site.ask(lambda client: client.post(STOP, data=pieces())) == (200, {"stopping": True})


def test_a_loop_that_another_node_made_is_known_by_its_state(site: Site) -> None:
    site.running = [site.run("p1", {"8": {"class_type": "Wrapper"}}, "w1")]
    assert site.stop(wish("8"))[0] == 404
    site.board.post(page("8"))
    assert site.stop(wish("8"))[0] == 200
    site.board.post(page("8", running=False))
    assert site.stop(wish("8"))[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 4000,
        [],
        {},
        {"node": "12:5"},
        {"prompt_id": "p1"},
        {"prompt_id": None, "node": "12:5"},
        {"prompt_id": "p1", "node": 12},
        {"prompt_id": "p1", "node": ["12:5"]},
        {"prompt_id": "p1", "node": ""},
        {"prompt_id": "p1", "node": "../../etc/passwd"},
        {"prompt_id": "<b>", "node": "12:5"},
        {"prompt_id": "p1", "node": "12:5\n"},
        {"prompt_id": "p1", "node": "1" * 201},
        {"prompt_id": "p1", "node": "٣"},
    ],
)
def test_anything_else_is_refused_with_a_sentence(site: Site, body: Any) -> None:
    status, answer = site.stop(body)
    assert status == 400
    assert answer["error"].endswith(".")


def test_a_long_request_is_not_read(site: Site) -> None:
    assert site.stop({**wish(), "more": "x" * 5000})[0] == 413


def test_a_loop_is_there_before_its_first_image(site: Site) -> None:
    """A page shows a new run at once, and can stop it."""
    inputs = {"threshold": 0.9, "max_iterations": ["4", 0], "critique": ["6", 0], "refined_prompt": ["3", 0]}
    prompt = {**LOOP, "12:5": {**LOOP["12:5"], "inputs": inputs}, "6": {"class_type": "RR_RationalCritique"}}
    site.running = [site.run("p1", prompt, "w1"), site.run("p2", prompt, "w2")]
    site.board.post({**page(prompt_id="p0", running=False), "stopped": "reached"})
    status, answer = site.loops(workflow="w1")
    (state,) = answer["loops"]
    assert (status, state["prompt_id"], state["node"], state["workflow"]) == (200, "p1", "12:5", "w1")
    assert (state["running"], state["iterations"], state["best"]) == (True, [], None)
    assert (state["threshold"], state["max_iterations"]) == (0.9, None), "a wired number is not known yet"
    assert (state["critique"], state["refine"]) == ("6", None)


def test_a_reloaded_page_is_told_the_last_state_of_its_own_workflow(site: Site) -> None:
    site.running = []
    assert site.loops(workflow="w1") == (200, {"workflow": "w1", "loops": []})
    site.board.post(page(prompt_id="p0", running=False))
    site.board.post(page())
    site.board.post(page(prompt_id="p2", workflow="w2"))
    site.running = [site.run("p1", LOOP, "w1")]
    assert site.loops(workflow="w1") == (200, {"workflow": "w1", "loops": [page()]})
    site.running = []
    (state,) = site.loops(workflow="w1")[1]["loops"]
    assert (state["running"], state["stopped"]) == (False, "interrupted")
    assert site.loops(workflow="w3")[1]["loops"] == []


def test_a_run_is_found_by_its_prompt_with_the_workflow_it_came_from(site: Site) -> None:
    """A cache answers for a whole loop with the name of the run; and a page asks which workflow an event belongs to."""
    site.board.post({**page(prompt_id="p0", running=False), "stopped": "reached"})
    site.board.post(page())
    status, answer = site.loops(prompt_id="p0")
    assert (status, answer["workflow"], answer["loops"][0]["stopped"]) == (200, "w1", "reached")
    assert site.loops(prompt_id="p2")[1] == {"workflow": "w2", "loops": []}
    assert site.loops(prompt_id="p9")[1] == {"workflow": None, "loops": []}


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"prompt_id": "p1", "workflow": "w1"},
        {"workflow": "../x"},
        {"workflow": "a b"},
        {"prompt_id": "<script>"},
        {"workflow": "x" * 201},
    ],
)
def test_ids_that_nothing_has_are_refused(site: Site, query: dict[str, str]) -> None:
    status, answer = site.loops(**query)
    assert status == 400
    assert answer["error"].endswith(".")


def test_the_board_forgets_the_oldest(site: Site, pack: Pack) -> None:
    kept = pack.module("nodes.loop.board").KEPT_STATES
    for number in range(kept + 1):
        site.board.post(page(str(number)))
    assert site.board.of_run("p1", "0") is None
    assert site.board.of_run("p1", str(kept)) is not None


def test_what_a_runs_pictures_have_to_tell_is_remembered_as_long_as_its_state(site: Site, pack: Pack) -> None:
    kept, story = pack.module("nodes.loop.board").KEPT_STATES, object()
    site.board.post(page("long"), story)
    for number in range(kept - 1):
        site.board.post(page(str(number)))
    site.board.post(page("long"), story)
    site.board.post(page("last"))
    assert site.board.of_run("p1", "long") is not None
    assert site.board.story("p1", "long") is story, "a run goes on for as long as it likes"
    assert site.board.story("p1", "last") is None


def test_routes_are_added_once_and_not_without_a_server(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    import server

    routes = pack.module("nodes.loop.routes")
    monkeypatch.setattr(server.PromptServer.instance, "routes", web.RouteTableDef())
    assert routes.add_routes()
    assert not routes.add_routes(), "a second copy of the pack has another board, which nobody would ask"
    assert [(route.method, route.path) for route in server.PromptServer.instance.routes] == [
        ("POST", routes.STOP_PATH),
        ("GET", routes.LOOPS_PATH),
        ("POST", routes.HAND_ON_PATH),
        ("POST", routes.ANSWER_PATH),
        ("GET", routes.PICTURE_PATH),
        ("POST", "/rationalrewards/client"),
        ("GET", "/rationalrewards/preferences/{dataset}"),
        *(("POST", f"/rationalrewards/preferences/{{dataset}}/{wish}") for wish in ("pick", "undo", "export")),
        ("GET", "/rationalrewards/judges/{judge}"),
        *(("POST", f"/rationalrewards/judges/{{judge}}/{wish}") for wish in ("ask", "start", "stop", "discard")),
    ]
    monkeypatch.delattr(server.PromptServer, "instance")
    assert routes.add_routes()
