"""The pack, loaded once into the stub, and a judge that answers from a script."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack, load_pack, stubbed
from tests.nodes.scripted_scorer import ScriptedScorer, images_of
from tests.own_rubrics import use_own_rubrics


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    with stubbed(tmp_path_factory.mktemp("comfy")):
        pack = load_pack()
        use_own_rubrics(pack.core("rubric_file"))
        yield pack


@pytest.fixture
def scorer(pack: Pack, reply_text: Callable[..., str]) -> Callable[..., ScriptedScorer]:
    """A scorer from replies, or from (faithfulness, quality, text) scores in the order of the images."""

    def make(*replies: Any) -> ScriptedScorer:
        return ScriptedScorer(pack, [reply_text(*r) if isinstance(r, tuple) else r for r in replies])

    return make


@pytest.fixture
def images() -> Callable[[int], Any]:
    return images_of


@pytest.fixture
def quiet(pack: Pack) -> Any:
    """No interrupt and no memories of other tests."""
    sys.modules["comfy.model_management"].interrupted = False
    pack.module("nodes.judge.scorers").MEMO._kept.clear()
    yield
    sys.modules["comfy.model_management"].interrupted = False
