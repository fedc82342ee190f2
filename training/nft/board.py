"""TensorBoard and Weights & Biases, for those who have them installed; `metrics.jsonl` and `live.html` are written anyway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError


class Board:
    """Hands figures on: to TensorBoard below a folder, and to a project of Weights & Biases; does nothing without either.

    What Weights & Biases is told beside the figures is the run's name alone; `wandb login` and `WANDB_MODE=offline` are its
    own. ConfigError if a package is missing, or it refuses.
    """

    def __init__(self, folder: Path | None, project: str = "", run: Path | None = None) -> None:
        self._events: Any = None if folder is None else _tensorboard(folder)
        self._project: Any = _wandb(project, run) if project else None

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, epoch)
        if self._project is not None:
            self._project.log(dict(figures), step=epoch)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        if self._project is not None:
            self._project.finish()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("run.tensorboard needs the package tensorboard: pip install tensorboard.") from error
    return SummaryWriter(str(folder))


def _wandb(project: str, run: Path | None) -> Any:
    """A run there; one of the same folder's name goes on."""
    try:
        import wandb
    except ImportError as error:
        raise ConfigError("run.wandb needs the package wandb: pip install wandb.") from error
    folder = Path() if run is None else run
    try:
        return wandb.init(project=project, name=folder.name, id=folder.name or None, resume="allow", dir=str(folder))
    except wandb.Error as error:
        raise ConfigError(f"run.wandb: {error}; log in with `wandb login`, or set WANDB_MODE=offline.") from error
