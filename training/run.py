"""A run directory: everything a training run leaves behind, readable by a person.

config.json     the resolved configuration
metrics.jsonl   one line per logged step
samples/        pictures and texts produced on the way
state.pt        the newest checkpoint, replaced atomically
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger("rationalrewards.training")


class RunDir:
    """Creates the directory, saves the configuration, appends metrics, keeps one checkpoint.

    A directory that holds a run with another configuration is refused: resuming must continue
    the same run, never silently a different one.
    """

    def __init__(self, path: Path, config: Any) -> None:
        self.path = path
        self.samples = path / "samples"
        self.samples.mkdir(parents=True, exist_ok=True)
        self._state = path / "state.pt"
        resolved = json.dumps(asdict(config), indent=2, sort_keys=True)
        saved = path / "config.json"
        if saved.exists() and saved.read_text() != resolved:
            raise SystemExit(f"{path} holds a run with another configuration; choose another --run or delete it.")
        saved.write_text(resolved)
        self._started = time.monotonic()

    def log(self, step: int, **metrics: float | str) -> None:
        """Append one line of metrics; `seconds` is the time since this process started."""
        line = {"step": step, "seconds": round(time.monotonic() - self._started, 1), **metrics}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = " ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items())
        log.info("%s", shown)

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a crash while writing leaves the old one in place."""
        temporary = self._state.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self._state)

    def load_state(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None at the start of a run."""
        if not self._state.exists():
            return None
        state: dict[str, Any] = torch.load(self._state, weights_only=True)
        return state
