"""Workflows that an earlier version saved run as they are: `tests/saved_workflows/<month>`, never changed, only added to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.comfy.comfy_client import Client
from tests.comfy.comfy_server import PACK
from tests.comfy.conftest import one_mode
from tests.comfy.test_workflows import check_loop, needs_models, nodes_of, read

FILES = sorted((PACK / "tests" / "saved_workflows").glob("*/api/*.json"))
RUNNABLE = [file for file in FILES if not needs_models(file)]


@one_mode
@pytest.mark.parametrize("file", RUNNABLE, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_a_saved_prompt_runs_unchanged(client: Client, file: Path) -> None:
    prompt = read(file)
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    for node_id in nodes_of(prompt, "PreviewImage") + nodes_of(prompt, "SaveImage"):
        assert run.ui(node_id, "images"), f"{node_id} showed no image"
    for node_id in nodes_of(prompt, "RR_LoopUntilScore"):
        check_loop(prompt, run, node_id)
