"""Preference Pick on a real server: asked by a run, answered after it, found again by another server, and imported."""

from __future__ import annotations

import json
from typing import Any

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from training.data.pairs import read_pairs
from training.parrot.__main__ import main as parrot

pytestmark = one_mode
BASE = "/rationalrewards/preferences"


def asking(dataset: str, *, count: int = 3, seed: int = 0) -> Prompt:
    """Edits of one picture, of which some seeds went wrong, to choose from."""
    edit = "make the circle green"
    generate = {"prompt": "a large red circle", "seed": seed, "batch_size": count, "scale": 1}
    return {
        "gen": {
            "class_type": "RR_MiniatureGenerate",
            "inputs": {**generate, "method": "render an edit", "edit": edit},
        },
        "one": {"class_type": "ImageFromBatch", "inputs": {"image": ["gen", 1], "batch_index": 0, "length": 1}},
        "pick": {
            "class_type": "RR_PreferencePick",
            "inputs": {"images": ["gen", 0], "source_image": ["one", 0], "prompt": edit, "dataset": dataset},
        },
        "said": {"class_type": "PreviewAny", "inputs": {"source": ["pick", 1]}},
    }


def ask(client: Client, dataset: str, **changed: Any) -> str:
    run = client.run(asking(dataset, **changed))
    assert run.error == ""
    ((shown),) = run.ui("pick", "rr_preference")
    assert shown["dataset"] == dataset
    return str(shown["question"])


def test_a_run_asks_and_a_click_after_it_becomes_a_pair(client: Client, server: ComfyServer) -> None:
    first, second = ask(client, "browser"), ask(client, "browser", count=2, seed=5)
    status, state = client.get(f"{BASE}/browser")
    assert (status, state["waiting"], state["question"]["key"]) == (200, 2, first)
    status, picture = client.get("/view?" + "&".join(f"{k}={v}" for k, v in state["question"]["images"][0].items()))
    assert (status, picture[:4]) == (200, b"\x89PNG")
    status, state = client.post(f"{BASE}/browser/pick", {"question": first, "choice": 1})
    assert (status, state["question"]["key"], state["pairs"]) == (200, second, 2)
    client.post(f"{BASE}/browser/pick", {"question": second, "choice": "tie"})
    status, done = client.post(f"{BASE}/browser/export", {})
    assert (status, done["pairs"]) == (200, 3)
    folder, run = server.folder / "output" / done["folder"], server.folder / "parrot"
    assert parrot(["import", "folder", str(folder), "--run", str(run)]) == 0
    pairs = list(read_pairs([run / "pairs" / "folder.jsonl"]))
    assert [pair.preference.value for pair in pairs] == ["B", "A", "TIE"]
    assert {(pair.kind, pair.request) for pair in pairs} == {("edit", "make the circle green")}


def test_a_question_that_was_answered_is_not_asked_again(client: Client) -> None:
    key = ask(client, "again")
    client.post(f"{BASE}/again/pick", {"question": key, "choice": 0})
    assert ask(client, "again") == key, "from the cache"
    ask(client, "again", seed=9)
    assert ask(client, "again") == key
    assert client.get(f"{BASE}/again")[1]["answered"] == 1


def test_hostile_names_and_batches_fail_in_a_sentence(client: Client, server: ComfyServer) -> None:
    for name in ("../../escaped", "a/b", "", "nul"):
        run = client.run(asking(name))
        assert run.error.startswith("Name the data set with letters"), run.error
    assert client.run(asking("few", count=1)).error == "Preference Pick takes 2 to 8 images, not 1."
    assert not list(server.folder.rglob("escaped*"))
    for name in ("..%2f..%2fescaped", "%5c..%5cx", "a%20b"):
        status, answer = client.get(f"{BASE}/{name}")
        assert (status, json.dumps(answer).startswith('{"error": "Name the data set')) == (400, True)
