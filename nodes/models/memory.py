"""Our models in ComfyUI's model management: it can evict them for a sampler, and they come back when asked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...rationalrewards_core.backends.checkpoint import CheckpointConfig
from ...rationalrewards_core.backends.transformers_local import TransformersLocal
from ...rationalrewards_core.errors import BackendError, RationalRewardsError

if TYPE_CHECKING:
    from .patcher import OccupantPatcher

log = logging.getLogger("rationalrewards.memory")

SHARE_OF_FILE = {"nf4": 0.4, "int8": 0.65, "bf16": 1.0, "fp16": 1.0, "fp32": 2.0}
"""Memory of a loaded model per byte of its bf16 weight files; the vision tower stays in bf16 under nf4 and int8."""
WORKING_TOKENS = 4096
"""Tokens of one prompt with its images and its reply, for which room is made beside the weights."""


class ResidentModel:
    """A transformers engine as an occupant of ComfyUI's memory (see `patcher.Occupant`)."""

    title = "RationalScorer"

    def __init__(self, backend: TransformersLocal) -> None:
        self.backend = backend
        self._measured = 0
        self._patcher: OccupantPatcher | None = None

    @property
    def present(self) -> bool:
        return self.backend.loaded

    @property
    def size(self) -> int:
        return self._measured or estimated_bytes(self.backend.config)

    def enter(self) -> None:
        """Load, if needed. BackendError with reason `out_of_memory` when the weights do not fit."""
        import torch

        if self.backend.loaded:
            return
        try:
            # Nodes run in inference mode; weights made there could never be merged with an adapter elsewhere.
            with torch.inference_mode(False):
                checkpoint = self.backend.load()
        except RationalRewardsError:
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            self.backend.unload()
            raise BackendError(
                f"{Path(self.backend.config.model).name} does not fit into memory; choose precision nf4, "
                "or close what else uses the card.",
                reason="out_of_memory",
            ) from error
        except Exception as error:
            self.backend.unload()
            message = f"{Path(self.backend.config.model).name} could not be loaded: {type(error).__name__}: {error}"
            raise BackendError(message, reason="load_failed") from error
        self._measured = model_bytes(checkpoint.model)

    def leave(self) -> None:
        self.backend.unload()

    def bring(self) -> None:
        """Make room, load, and be known to ComfyUI's model management."""
        import comfy.model_management as management

        patcher = self._patched()
        if not self.present:
            make_room(self.size, patcher.load_device)
            self.enter()
        working = working_bytes(self.backend.load().model, self.backend.batch_size)
        management.load_models_gpu([patcher], memory_required=working)

    def clear_others(self) -> bool:
        """Evict every other model from this one's device; whether there was any."""
        return evict_others(self._patched())

    def release(self) -> None:
        """Unload, and leave ComfyUI's books."""
        if self._patcher is not None:
            evict(self._patcher)
        self.leave()

    def _patched(self) -> OccupantPatcher:
        if self._patcher is None:
            import torch

            from .patcher import OccupantPatcher

            # There is nowhere to move an all-or-nothing model to, so away from its device it is on the CPU as nothing.
            self._patcher = OccupantPatcher(self, torch.device(self.backend.config.device), torch.device("cpu"))
        return self._patcher


def comfy_device() -> str:
    """The device ComfyUI computes on, by its torch name."""
    import comfy.model_management as management

    return str(management.get_torch_device())


def make_room(size: int, device: Any) -> None:
    """Evict other models until `size` bytes and room to work are free; ComfyUI keeps no books for the CPU."""
    import comfy.model_management as management

    if device.type != "cpu":
        management.free_memory(size * 1.1 + management.minimum_inference_memory(), device)


def evict(patcher: Any) -> None:
    """Unload one model the way ComfyUI does when it needs the memory."""
    import comfy.model_management as management

    loaded = management.current_loaded_models
    for index in reversed(range(len(loaded))):
        model = loaded[index].model
        if model is not None and patcher.is_clone(model):
            loaded.pop(index).model_unload()
    management.soft_empty_cache()


def evict_others(patcher: Any) -> bool:
    """Unload every model but this one from its device; whether there was any."""
    import comfy.model_management as management

    before = len(management.current_loaded_models)
    keep = [entry for entry in management.current_loaded_models if entry.model is patcher]
    management.free_memory(1e30, patcher.load_device, keep_loaded=keep)
    return len(management.current_loaded_models) < before


def estimated_bytes(config: CheckpointConfig) -> int:
    """Memory of a checkpoint before it was ever loaded, from the size of its weight files."""
    files = sum(file.stat().st_size for file in Path(config.model).glob("*.safetensors"))
    return int(files * SHARE_OF_FILE[config.resolved().precision])


def model_bytes(model: Any) -> int:
    """Bytes of a loaded model's weights."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def working_bytes(model: Any, rows: int) -> int:
    """Memory that `rows` critiques need beside the weights: their keys and values, and as much again."""
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * width * model.dtype.itemsize
    return 2 * rows * WORKING_TOKENS * per_token
