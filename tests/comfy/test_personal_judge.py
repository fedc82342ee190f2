"""An adapter as `rationalrewards train judge` leaves it in ComfyUI's folder, in a real ComfyUI: its taste decides there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from PIL import Image

from rationalrewards_core.critique import render_critique
from rationalrewards_core.images import png_bytes
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.rubric_file import load_rubric
from tests.comfy.comfy_client import Client
from tests.comfy.conftest import one_mode
from tests.comfy.test_scorer_nodes import LOCAL, graph
from training.lab.teacher.sight import see
from training.parrot.chat import chat_rows
from training.personal.example_picks import TASTE, write_picks
from training.personal.placing import FOLDER, place
from training.sft.config import miniature
from training.sft.trainer import SftTrainer

pytestmark = [one_mode, pytest.mark.slow]
NAME = "mine"


def taught(folder: Path) -> Path:
    """The miniature after a few steps on what somebody who likes red writes of forty pictures."""
    picks = write_picks(folder / "picks", 20, 3)
    rubric = load_rubric(scorer_folder() / "rubric_generation.toml")
    (folder / "export" / "images").mkdir(parents=True)
    rows = []
    for row in map(json.loads, (picks / "pairs.jsonl").read_text().splitlines()):
        for name in (row["first"], row["second"]):
            picture = Image.open(picks / name)
            (folder / "export" / name).write_bytes(png_bytes(picture))
            messages = critique_messages(UserRequest(row["request"]), picture, rubric)
            answer = render_critique(see(row["request"], (picture,), taste=TASTE), rubric)
            rows.append({**chat_rows(messages, answer, [name], "chat"), "request_id": name, "split": "train"})
    (folder / "export" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(
        miniature(), export=str(folder / "export"), batch=8, micro_batch=8, max_steps=60, epochs=20.0, evaluate_every=0
    )
    return SftTrainer(config, folder / "sft").train()


@pytest.fixture(scope="module")
def adapter(models: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the adapter's combo shows."""
    made = taught(tmp_path_factory.mktemp("taught"))
    place(made, models / FOLDER.name / NAME)
    return f"{FOLDER.name}/{NAME}"


def rewards(client: Client, adapter: str) -> dict[str, float]:
    """Colour -> reward of a circle in it, of which the request says no colour."""
    found = {}
    for colour in (TASTE, "blue"):
        engine = {**LOCAL, "engine.checkpoint": "miniature", "engine.precision": "auto", "engine.adapter": adapter}
        prompt = graph("a large circle", **engine)
        prompt["picture"]["inputs"]["prompt"] = f"a large {colour} circle"
        run = client.run(prompt)
        assert run.status == "success", run.error
        found[colour] = float(run.text("shown"))
    return found


def test_the_adapter_is_listed_and_its_taste_decides(client: Client, adapter: str) -> None:
    option = next(
        one
        for one in client.get("/object_info/RR_LoadScorer")[1]["RR_LoadScorer"]["input"]["required"]["engine"][1][
            "options"
        ]
        if one["key"] == "local"
    )
    assert adapter in option["inputs"]["required"]["adapter"][1]["options"]
    base, mine = rewards(client, "none"), rewards(client, adapter)
    assert base[TASTE] == base["blue"] == 1.0
    assert mine[TASTE] > mine["blue"]
