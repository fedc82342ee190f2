"""Preference Pick on a real server with `--multi-user`: two users in one data set's name, and a program that names none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.comfy.comfy_client import Client
from tests.comfy.comfy_server import Comfy, ComfyServer
from tests.comfy.test_preferences import BASE, ask


@pytest.fixture(scope="module")
def several(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    running = ComfyServer(comfy, tmp_path_factory.mktemp("several"), ["--multi-user"])
    yield running
    running.stop()


def signed_in(server: ComfyServer, name: str) -> Client:
    """A page of a user of this name, which has told whose it is as ours does."""
    user = Client(server.address).post("/users", {"username": name})[1]
    page = Client(server.address, user)
    assert page.post("/rationalrewards/client", {"client_id": page.client_id}) == (200, {"user": user})
    return page


def test_two_users_pick_each_for_themselves(several: ComfyServer) -> None:
    anna, berta, program = signed_in(several, "Anna"), signed_in(several, "Berta B."), Client(several.address)
    first = ask(anna, "shared")
    assert berta.get(f"{BASE}/shared")[0] == 404
    assert ask(berta, "shared") == first, "the same graph asks another user, too: it is not the cache that answers"
    assert berta.post(f"{BASE}/shared/pick", {"question": first, "choice": 1})[1]["answered"] == 1
    state = anna.get(f"{BASE}/shared")[1]
    assert (state["waiting"], state["answered"], state["question"]["key"]) == (1, 0, first)
    picture = "/view?" + "&".join(f"{k}={v}" for k, v in state["question"]["images"][0].items())
    assert anna.get(picture)[0] == 200
    done = berta.post(f"{BASE}/shared/export", {})[1]
    assert done["pairs"] == 2
    assert "/@Berta-B-" in done["folder"]
    assert (several.folder / "output" / done["folder"] / "pairs.jsonl").is_file()
    assert anna.post(f"{BASE}/shared/export", {})[1]["pairs"] == 0
    # Whoever names no user has the place that a server of one user has.
    assert program.get(f"{BASE}/shared")[0] == 404
    ask(program, "shared")
    assert program.get(f"{BASE}/shared")[1]["waiting"] == 1
    assert (several.folder / "output/rationalrewards/preferences/shared/picks.jsonl").is_file()
    status, answer = Client(several.address, "nobody_0").get(f"{BASE}/shared")
    assert (status, answer["error"].startswith("This server does not know that user")) == (403, True)
