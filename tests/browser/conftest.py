"""One real ComfyUI and one headless Chromium for all browser tests. Skipped, loudly, where one of them is missing.

COMFYUI_FRONTEND names another frontend than the one this ComfyUI comes with: the `static` folder of an unpacked
comfyui-frontend-package.

`make test` runs this folder in a process of its own (`testpaths` leaves it out): while Playwright lives, no other test of
its process could run an event loop.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comfy.comfy_server import PACK, ComfyServer, find_comfy
from tests.comfy.conftest import write_random
from tests.core.fault_server import FaultServer, serving
from tests.core.hub_server import HubServer, serving_hub
from tests.core.test_doctor import Judge
from workflows.source.frontend import Frontend, find_chromium, opened

PICTURES = PACK / "out" / "browser"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the tests' own that the server reads; empty until a test puts something there."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("checkpoints", "loras", "LLM"):
        (folder / kind).mkdir()
    return folder


@pytest.fixture(scope="session")
def checkpoint(address: str, models: Path) -> Iterator[str]:
    """Name of a random SD1.5 checkpoint in the server's model folder; 341 MB, gone after the tests."""
    comfy = find_comfy()
    assert not isinstance(comfy, str)
    target = models / "checkpoints" / "tiny_sd15.safetensors"
    write_random(comfy, "checkpoint", target)
    yield target.name
    target.unlink()


@pytest.fixture(scope="session")
def hub() -> Iterator[HubServer]:
    """What the server takes for the model hub."""
    with serving_hub() as running:
        yield running


@pytest.fixture(scope="session")
def judge_server() -> Iterator[FaultServer]:
    """What the name `tested` in the server's config file stands for: a judge that does everything right."""
    with serving(Judge()) as running:
        yield running


@pytest.fixture(scope="session")
def address(
    tmp_path_factory: pytest.TempPathFactory, models: Path, hub: HubServer, judge_server: FaultServer
) -> Iterator[str]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("NO PLAYWRIGHT: pip install playwright (the dev extra has it) to run the browser tests.")
    if find_chromium() is None:
        pytest.skip("NO CHROMIUM: install Debian's package `chromium` to run the browser tests.")
    comfy = find_comfy()
    if isinstance(comfy, str):
        pytest.skip(comfy)
    config = tmp_path_factory.mktemp("config")
    (config / "rationalrewards").mkdir()
    (config / "rationalrewards" / "config.toml").write_text(
        f'[servers.tested]\nurl = "http://127.0.0.1:{judge_server.port}/v1"\nmodel = "judge-8b"\nremember = false\n'
    )
    frontend_root = os.environ.get("COMFYUI_FRONTEND")
    arguments = ("--front-end-root", frontend_root) if frontend_root else ()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_ENDPOINT", hub.address)
        environment.setenv("XDG_CONFIG_HOME", str(config))
        server = ComfyServer(comfy, tmp_path_factory.mktemp("comfy_browser"), arguments, models=models)
    yield server.address
    server.stop()


@pytest.fixture(scope="session", params=[False, True], ids=["classic", "nodes_2"])
def frontend(request: pytest.FixtureRequest, address: str) -> Iterator[Frontend]:
    """The page, with the classic renderer and with Nodes 2.0."""
    with opened(address) as page:
        page.open(nodes_2=request.param)
        yield page


@pytest.fixture
def pictures(frontend: Frontend, request: pytest.FixtureRequest) -> Path:
    """Where a test leaves its screenshots for people to look at."""
    folder = PICTURES / str(request.node.callspec.id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
