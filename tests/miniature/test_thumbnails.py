"""Every template has a picture of what it ends with, as the script makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from workflows.source.thumbnails import SIZE, write_thumbnails

pytestmark = pytest.mark.model
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


def test_every_template_has_a_small_picture_from_a_real_run(tmp_path: Path) -> None:
    write_thumbnails(tmp_path)
    templates = {file.stem for file in WORKFLOWS.glob("*.json")}
    for folder in (tmp_path, WORKFLOWS):
        pictures = {file.stem: file for file in folder.glob("*.jpg")}
        assert set(pictures) == templates
        for file in pictures.values():
            with Image.open(file) as picture:
                assert picture.size == SIZE
            assert file.stat().st_size < 60_000
