"""Where a model computes, and in which floating point: what the choices `auto` mean.

torch is imported inside functions: importing this module costs nothing.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Any, Final, Literal

from ..errors import ConfigError

Floating = Literal["bf16", "fp16", "fp32"]

AUTO: Final = "auto"
ARM: Final = ("aarch64", "arm64")


def choose_device(device: str) -> str:
    """Resolve `auto`; ConfigError when the device asked for is not there."""
    import torch

    if device == AUTO:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"Device {device!r} is not available here: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    return device


def resolve_precision(precision: str, device: str = AUTO) -> str:
    """`auto` as the floating point that is fast on `device`; every other precision as it is."""
    return fast_precision(choose_device(device)) if precision == AUTO else precision


@lru_cache
def fast_precision(device: str) -> Floating:
    """bf16 where the device computes in it, fp16 on a card or a macOS without it, fp32 on a CPU without it.

    A CPU without bf16 instructions takes bf16 too, but converts every number: a prompt or a training step then takes
    two to five times as long as in fp32. Weights in fp32 take twice the memory of bf16.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        return "bf16" if _cpu_has_bf16() else "fp32"
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if kind == "mps":
        return "bf16" if torch.backends.mps.is_macos_or_newer(14, 0) else "fp16"
    return "bf16"


def floating_type(precision: str) -> Any:
    """The torch dtype of a floating point; KeyError for int8 and nf4, which are none."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself.

    oneDNN's own answer alone would not do: it is yes for every CPU with AVX-512, with or without the instructions.
    """
    import torch

    onednn: Any = torch.backends.mkldnn
    if not onednn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() in ARM:
        return True
    kinds = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe is not None and probe() for probe in kinds)


def fast_autocast(device: str, enabled: bool = True) -> Any:
    """`torch.autocast` to bf16, without effect on a device that is faster in fp32."""
    import torch

    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=enabled and fast_precision(device) != "fp32")
