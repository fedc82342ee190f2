"""Weights spread over processes (FSDP2): `accelerate launch` with `use_fsdp` and `fsdp_version` 2.

The modules are sharded here by torch's own `fully_shard` rather than by `Accelerator.prepare`, which does it on GPUs
only and in its own groups: so two processes on a CPU run the very code that eight GPUs run.

Adapters stay whole in every process. They are small, they are fp32 on a backbone that is not, and with them whole the
optimiser, the average, the saved files and an exact resume are those of a single process; what has to be done is to
average their gradients, once per step (`average_gradients`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from rationalrewards_core.errors import ConfigError

_NOT_HERE = {
    "FSDP_OFFLOAD_PARAMS": "fsdp_offload_params is not supported: weights stay on the devices they are sharded over",
    "FSDP_ACTIVATION_CHECKPOINTING": "fsdp_activation_checkpointing is not supported: use the run's own checkpointing",
}


@dataclass(frozen=True)
class Sharding:
    """Over which processes, and how eagerly weights are given back."""

    mesh: DeviceMesh
    reshard_after_forward: bool
    """Give a block's weights back after its forward pass and gather them again for the backward pass."""


def launched_on_cpu() -> bool:
    """Whether to train on the CPU: the launcher says so, or launched several processes where there is nothing else.

    accelerate has to be told the latter (`cpu=True`): launched with `--multi_gpu` on a machine without GPUs, it lets
    every process train alone.
    """
    alone = not getattr(torch, "accelerator", torch.cuda).is_available()
    return _flag("ACCELERATE_USE_CPU") or (int(os.environ.get("WORLD_SIZE", "1")) > 1 and alone)


def check_launch(accelerator: Accelerator) -> None:
    """ConfigError if the launched processes do not train together."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ConfigError(
            f"{launched} processes were launched, and accelerate would let each train alone on this machine; launch one."
        )


def spread_over(processes: int) -> int:
    """How many of the launched processes share one copy of the weights: all, with HYBRID_SHARD those of a node."""
    if not _flag("ACCELERATE_USE_FSDP"):
        return 1
    hybrid = "HYBRID_SHARD" in os.environ.get("FSDP_SHARDING_STRATEGY", "")
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if hybrid else processes


def wanted_sharding(accelerator: Accelerator) -> Sharding | None:
    """What the launcher asks for, or None. Call it before anything is loaded."""
    if not _flag("ACCELERATE_USE_FSDP") or accelerator.num_processes == 1:
        return None
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError("Only FSDP2 is supported; say fsdp_version: 2 in accelerate's configuration.")
    for name, sentence in _NOT_HERE.items():
        if _flag(name):
            raise ConfigError(f"{sentence}; set it to false in accelerate's configuration.")
    # accelerate's launcher turns this on; transformers would then leave all weights but the main process's empty,
    # and rely on `Accelerator.prepare` to fill them.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return Sharding(_mesh(accelerator), _flag("FSDP_RESHARD_AFTER_FORWARD", "true"))


def shard(
    module: nn.Module,
    sharding: Sharding,
    blocks: Sequence[str],
    *,
    whole: Sequence[nn.Parameter] = (),
    compute: torch.dtype | None = None,
) -> None:
    """Spread the weights in place: every module of a class in `blocks` by itself, what is left with the root.

    Parameters in `whole` are left alone. `compute` is the precision that weights are gathered in, where it is not
    their own.
    """
    options: dict[str, Any] = {
        "mesh": sharding.mesh,
        "ignored_params": set(whole),
        "mp_policy": MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=compute and torch.float32),
    }
    parts = [part for part in module.modules() if type(part).__name__ in blocks]
    if not parts:
        raise ConfigError(f"{type(module).__name__} has no blocks to shard by (looked for {', '.join(blocks)}).")
    for part in parts:
        fully_shard(part, reshard_after_forward=sharding.reshard_after_forward, **options)
    fully_shard(module, reshard_after_forward=False, **options)


@contextmanager
def gathered_weights(module: nn.Module, sharding: Sharding) -> Iterator[None]:
    """All weights in every process: parts of `module` can be called alone, as often as each process likes.

    Every process has to enter and to leave. Needs a device that holds the whole model in its compute precision.
    """
    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(sharding.reshard_after_forward and part is not module, recurse=False)
            part.reshard()


def give_back(module: nn.Module) -> None:
    """Drop weights that were gathered for a pass without gradients: sharded ones are about to change."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def unsynced(module: Any, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """Leave the exchange of gradients to a later backward pass, except of sharded ones: those would grow whole."""
    return nullcontext() if isinstance(module, FSDPModule) else accelerator.no_sync(module)


def average_gradients(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """The mean over processes of the gradients of parameters that every process holds whole, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    mean: Tensor = accelerator.reduce(flat, "mean")
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor that is not spread. Every process has to ask."""
    whole: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole


def spread_as(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor`, which every process has, spread as `like` is."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device, like.dtype), like.device_mesh, like.placements)


def _mesh(accelerator: Accelerator) -> DeviceMesh:
    """All processes in one row, or a row per copy of the weights."""
    processes, kind = accelerator.num_processes, accelerator.device.type
    spread = spread_over(processes)
    if spread == processes:
        return init_device_mesh(kind, (processes,), mesh_dim_names=("shard",))
    return init_device_mesh(kind, (processes // spread, spread), mesh_dim_names=("copy", "shard"))


def _flag(name: str, default: str = "false") -> bool:
    return os.environ.get(name, default).lower() in ("true", "1")
