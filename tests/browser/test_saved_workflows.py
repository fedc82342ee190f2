"""Workflows that an earlier version saved open, and every value and wire in them means what it meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.test_workflows_open import meant
from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend

FILES = sorted((PACK / "tests" / "saved_workflows").glob("*/*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_saved_workflow_opens_unchanged(frontend: Frontend, file: Path) -> None:
    frontend.load(json.loads(file.read_text(encoding="utf-8")), file.stem)
    assert frontend.unknown_nodes() == []
    stored = meant(json.loads((file.parent / "api" / file.name).read_text(encoding="utf-8")))
    now = meant(frontend.prompt())
    assert now.keys() == stored.keys()
    for key, node in stored.items():
        assert now[key]["class_type"] == node["class_type"]
        assert now[key]["inputs"].items() >= node["inputs"].items(), f"{key}: new widgets have defaults, old ones stay"
    assert frontend.errors == []
