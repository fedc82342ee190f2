"""Shared fixtures: a critique to render, a picture, a scripted judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from rationalrewards_core import rubric_file
from rationalrewards_core.backends import profile_store
from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from tests.own_rubrics import use_own_rubrics

SERVER_FOLDER = "comfy"

use_own_rubrics(rubric_file)

# The same examples in every run, so that a change is judged by its own merits and not by the day's luck.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _no_server_is_known(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test finds out about servers is none of the user's, nor of the next test's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(profile_store, "cache_folder", lambda: folder)
    monkeypatch.setattr(profile_store, "_HERE", {})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, a file's tests stay together, and all that share ComfyUI servers do too.

    The server's tests take longest, so they begin first.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    root = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(root)
        item.add_marker(pytest.mark.xdist_group(SERVER_FOLDER if place.parts[0] == SERVER_FOLDER else str(place)))
    items.sort(key=lambda item: item.path.relative_to(root).parts[0] != SERVER_FOLDER)


@pytest.fixture
def picture() -> Image.Image:
    return Image.new("RGB", (32, 24), (200, 40, 40))


@pytest.fixture
def generation() -> Rubric:
    return generation_rubric()


@pytest.fixture
def edit() -> Rubric:
    return edit_rubric()


@pytest.fixture
def reply_text() -> Callable[..., str]:
    """A well-formed generation reply with the given scores and refined request."""

    def make(
        faithfulness: float = 3.0,
        quality: float = 3.5,
        text: float | None = None,
        *,
        refined: str = "a better request",
        analysis: str = "The user wants a picture.",
    ) -> str:
        critique = Critique(
            rubric="generation",
            analysis=analysis,
            judgements=(
                Judgement(key="text_faithfulness", justification="Most of it is there.", score=faithfulness),
                Judgement(key="physical_quality", justification="It looks clean.", score=quality),
                Judgement(key="text_rendering", justification="No text was asked for.", score=text),
            ),
            summary="Fine.",
            refinement=Refinement(comments="Say more.", request=refined),
        )
        return render_critique(critique, generation_rubric())

    return make
