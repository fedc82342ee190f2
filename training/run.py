"""A run directory: everything a training run leaves behind, readable by a person.

config.json          the resolved configuration
metrics.jsonl        one line per logged step
live.html            the run as a page that refreshes itself
samples/             pictures and texts produced on the way
state.pt             the newest checkpoint, replaced atomically
state.previous.pt    the one before it
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rationalrewards_core.errors import ConfigError, StorageError
from rationalrewards_core.jsonl import LineWriter
from rationalrewards_core.storage import clear_unfinished, replacing, storing

from .live_page import FILE as PAGE
from .live_page import write_live_page
from .run_settings import settle

log = logging.getLogger("rationalrewards.training")

CONFIG, METRICS, STATE, PREVIOUS = "config.json", "metrics.jsonl", "state.pt", "state.previous.pt"
LIVE_SECONDS = 5.0
"""Between two makings of the run's page."""
_DAMAGE = (RuntimeError, EOFError, ValueError, LookupError, AttributeError, pickle.UnpicklingError)
"""What `torch.load` raises for a file that is no checkpoint, or only a part of one."""


class RunDir:
    """Creates the directory, saves the configuration, appends metrics, keeps two checkpoints.

    A directory that holds a run with another configuration is refused (resuming must continue the same run, never
    silently a different one; but for how long it runs), unless that run saved nothing; so is one in which another process trains.
    """

    def __init__(
        self,
        path: Path,
        config: Any,
        *,
        writes: bool = True,
        saved_files: Sequence[str] = (),
        free: Collection[str] = (),
    ) -> None:
        """`writes` is for the main process of several; `saved_files` are patterns of what else counts as saved.

        `free` are the settings, as `group.key`, that a run may go on with others of: how long it runs, what it shows.
        """
        self.path = path
        self.samples = path / "samples"
        self._state, self._previous = path / STATE, path / PREVIOUS
        self._saved_files = (STATE, PREVIOUS, *saved_files)
        self._sound = True
        """Whether state.pt may be kept as the checkpoint before the next one."""
        self.total: int | None = None
        """The last step, once it is known: the page tells the time that is left."""
        self._started = time.monotonic()
        self._page_time: float | None = None
        self._metrics: LineWriter | None = None
        if not writes:
            return
        with storing(path):
            self.samples.mkdir(parents=True, exist_ok=True)
        busy = f"Another process is training in {path}; wait until it has ended, or choose another --run."
        self._metrics = LineWriter(path / METRICS, busy=busy)
        try:
            clear_unfinished(path)
            self._settle(config, free)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process train here."""
        if self._metrics is not None:
            if (self.path / PAGE).exists():
                write_live_page(self.path, self.path / METRICS, self.samples, self.total, running=False)
            self._metrics.close()

    def log(self, step: int, **metrics: float | str) -> None:
        """Append one line of metrics; `seconds` is the time since this process started."""
        assert self._metrics is not None, "only the process that writes logs"
        line = {"step": step, "seconds": round(time.monotonic() - self._started, 1), **metrics}
        self._metrics.append(line)
        if self._page_time is None or time.monotonic() - self._page_time >= LIVE_SECONDS:
            write_live_page(self.path, self.path / METRICS, self.samples, self.total)
            self._page_time = time.monotonic()
        text = " ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items())
        log.info("%s", text)

    def forget_after(self, step: int) -> None:
        """Drop the metrics of later steps, which a killed run logged after its last checkpoint (-1: of all)."""
        if self._metrics is not None:
            self._metrics.keep(lambda row: bool(row["step"] <= step))

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint, keeping the one before it; a crash while writing leaves both in place."""
        with replacing(self._state, self._previous if self._sound else None) as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:  # torch's own words for a write that failed
                raise StorageError(f"{self._state} cannot be written; free some space, then run it again.") from error
        self._sound = True

    def save_parts(self, parts: Mapping[str, Any], step: int) -> None:
        """`save_state` of a model, an optimiser and what else has a `state_dict`, after that many steps."""
        self.save_state({**{name: part.state_dict() for name, part in parts.items()}, "step": step})

    def resume(self, parts: Mapping[str, Any]) -> int:
        """Put the newest checkpoint that `save_parts` wrote into the parts; the step to go on with, 0 at the start of a run."""
        state = self.load_state()
        start = 0
        if state is not None:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            start = int(state["step"])
        self.forget_after(start)
        return start

    def load_state(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None at the start of a run. ConfigError if all are damaged."""
        damaged: list[str] = []
        for file in (self._state, self._previous):
            if not file.exists():
                continue
            try:
                with storing(file):
                    state: dict[str, Any] = torch.load(file, weights_only=True)
            except _DAMAGE as error:
                damaged.append(f"{file} is damaged, or no checkpoint ({_short(error)})")
                self._sound = False
                continue
            if damaged:
                log.warning("%s; going on from the checkpoint before it.", damaged[0])
            return state
        if damaged:
            raise ConfigError(f"{'; '.join(damaged)}; delete it to begin anew, or choose another --run.")
        return None

    def _settle(self, config: Any, free: Collection[str]) -> None:
        begun = any(next(self.path.glob(pattern), None) is not None for pattern in self._saved_files)
        settle(
            self.path / CONFIG,
            asdict(config),
            begun=begun,
            holds=f"{self.path} holds a run with another configuration",
            advice="choose another --run or delete it",
            free=free,
        )


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
