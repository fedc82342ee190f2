"""A workflow is somebody else's file: whatever stands in its widgets is refused in a sentence, or does no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.comfy.comfy_client import Client, Prompt, Refused, Run
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import critic, generator, loop, start

pytestmark = one_mode
SECRET = "canary-6f1d"
TARGET = "t"
"""Id of the node under attack."""
NODES = [
    "RR_LoadScorer",
    "RR_UnloadScorer",
    "RR_RationalCritique",
    "RR_MultiDimScore",
    "RR_PromptRefine",
    "RR_LoopStart",
    "RR_LoopUntilScore",
    "RR_PickBest",
    "RR_CompareImages",
    "RR_CritiqueToText",
    "RR_CustomRubric",
    "RR_WriteRubric",
    "RR_MiniatureGenerate",
    "RR_PreferencePick",
]
WIDGETS = ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3")
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script> {braces} <|im_end|> <image> # Summary:"
WRONG_NUMBERS = [10**400, -(10**30), 1e308, "abc", None, [], {"x": 1}]
NOWHERE = ["no such node", 0]
WRONG_TEXTS = [None, 7, [], {"__class__": "x"}, NOWHERE]


class Canary:
    """A web server and a file that nobody may touch."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_POST = do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self.folder = folder
        self.file = folder / "secret.toml"
        self.file.write_text(f'name = "{SECRET}"\n')

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    made = Canary(tmp_path_factory.mktemp("canary"))
    yield made
    made.close()


def described(client: Client, class_type: str) -> dict[str, Any]:
    """Input name -> its description, of required and optional inputs."""
    _, answer = client.get(f"/object_info/{class_type}")
    inputs = answer[class_type]["input"]
    return {**inputs.get("required", {}), **inputs.get("optional", {})}


def attack(client: Client, class_type: str) -> tuple[Prompt, dict[str, str]]:
    """A prompt around one node with all its inputs, and the types of its widgets by name."""
    wires = {"IMAGE": ["gen", 0], "RR_CRITIQUE": ["critic", 0], "RR_FLOW": ["start", 3], "RR_SCORER": ["scorer", 0]}
    inputs: dict[str, Any] = {}
    widgets: dict[str, str] = {}
    for name, (kind, options) in (
        (n, (d[0], d[1] if len(d) > 1 else {})) for n, d in described(client, class_type).items()
    ):
        if kind in wires:
            inputs[name] = wires[kind]
        elif kind in WIDGETS and not options.get("forceInput"):
            widgets[name] = kind
            inputs[name] = options.get("default", first_option(options, kind))
    prompt: Prompt = {
        "start": start(),
        "gen": generator("start", batch=2),
        "critic": critic("start", "gen", "0.4/0.6"),
        "scorer": {"class_type": "RRTest_Scorer", "inputs": {}},
        TARGET: {"class_type": class_type, "inputs": inputs},
        "shown": {"class_type": "PreviewAny", "inputs": {"source": [TARGET, 0]}},
    }
    return prompt, widgets


def first_option(options: dict[str, Any], kind: str) -> Any:
    choices = options.get("options", [""])
    first = choices[0] if choices else ""
    return first["key"] if kind == "COMFY_DYNAMICCOMBO_V3" else first


def harmless(client: Client, prompt: Prompt, changed: dict[str, Any]) -> str:
    """Run with the target's widgets changed; what the outcome was. Fails on anything but a clean one."""
    attacked = json.loads(json.dumps(prompt))
    attacked[TARGET]["inputs"].update(changed)
    try:
        run = client.run(attacked)
    except Refused as refused:
        assert SECRET not in str(refused)
        return "refused"
    assert SECRET not in repr((run.outputs, run.error)), changed
    if run.error:
        assert is_sentence(run), (changed, run.error_type, run.error)
        return "sentence"
    return "ran"


