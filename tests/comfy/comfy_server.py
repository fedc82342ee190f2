"""A real ComfyUI for the tests: where it is, and one running with this pack, the test nodes and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
TEST_PACK = Path(__file__).parent / "test_pack"
START_SECONDS = 240
"""A busy machine takes a minute to import torch."""

CACHE_MODES: dict[str, tuple[str, ...]] = {
    "default": (),
    "classic": ("--cache-classic",),
    "lru": ("--cache-lru", "50"),
    "none": ("--cache-none",),
}


@dataclass(frozen=True, kw_only=True)
class Comfy:
    """A ComfyUI on this machine."""

    folder: Path
    python: Path

    @property
    def version(self) -> tuple[int, ...]:
        text = (self.folder / "comfyui_version.py").read_text()
        return tuple(int(part) for part in text.split('"')[-2].split(".")[:3])

    @property
    def keeps_copies(self) -> bool:
        """Whether the default cache still holds an expanded node when the next prompt runs (it was classic once)."""
        return self.version < (0, 23)


def find_comfy() -> Comfy | str:
    """COMFYUI_PATH, else the tree this pack is installed in, else ~/comfy/ComfyUI; or a sentence why there is none."""
    named = os.environ.get("COMFYUI_PATH")
    places = [Path(named).expanduser()] if named else [PACK.parents[1], Path.home() / "comfy" / "ComfyUI"]
    folder = next((place for place in places if (place / "main.py").is_file() and (place / "comfy").is_dir()), None)
    if folder is None:
        tried = ", ".join(map(str, places))
        return f"NO COMFYUI FOUND ({tried}): set COMFYUI_PATH to run the tests against a real server."
    chosen = os.environ.get("COMFYUI_PYTHON")
    pythons = [Path(chosen)] if chosen else [at / "bin" / "python" for at in _environments(folder)]
    python = next((python for python in pythons if python.is_file()), None)
    if python is None:
        return f"NO PYTHON FOUND FOR {folder}: set COMFYUI_PYTHON to the interpreter that runs it."
    return Comfy(folder=folder, python=python)


def _environments(folder: Path) -> list[Path]:
    return [folder / ".venv", folder / "venv", folder.parent / ".venv"]


class ComfyServer:
    """One server process, with folders of its own."""

    def __init__(
        self,
        comfy: Comfy,
        folder: Path,
        arguments: Sequence[str] = (),
        models: Path | None = None,
        pack: Path = PACK,
    ) -> None:
        """`folder` takes everything the server writes. `models` is a folder with `checkpoints` and the like.

        `pack` is the tree of the pack that it runs.
        """
        self.comfy, self.folder, self._pack = comfy, folder, pack
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.temp = folder / "temp" / "temp"  # the server puts another `temp` into the folder it is given
        self._log = folder / "server.log"
        self._arguments, self._models = arguments, models
        self.start()

    def start(self) -> None:
        """Again, on the same port and with the same folders, after `stop`."""
        self._process = self._start(self._arguments, self._models)
        self._wait()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self, arguments: Sequence[str], models: Path | None) -> subprocess.Popen[bytes]:
        names = self._link_packs()
        for name in ("user", "output", "input", "temp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        paths = self.folder / "paths.yaml"
        paths.write_text(_paths_yaml(self.folder, models))
        command = [
            *(str(self.comfy.python), "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port)),
            *(f"--{name}-directory={self.folder / name}" for name in ("user", "output", "input", "temp")),
            *("--database-url", f"sqlite:///{self.folder / 'comfyui.db'}"),
            *("--extra-model-paths-config", str(paths), "--disable-api-nodes"),
            *("--disable-all-custom-nodes", "--whitelist-custom-nodes", *names),
            *arguments,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command, cwd=self.comfy.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def _link_packs(self) -> list[str]:
        """Folder names of the pack and the test nodes; a pack that is installed in this ComfyUI is not linked twice."""
        packs = self.folder / "custom_nodes"
        packs.mkdir(parents=True, exist_ok=True)
        _link(packs / "rr_test_pack", TEST_PACK)
        if self._pack.parent == (self.comfy.folder / "custom_nodes").resolve():
            return ["rr_test_pack", self._pack.name]
        _link(packs / "rationalrewards", self._pack)
        return ["rr_test_pack", "rationalrewards"]

    def _wait(self) -> None:
        """Until the server answers. RuntimeError with the end of its log if it never does."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
        self.stop()
        raise RuntimeError(f"ComfyUI did not start:\n{self.log()[-3000:]}")


def _link(name: Path, target: Path) -> None:
    if not name.exists():
        name.symlink_to(target, target_is_directory=True)


def _paths_yaml(folder: Path, models: Path | None) -> str:
    lines = ["rationalrewards_tests:", f"  base_path: {folder}", "  custom_nodes: custom_nodes"]
    if models is not None:
        kinds = sorted(kind.name for kind in models.iterdir() if kind.is_dir())
        lines += ["rationalrewards_models:", f"  base_path: {models}", *(f"  {kind}: {kind}" for kind in kinds)]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
