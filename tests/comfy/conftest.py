"""One real ComfyUI at a time, per cache mode, with the pack in it. Skipped, loudly, where there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comfy.comfy_client import Client
from tests.comfy.comfy_server import CACHE_MODES, Comfy, ComfyServer, find_comfy


@pytest.fixture(scope="session")
def comfy() -> Comfy:
    found = find_comfy()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session", params=list(CACHE_MODES))
def cache_mode(request: pytest.FixtureRequest, comfy: Comfy) -> str:
    """Pytest runs all tests of one mode before those of the next, so that one server runs at a time."""
    if request.param == "classic" and comfy.keeps_copies:
        pytest.skip("this ComfyUI's default cache is the classic one")
    return str(request.param)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the tests' own that every server reads; empty until a test puts something there."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("checkpoints", "diffusion_models", "loras", "rationalrewards", "vae"):
        (folder / kind).mkdir()
    return folder


@pytest.fixture(scope="session")
def checkpoint(comfy: Comfy, models: Path) -> Iterator[str]:
    """Name of a random checkpoint in the server's model folder; 341 MB, gone after the tests."""
    target = models / "checkpoints" / "tiny_sd15.safetensors"
    write_random(comfy, "checkpoint", target)
    yield target.name
    target.unlink()


def write_random(comfy: Comfy, kind: str, target: Path) -> None:
    """`kind` is one of `tiny_checkpoint.KINDS`, whose shapes only ComfyUI's own classes know."""
    script = Path(__file__).with_name("tiny_checkpoint.py")
    subprocess.run([comfy.python, script, kind, target], cwd=comfy.folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def server(
    comfy: Comfy, cache_mode: str, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyServer]:
    running = ComfyServer(comfy, tmp_path_factory.mktemp(f"comfy_{cache_mode}"), CACHE_MODES[cache_mode], models)
    yield running
    running.stop()


@pytest.fixture
def client(server: ComfyServer) -> Client:
    return Client(server.address)


one_mode = pytest.mark.parametrize("cache_mode", ["default"], indirect=True, scope="session")
"""For tests that have nothing to do with caching."""
