"""TensorBoard, for those who have it installed; `metrics.jsonl` is written either way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError


class Board:
    """Writes scalars below a folder; does nothing without one."""

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("run.tensorboard needs the package tensorboard: pip install tensorboard.") from error
        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, epoch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
