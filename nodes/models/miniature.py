"""The miniature generator inside ComfyUI: loaded once, in its model management, interrupted between pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...rationalrewards_core.miniature import generator_folder

if TYPE_CHECKING:
    from ...rationalrewards_core.miniature.generator import MiniatureGenerator

Tuning = tuple[Path, float]
"""A LoRA file of the generator, and its strength."""
TOGETHER = 4
"""Pictures drawn in one call; an interrupt is obeyed between calls."""


class ResidentGenerator:
    """The generator as an occupant of ComfyUI's memory (see `patcher.Occupant`). It computes on the CPU."""

    title = "MiniatureGenerator"

    def __init__(self) -> None:
        self._generator: MiniatureGenerator | None = None
        self._tuned: tuple[Tuning, int] | None = None
        self._patcher: Any = None

    @property
    def present(self) -> bool:
        return self._generator is not None

    @property
    def size(self) -> int:
        """Its weight files are float32, as it is in memory."""
        return sum(file.stat().st_size for file in generator_folder().rglob("*.safetensors"))

    def enter(self) -> None:
        """ConfigError when the weights or the packages for them are missing."""
        import torch

        from ...rationalrewards_core.miniature.generator import MiniatureGenerator

        if self._generator is None:
            with torch.inference_mode(False):
                self._generator = MiniatureGenerator.load(generator_folder())

    def leave(self) -> None:
        self._generator = self._tuned = None

    def tune(self, tuning: Tuning | None) -> None:
        """Draw with this LoRA, or as shipped; a file that was written again is read again."""
        import torch

        target = None if tuning is None else (tuning, tuning[0].stat().st_mtime_ns)
        if self._generator is None or target == self._tuned:
            return
        self._tuned = None
        with torch.inference_mode(False):
            self._generator.tune(*(tuning or (None,)))
        self._tuned = target

    def bring(self, tuning: Tuning | None = None) -> MiniatureGenerator:
        """Load, and be known to ComfyUI's model management."""
        import comfy.model_management as management
        import torch

        from .patcher import OccupantPatcher

        if self._patcher is None:
            cpu = torch.device("cpu")
            self._patcher = OccupantPatcher(self, cpu, cpu)
        self.enter()
        management.load_models_gpu([self._patcher])
        self.tune(tuning)
        assert self._generator is not None
        return self._generator


GENERATOR = ResidentGenerator()
"""The one generator of this process; nothing is loaded before it draws."""


def generate(request: str, seeds: Sequence[int], tuning: Tuning | None = None) -> list[Image.Image]:
    """One picture per seed. ComfyUI's interrupt is raised between pictures; progress is shown on the node."""
    import comfy.model_management as management
    from comfy.utils import ProgressBar

    progress = ProgressBar(len(seeds))
    pictures: list[Image.Image] = []
    for start in range(0, len(seeds), TOGETHER):
        management.throw_exception_if_processing_interrupted()
        some = list(seeds[start : start + TOGETHER])
        pictures += GENERATOR.bring(tuning).generate_many([request] * len(some), some)
        progress.update(len(some))
    return pictures