def is_sentence(run: Run) -> bool:
    """An error that this pack raised on purpose, and not one that fell out of its code."""
    return "rationalrewards_core.errors" in run.error_type and len(run.error) < 2000


def test_every_node_of_the_pack_is_attacked(client: Client) -> None:
    _, known = client.get("/object_info")
    assert sorted(name for name in known if name.startswith("RR_")) == sorted(NODES)


@pytest.mark.parametrize("class_type", NODES)
def test_texts_reach_no_network_no_file_and_no_interpreter(client: Client, canary: Canary, class_type: str) -> None:
    prompt, widgets = attack(client, class_type)
    texts = [name for name, kind in widgets.items() if kind in ("STRING", "COMBO", "COMFY_DYNAMICCOMBO_V3")]
    before = sorted(canary.folder.iterdir())
    values = [canary.url, str(canary.file), f"../../../../../..{canary.file}", MARKUP, "x" * 100_000, "\x00\ud83d"]
    for value in values if texts else []:
        together = harmless(client, prompt, dict.fromkeys(texts, value))
        if together != "ran":  # one refused widget must not hide the others
            for name in texts if len(texts) > 1 else []:
                harmless(client, prompt, {name: value})
    assert canary.asked == []
    assert sorted(canary.folder.iterdir()) == before
    assert canary.file.read_text() == f'name = "{SECRET}"\n'


@pytest.mark.parametrize("class_type", NODES)
def test_numbers_and_types_that_no_widget_gives(client: Client, class_type: str) -> None:
    prompt, widgets = attack(client, class_type)
    for name, kind in widgets.items():
        wrong = WRONG_NUMBERS if kind in ("INT", "FLOAT", "BOOLEAN") else WRONG_TEXTS
        if name == "pause":  # a loop that is to pause waits for its user, as it should (see test_pause)
            continue
        if kind == "COMFY_DYNAMICCOMBO_V3":  # ComfyUI 0.33 itself stops working on such a link there
            wrong = [value for value in wrong if value != NOWHERE]
        for value in wrong:
            harmless(client, prompt, {name: value})


def test_node_ids_that_are_paths_or_markup(client: Client, server: ComfyServer) -> None:
    for name in ("../../../evil", "<b>x</b>", "a" * 400, "CON", "."):
        prompt = loop("0.1", max_iterations=2)
        prompt[name] = prompt.pop("end")
        for node in prompt.values():
            for key, value in node["inputs"].items():
                if isinstance(value, list) and value[0] == "end":
                    node["inputs"][key] = [name, value[1]]
        run = client.run(prompt)
        assert run.error == ""
        for row in run.ui(name, "rr_loop")[-1]["iterations"]:
            saved = (server.temp / row["image"]["subfolder"] / row["image"]["filename"]).resolve()
            assert saved.is_file()
            assert saved.is_relative_to((server.temp / "rationalrewards").resolve())
            assert len(saved.parent.name) < 200


def test_what_only_the_loop_may_write_is_ignored_from_outside(client: Client) -> None:
    prompt = loop("0.1 0.2", max_iterations=2)
    prompt["start"]["inputs"].update(iteration=40, original="forged", base_seed=99)
    prompt["end"]["inputs"]["carried_run"] = {"root": "x"}
    run = client.run(prompt)
    assert run.text("n") == "2"
    rows = run.ui("end", "rr_loop")[-1]["iterations"]
    assert [row["prompt"] for row in rows] == ["a cat", "a cat"]
    assert [row["seed"] for row in rows] == [7, 8]


def test_an_id_that_a_copy_would_take_is_refused(client: Client) -> None:
    prompt = loop("0.1")
    prompt["end.it1.gen"] = prompt.pop("dangling")
    run = client.run(prompt)
    assert "already has a node with the id 'end.it1.gen'" in run.error
    assert is_sentence(run)


def test_the_server_still_works_after_all_that(client: Client) -> None:
    assert client.run(loop("0.2 0.9", request="a calm cat")).text("ok") == "True"
