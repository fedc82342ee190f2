"""A generator tuned by a judge: plan, one question, DiffusionNFT, and the LoRA where ComfyUI lists it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.storage import replace_file

from ..nft.__main__ import resolved
from ..nft.config import NFTConfig, changed
from ..nft.estimate import estimate
from ..pace import duration
from ..sft.artefacts import adapter_base
from .job import MINIATURE
from .probe import peak_gib

LORAS: Final = Path("models") / "loras"
EPOCHS: Final = 2
"""Of a dry run: the second one is timed."""


@dataclass(frozen=True, kw_only=True)
class GeneratorJob:
    """What a generator is tuned with."""

    judge: str
    """Adapter folder (its base is read from it), `miniature`, `local:FOLDER`, `server:NAME`, or any other that NFT takes."""
    run: Path
    preset: str = "single_24gb"
    config: Path | None = None
    settings: Sequence[str] = ()
    """KEY=VALUE of NFT's settings."""

    def nft(self) -> NFTConfig:
        """NFT's settings. ConfigError for what cannot be used."""
        return resolved(self.preset, self.config, [*_judge_words(self.judge), *self.settings])


def _judge_words(judge: str) -> list[str]:
    """How NFT is told the judge; settings of its own still win."""
    folder = Path(judge).expanduser()
    if (folder / "adapter" / "adapter_config.json").is_file():
        folder = folder / "adapter"
    if not (folder / "adapter_config.json").is_file():
        if judge != MINIATURE and ":" not in judge:
            raise ConfigError(
                f"--judge {judge} is no adapter folder, and no judge such as local:FOLDER or server:NAME."
            )
        return [f"rewards.judge={json.dumps(judge)}"]
    base = adapter_base(folder)
    from rationalrewards_core.miniature import scorer_folder

    engine = MINIATURE if Path(base) == scorer_folder() else f"local:{base}"
    return [f"rewards.judge={json.dumps(engine)}", f"rewards.adapter={json.dumps(str(folder))}"]


def generator_plan(job: GeneratorJob) -> str:
    """What will be done, in words; memory by rule."""
    config = job.nft()
    work = (
        f"  {config.run.epochs} epochs of {config.rollout.prompts} prompts, {config.rollout.group} pictures each, judged by "
        f"{config.rewards.judge}{' + ' + config.rewards.adapter if config.rewards.adapter else ''}"
    )
    return f"{work}\n{estimate(config, 1, 1)}"


def dry_run(job: GeneratorJob) -> Mapping[str, Any]:
    """Two real epochs in a folder that is thrown away: seconds of the second one, peak memory, time of the whole run."""
    from ..nft.train import train

    config = job.nft()
    short = changed(config, {"run": {"epochs": EPOCHS, "evaluate_every": 0, "save_every": EPOCHS}})
    folder = Path(tempfile.mkdtemp(prefix="rationalrewards-dry-"))
    started = time.monotonic()
    try:
        train(short, folder / "run")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = (time.monotonic() - started) / EPOCHS
    return {"epoch_seconds": seconds, "peak_gib": peak_gib(), "all": duration(seconds * config.run.epochs)}


def make_generator(job: GeneratorJob, comfyui: Path | None, name: str) -> tuple[Path, Path | None]:
    """Tune to the end, or go on. Returns the LoRA file (a folder after full tuning) and where ComfyUI finds it."""
    from ..nft.lora_file import FILE, PREVIEW
    from ..nft.train import train

    folder = Path(train(job.nft(), job.run))
    lora = folder / FILE
    if not lora.is_file():
        return folder, None
    if comfyui is None:
        return lora, None
    target = comfyui / LORAS / f"{name}.safetensors"
    for source, copy in ((lora, target), (folder / PREVIEW, target.with_suffix(".preview.png"))):
        if source.is_file():
            replace_file(copy, [source.read_bytes()])
    return lora, target
