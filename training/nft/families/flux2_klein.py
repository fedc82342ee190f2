"""FLUX.2-klein: FLUX.2 with a Qwen3 as its text encoder; the base models are guided by two passes, the others by none."""

from __future__ import annotations

from .base import Conditioning
from .flux2 import Flux2


class Flux2Klein(Flux2):
    pipeline_class = "Flux2KleinPipeline"
    guides = True

    def encode_dropped(self) -> Conditioning:
        return self._encoded("")
