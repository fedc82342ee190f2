"""The node, and the routes by which a page answers: a click never waits for the queue, and names no file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.nodes.comfy_stub import Pack
from training.data.pairs import read_pairs
from training.parrot.__main__ import main as parrot

BASE = "/rationalrewards/preferences"


class Page:
    """Asks the real routes, as the page does."""

    def __init__(self, pack: Pack) -> None:
        self.headers: dict[str, str] = {}
        self._routes = web.RouteTableDef()
        pack.module("nodes.preferences.routes").PreferenceRoutes().add_to(self._routes)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async def answered() -> tuple[int, Any]:
            app = web.Application()
            app.add_routes(self._routes)
            async with TestClient(TestServer(app)) as client:
                sent = {"data": body} if isinstance(body, bytes) else {"json": body}
                at = path if path.startswith("/rationalrewards") else BASE + path
                answer = await client.request(method, at, headers=self.headers, **(sent if body is not None else {}))
                return answer.status, await answer.json()

        return asyncio.run(answered())

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self.ask("POST", path, body)


@pytest.fixture
def page(pack: Pack) -> Page:
    return Page(pack)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Pack) -> Path:
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    return tmp_path


@pytest.fixture
def run(pack: Pack, images: Any, output: Path) -> Any:
    node = pack.module("nodes.preference_pick").PreferencePick

    def execute(count: int = 3, prompt: str = "a cat", dataset: str = "mine", **more: Any) -> Any:
        return node.execute(images(count), prompt, dataset, **more)

    return execute


CLIENT = "/rationalrewards/client"


@pytest.fixture
def several_users(monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy.cli_args import args
    from server import PromptServer

    monkeypatch.setattr(args, "multi_user", True)
    monkeypatch.setattr(PromptServer.instance, "client_id", "browser")


def sign_in(page: Page, user: str, client: str) -> None:
    """A page of the user that is asked for, and what it queues, from now on."""
    from server import PromptServer

    page.headers = {"comfy-user": user}
    assert page.post(CLIENT, {"client_id": client}) == (200, {"user": user})
    PromptServer.instance.client_id = client


def key_of(done: Any) -> str:
    (shown,) = done.ui["rr_preference"]
    return str(shown["question"])


def test_a_run_asks_and_goes_on(run: Any, images: Any, output: Path) -> None:
    done = run()
    assert done[0].equal(images(3))
    assert done[1] == "mine: 0 answered (ties: 0, all bad: 0), 1 waiting; 0 pairs."
    assert done.ui == {"rr_preference": [{"dataset": "mine", "question": key_of(done)}]}
    assert (output / "rationalrewards/preferences/mine/picks.jsonl").is_file()


def test_what_cannot_be_asked_is_said(run: Any, images: Any, pack: Pack, output: Path) -> None:
    errors = pack.core("errors")
    for count in (1, 9):
        with pytest.raises(errors.RequestError, match=f"2 to 8 images, not {count}"):
            run(count)
    with pytest.raises(errors.RequestError, match="request is empty"):
        run(prompt=" ")
    with pytest.raises(errors.RequestError, match="2 source images"):
        run(source_image=images(2))
    with pytest.raises(errors.ConfigError, match="Name the data set"):
        run(dataset="../elsewhere")
    assert list(output.iterdir()) == []


def test_what_the_judge_said_is_kept_and_not_shown(
    run: Any, page: Page, pack: Pack, scorer: Any, images: Any, output: Path
) -> None:
    judging = pack.module("nodes.rational_critique").RationalCritique
    judge = scorer((2.0, 2.0, None), "unreadable", (4.0, 3.0, 4.0))
    critique = asyncio.run(judging.execute(judge, images(3), "a cat"))[0]
    with pytest.raises(pack.core("errors").ConfigError, match="2 images and 3 critiques"):
        run(2, critique=critique)
    key = key_of(run(critique=critique))
    status, state = page.get(f"/mine?question={key}")
    assert status == 200
    assert set(state["question"]) == {"key", "request", "images", "sources", "choice"}
    (line,) = (output / "rationalrewards/preferences/mine/picks.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert kept["rewards"] == [pytest.approx(1 / 3), None, pytest.approx(8 / 9)]
    assert kept["judge"]["outcomes"][1]["unscored"]


def test_a_click_answers_and_shows_the_next_question(run: Any, page: Page) -> None:
    first, second = key_of(run(2)), key_of(run(3))
    status, state = page.post("/mine/pick", {"question": first, "choice": 1})
    assert (status, state["question"]["key"], state["answered"], state["waiting"], state["pairs"]) == (
        200,
        second,
        1,
        1,
        1,
    )
    status, state = page.post("/mine/pick", {"question": second, "choice": "bad"})
    assert (state["question"]["key"], state["question"]["choice"], state["bad"]) == (second, "bad", 1)
    status, state = page.post("/mine/undo", {"answer": state["undo"]})
    assert (state["question"]["key"], state["question"]["choice"], state["answered"]) == (second, None, 1)


def test_a_page_that_comes_back_finds_what_waits(run: Any, page: Page) -> None:
    keys = [key_of(run(count)) for count in (2, 3, 4)]
    assert page.get("/mine")[1]["question"]["key"] == keys[0]
    assert page.get(f"/mine?after={keys[0]}")[1]["question"]["key"] == keys[1]
    assert page.get(f"/mine?after={keys[2]}")[1]["question"]["key"] == keys[0], "from the beginning again"
    page.post("/mine/pick", {"question": keys[1], "choice": 0})
    assert page.get(f"/mine?question={keys[1]}")[1]["question"]["key"] == keys[2], "an answered one gives way"
    for key in keys:
        page.post("/mine/pick", {"question": key, "choice": "tie"})
    state = page.get("/mine")[1]
    assert (state["question"]["key"], state["waiting"], state["ties"]) == (keys[2], 0, 3)


def test_pictures_are_named_for_comfyuis_own_route(run: Any, page: Page, images: Any, output: Path) -> None:
    run(2, source_image=images(1, side=4))
    question = page.get("/mine")[1]["question"]
    for image in question["images"] + question["sources"]:
        assert image["type"] == "output"
        assert (output / image["subfolder"] / image["filename"]).is_file()
    assert (len(question["images"]), len(question["sources"])) == (2, 1)


@pytest.mark.parametrize(
    "choice", [None, True, 1.0, "0", "A", [0], {"a": 1}, "tie ", -1, 2, 10**30], ids=lambda value: repr(value)
)
def test_what_is_no_answer_is_refused(run: Any, page: Page, choice: Any) -> None:
    key = key_of(run(2))
    status, answer = page.post("/mine/pick", {"question": key, "choice": choice})
    assert status in (400, 409)
    assert answer["error"].endswith(".")
    assert page.get("/mine")[1]["answered"] == 0


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"{}", b"[" * 4000, b'{"question": "x", "choice": 0}', b"x" * 5000])
@pytest.mark.parametrize("wish", ["pick", "undo"])
def test_whatever_else_is_sent_is_refused(run: Any, page: Page, wish: str, body: bytes) -> None:
    run(2)
    status, answer = page.post(f"/mine/{wish}", body)
    assert status == 400
    assert answer["error"].startswith("Send ")


def test_no_path_reaches_a_data_set(run: Any, page: Page) -> None:
    run(2)
    for name in ("..%2fmine", "%2e%2e%5cx", "mine%00", "a%20b", "x" * 65, "nul"):
        assert page.get(f"/{name}")[0] == 400, name
    assert page.get("/other") == (404, {"error": "Nothing was asked in this data set yet; queue the graph."})
    assert page.post("/other/export", {})[0] == 404
    assert page.get("/mine?question=../../x")[0] == 400
    assert page.get("/mine?question=" + "0" * 16)[0] == 200, "one that is gone: what waits is shown"
    assert page.post("/mine/pick", {"question": "0" * 16, "choice": 0})[0] == 409
    assert page.post("/mine/undo", {"answer": "0" * 16})[0] == 409


def test_a_pick_through_the_routes_becomes_pairs_of_the_pipeline(run: Any, page: Page, output: Path) -> None:
    page.post("/mine/pick", {"question": key_of(run(3)), "choice": 2})
    status, done = page.post("/mine/export", {})
    assert (status, done) == (200, {"pairs": 2, "folder": "rationalrewards/preferences/mine/export"})
    assert parrot(["import", "folder", str(output / done["folder"]), "--run", str(output / "run")]) == 0
    pairs = list(read_pairs([output / "run" / "pairs" / "folder.jsonl"]))
    assert [(pair.request, pair.preference.value) for pair in pairs] == [("a cat", "B"), ("a cat", "B")]
    assert all((output / "run" / reference).is_file() for pair in pairs for reference in pair.images)


def test_every_user_has_picks_of_their_own(run: Any, page: Page, output: Path, several_users: None) -> None:
    sign_in(page, "anna_1", "tab-1")
    anna = key_of(run(2))
    sign_in(page, "berta_2", "tab-2")
    assert page.get("/mine")[0] == 404, "what another user is asked is nobody else's"
    assert page.post("/mine/pick", {"question": anna, "choice": 0})[0] == 404
    berta = key_of(run(3))
    status, state = page.post("/mine/pick", {"question": berta, "choice": 2})
    assert (status, state["waiting"], state["answered"]) == (200, 0, 1)
    assert page.post("/mine/export", {})[1] == {
        "pairs": 2,
        "folder": "rationalrewards/preferences/@berta_2/mine/export",
    }
    sign_in(page, "anna_1", "tab-1")
    state = page.get("/mine")[1]
    assert (state["question"]["key"], state["waiting"], state["answered"]) == (anna, 1, 0)
    for image in state["question"]["images"]:
        assert (output / image["subfolder"] / image["filename"]).is_file()
    assert page.post(CLIENT, {"client_id": "tab-1"}) == (200, {"user": "anna_1"}), "told again"


def test_the_same_graph_asks_another_user_anew(pack: Pack, page: Page, several_users: None) -> None:
    node = pack.module("nodes.preference_pick").PreferencePick
    sign_in(page, "anna_1", "tab-1")
    before = node.fingerprint_inputs(prompt="a cat")
    sign_in(page, "berta_2", "tab-2")
    assert node.fingerprint_inputs(prompt="a cat") != before


def test_who_names_no_user_shares_the_one_place(run: Any, page: Page, output: Path, several_users: None) -> None:
    key_of(run(2))  # queued by a program that told nobody whose it is
    assert page.get("/mine")[1]["waiting"] == 1
    assert page.post(CLIENT, {"client_id": "browser"}) == (200, {"user": None})
    assert (output / "rationalrewards/preferences/mine/picks.jsonl").is_file(), "where single users' picks are"


def test_a_user_that_the_server_does_not_know_is_refused(run: Any, page: Page, several_users: None) -> None:
    run(2)
    page.headers = {"comfy-user": "../anna_1"}
    for method, path, body in (
        ("GET", "/mine", None),
        ("POST", "/mine/export", {}),
        ("POST", CLIENT, {"client_id": "x"}),
    ):
        status, answer = page.ask(method, path, body)
        assert (status, answer["error"]) == (
            403,
            "This server does not know that user; reload the page and choose yours.",
        )
    page.headers = {}
    for body in ({}, {"client_id": 3}, {"client_id": "a b"}, {"client_id": "x" * 201}, []):
        assert page.post(CLIENT, body)[0] == 400


def test_without_several_users_a_name_changes_nothing(run: Any, page: Page, output: Path) -> None:
    page.headers = {"comfy-user": "anna_1"}
    assert page.post(CLIENT, {"client_id": "browser"}) == (200, {"user": None})
    run(2)
    assert page.get("/mine")[1]["waiting"] == 1
    assert [path.name for path in (output / "rationalrewards/preferences").iterdir()] == ["mine"]


def test_only_so_many_clients_are_remembered(pack: Pack) -> None:
    users = pack.module("nodes.preferences.users")
    known = users.ClientUsers()
    for number in range(users.KEPT_CLIENTS + 1):
        known.tell(str(number), "anna_1")
    assert (known.user_of("0"), known.user_of("1"), known.user_of(None)) == (None, "anna_1", None)


def test_a_disk_that_refuses_names_no_folder_of_the_server(
    run: Any, page: Page, pack: Pack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(2)
    store = pack.module("nodes.preferences.store").PreferenceStore

    def full(*_: Any) -> None:
        with pack.core("storage").storing(Path("/srv/secret/picks.jsonl")):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "book", full)
    sentence = "The server's disk refused it (No space left on device); ComfyUI's log says where."
    assert page.get("/mine") == (507, {"error": sentence})
    assert "/srv/secret" in caplog.text
