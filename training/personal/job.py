"""What a personal judge is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.scorer import Scorer

from ..parrot.own_critiques import OwnSettings
from ..parrot.run import Rubrics
from ..settings import read_settings
from ..sft.config import SftConfig, changed, preset

MINIATURE = "miniature"
STEPS_PER_PASS = 8
"""Optimiser steps that one pass over the examples should make: few examples in large batches hardly move a judge."""

FEW, PASSES_OF_FEW = 200, 24.0
"""Examples below which a run passes over them so often; 8 passes over 56 gave half the gain of 24 on the miniature."""


@dataclass(frozen=True, kw_only=True)
class JudgeJob:
    """Everything that decides what comes out; saved in the run's folder, and refused if it changes there."""

    picks: Path
    """Folder that Preference Pick exported: a table with request, first, second, preference, beside its pictures."""
    base: str
    """`miniature`, or a checkpoint folder or cached hub id."""
    run: Path
    """Folder of everything that is made."""
    teacher: str = ""
    """Server that explains the picks; empty lets the base choose among its own critiques."""
    servers: Path | None = None
    """File that names servers; none is the user's own."""
    labels: str = "words"
    """How the table says which is better (see `Labels`)."""
    preset: str = ""
    """Fine-tuning preset; empty takes the one that suits the base."""
    config: Path | None = None
    """Fine-tuning settings that replace the preset's."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Fine-tuning settings that replace the file's."""
    own: OwnSettings = field(default_factory=OwnSettings)
    device: str = "auto"

    @property
    def engine(self) -> str:
        """The base as an engine's name."""
        return MINIATURE if self.base == MINIATURE else f"local:{self.base}"

    @property
    def export(self) -> Path:
        return self.run / "export"

    @property
    def adapter(self) -> Path:
        """Where fine-tuning leaves the finished adapter."""
        return self.run / "sft" / "adapter"

    def sft(self, examples: int) -> SftConfig:
        """Fine-tuning settings for so many examples. ConfigError for settings that cannot work."""
        name = self.preset or (MINIATURE if self.base == MINIATURE else "qwen3-vl-8b-qlora-24gb")
        config = replace(preset(name), export=str(self.export), epochs=None, device=self.device)
        if self.base != MINIATURE:
            config = replace(config, model=self.base)
        config = _fitting(config, examples)
        if self.config is not None:
            config = changed(config, read_settings(self.config), str(self.config))
        return changed(config, self.settings, "--set")

    def scorer(self, *, adapter: Path | None = None) -> Scorer:
        """The base, or with its adapter, at the precision that it is trained in."""
        sft = self.sft(0)
        options = EngineOptions(
            precision=sft.precision, adapter=None if adapter is None else str(adapter), device=self.device,
            max_pixels=sft.max_pixels, batch_size=sft.dev_batch, download=sft.download,
        )  # fmt: skip
        return make_scorer(self.engine, options)

    def to_json(self) -> dict[str, Any]:
        """What must stay the same for a run to go on."""
        table = asdict(self)
        for key in ("run", "device", "servers"):
            table.pop(key)
        return {key: str(value) if isinstance(value, Path) else value for key, value in table.items()}


def rubrics_of(scorer: Scorer) -> Rubrics:
    """The base's own rubrics: its student is asked in the same."""
    return Rubrics(generation=scorer.rubrics["generation"], edit=scorer.rubrics["edit"])


def _fitting(config: SftConfig, examples: int) -> SftConfig:
    """The same with batches that few examples fill often enough."""
    if not examples:
        return config
    batch = max(4, min(config.batch, examples // STEPS_PER_PASS))
    micro = min(config.micro_batch, batch)
    epochs = PASSES_OF_FEW if examples < FEW else None
    return replace(config, batch=batch - batch % micro, micro_batch=micro, epochs=epochs)


def check_base(job: JudgeJob) -> None:
    """ConfigError before anything long if the base is no folder and no hub id."""
    path = Path(job.base).expanduser()
    if job.base == MINIATURE or path.is_dir():
        return
    if path.exists() or job.base.startswith((".", "/", "~")):
        raise ConfigError(f"--base {job.base} is no checkpoint folder; name one, a hub id, or `miniature`.")
