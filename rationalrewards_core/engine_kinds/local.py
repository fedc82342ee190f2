"""`local:FOLDER_OR_ID`: a Qwen-VL-class checkpoint in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..backends.base import Backend
from ..errors import ConfigError
from . import EngineOptions

LOCAL_BATCH: Final = 8


def backend(target: str, options: EngineOptions) -> Backend:
    return checkpoint_backend(_checkpoint(target), options)


def checkpoint_backend(model: str, options: EngineOptions) -> Backend:
    """The backend of a checkpoint folder or hub id."""
    from ..backends.checkpoint import CheckpointConfig
    from ..backends.transformers_local import TransformersLocal

    config = CheckpointConfig(
        model=model,
        precision=options.precision,  # type: ignore[arg-type]
        adapter=options.adapter,
        device=options.device,
        max_pixels=options.max_pixels,
        download=options.download,
    )
    return TransformersLocal(config, batch_size=LOCAL_BATCH if options.batch_size is None else options.batch_size)


def _checkpoint(target: str) -> str:
    """The folder as it is on disk, or the hub id as it was typed; a missing folder is told at once."""
    path = Path(target).expanduser()
    if path.is_dir():
        return str(path)
    if path.is_absolute() or target.startswith(".") or "\\" in target:
        raise ConfigError(f"There is no checkpoint folder {target!r}.")
    return target


def rubric_folder(target: str, options: EngineOptions) -> Path:
    return Path(target).expanduser()


def scope(adapter: str | None) -> None:
    return None
