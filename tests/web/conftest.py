"""Schemas of all nodes, read once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nodes.comfy_stub import load_pack, stubbed
from tests.web.node_schemas import schemas_of


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with stubbed(tmp_path_factory.mktemp("comfy")):
        return schemas_of(load_pack())
