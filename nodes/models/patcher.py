"""The thin `ModelPatcher` by which ComfyUI's model management sees an engine it did not build.

Imported when the first model is loaded, never while ComfyUI starts: it needs torch and ComfyUI's core.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch  # noqa: TID253 - this module is imported with the first model
from comfy.model_patcher import ModelPatcher


class Occupant(Protocol):
    """What takes up memory: a model that is either wholly on its device or not there at all."""

    title: str
    """What ComfyUI calls it in its log: `Requested to load RationalScorer`."""

    @property
    def present(self) -> bool:
        """Whether the model is on its device now."""
        ...

    @property
    def size(self) -> int:
        """Bytes it takes there, estimated until it was loaded once."""
        ...

    def enter(self) -> None:
        """Load it, if it is not there."""
        ...

    def leave(self) -> None:
        """Give the memory back."""
        ...


def stand_in(title: str) -> torch.nn.Module:
    """An empty module for ComfyUI's books, which need one that outlives an unload; its class's name is what is logged."""
    kind: type[torch.nn.Module] = type(title, (torch.nn.Module,), {})
    return kind()


class OccupantPatcher(ModelPatcher):
    """All or nothing: quantised weights cannot be moved layer by layer, so any request for memory frees all of it.

    The plain `ModelPatcher` on purpose: dynamic VRAM (`CoreModelPatcher`) needs ComfyUI's own layers.
    """

    def __init__(
        self,
        occupant: Occupant,
        load_device: Any,
        offload_device: Any,
        size: int = 0,
        weight_inplace_update: bool = False,
    ) -> None:
        self.occupant = occupant
        super().__init__(stand_in(occupant.title), load_device, offload_device)

    def model_size(self) -> int:
        return self.occupant.size

    def loaded_size(self) -> int:
        return self.occupant.size if self.occupant.present else 0

    def current_loaded_device(self) -> Any:
        return self.load_device if self.occupant.present else self.offload_device

    def partially_load(self, device_to: Any, extra_memory: float = 0, force_patch_weights: bool = False) -> int:
        before = self.loaded_size()
        self.occupant.enter()
        return self.loaded_size() - before

    def partially_unload(self, device_to: Any, memory_to_free: float = 0, force_patch_weights: bool = False) -> int:
        freed = self.loaded_size()
        self.occupant.leave()
        return freed

    def patch_model(
        self,
        device_to: Any = None,
        lowvram_model_memory: int = 0,
        load_weights: bool = True,
        force_patch_weights: bool = False,
    ) -> Any:
        if load_weights:
            self.occupant.enter()
        return self.model

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        if unpatch_weights:
            self.occupant.leave()

    def detach(self, unpatch_all: bool = True) -> Any:
        # ComfyUI detaches without unpatching before it loads a model it already knows: that must not unload it.
        if unpatch_all:
            self.occupant.leave()
        return self.model

    def __del__(self) -> None:
        """Nothing: the base class would touch weights, and the engine is the one that frees them."""
