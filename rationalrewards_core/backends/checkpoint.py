"""Loading a Qwen-VL-class checkpoint with transformers: weights, tokeniser, image processor, adapter.

torch and transformers are imported inside functions: importing this module costs nothing.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import BackendError, ConfigError
from .device import choose_device, fast_precision, floating_type, resolve_precision

log = logging.getLogger("rationalrewards.backends.checkpoint")

Precision = Literal["auto", "bf16", "fp16", "fp32", "int8", "nf4"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

NOT_QUANTIZED = ["model.visual", "visual", "lm_head", "embed_tokens"]
"""Modules that int8 and NF4 leave in the device's fast floating point: judging lives on the vision tower's accuracy, and it is small."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Which weights to load, and how."""

    model: str
    """A checkpoint folder, or a Hugging Face hub id that is already in the local cache."""
    precision: Precision = "auto"
    """bf16, fp16 and fp32 load as they say; int8 and nf4 quantise the language model with bitsandbytes.

    auto is the floating point that is fast on the device: bf16, or fp32 on a CPU without bf16 instructions.
    """
    adapter: str | None = None
    """Folder of a peft LoRA adapter to put on top."""
    device: str = "auto"
    """`auto` (CUDA, then Apple's MPS, then the CPU) or a torch device such as `cuda:1`."""
    max_pixels: int | None = 802_816
    """Larger images are scaled down to this many pixels (896 x 896, what the released weights were trained on)."""
    download: bool = False
    """Whether a hub id may be downloaded; otherwise nothing touches the network."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.max_pixels is not None and self.max_pixels < 1024:
            raise ConfigError(f"max_pixels must be at least 1024, not {self.max_pixels}.")

    def resolved(self) -> CheckpointConfig:
        """The same with the precision that `auto` means here. Imports torch."""
        if self.precision != "auto":
            return self
        require_packages()
        return replace(self, precision=resolve_precision(self.precision, self.device))  # type: ignore[arg-type]


@dataclass
class Checkpoint:
    """A loaded model with what is needed to talk to it."""

    model: Any
    tokeniser: Any
    image_processor: Any
    device: str

    @property
    def vocabulary(self) -> int:
        """Width of the logits."""
        return int(_text_config(self.model).vocab_size)

    @property
    def context(self) -> int:
        """Most tokens a prompt and its reply may have together."""
        return int(_text_config(self.model).max_position_embeddings)

    @property
    def stop_ids(self) -> list[int]:
        ids = self.model.generation_config.eos_token_id
        if ids is None:
            ids = self.tokeniser.eos_token_id
        return list(ids) if isinstance(ids, (list, tuple)) else [int(ids)]


def _text_config(model: Any) -> Any:
    return model.config.get_text_config()


def require_packages() -> None:
    """ConfigError naming the missing package, before anything heavy is imported."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"The local engine needs the package '{package}': pip install 'rationalrewards[local]' "
                "(inside ComfyUI: into ComfyUI's own Python)."
            )


def load_checkpoint(config: CheckpointConfig) -> Checkpoint:
    """Load everything. ConfigError for what the user can fix, BackendError for a broken checkpoint."""
    require_packages()
    config = config.resolved()
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    _check_source(config)
    device = choose_device(config.device)
    shared = {"local_files_only": not config.download, "trust_remote_code": False}
    try:
        tokeniser = AutoTokenizer.from_pretrained(config.model, **shared)
        image_processor = AutoImageProcessor.from_pretrained(config.model, **shared)
        model = AutoModelForImageTextToText.from_pretrained(
            config.model, use_safetensors=True, **shared, **_weights_options(config, device)
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BackendError(f"{config.model} could not be loaded: {_first_line(error)}", reason="load_failed") from error
    if config.precision == "int8":
        _silence_cast_notices()
    if config.adapter:
        model = _with_adapter(model, config)
    tokeniser.padding_side = "left"
    _cap_pixels(image_processor, config.max_pixels)
    return Checkpoint(model.eval(), tokeniser, image_processor, device)


def free_memory() -> None:
    """Return what unloaded models held to the system and to CUDA's other users."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _check_source(config: CheckpointConfig) -> None:
    path = Path(config.model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"{path} is not a checkpoint folder: it has no config.json.")
        return
    if config.download or config.model.count("/") != 1 or path.is_absolute():
        if not config.download:
            raise ConfigError(f"There is no checkpoint folder {config.model!r}.")
        return
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(config.model, "config.json"), str):
        raise ConfigError(
            f"{config.model!r} is neither a folder nor in the local Hugging Face cache. "
            f"Download it with `hf download {config.model}`, or allow the download (--download)."
        )


def _weights_options(config: CheckpointConfig, device: str) -> dict[str, Any]:
    quantised = config.precision in ("int8", "nf4")
    dtype = floating_type(fast_precision(device) if quantised else config.precision)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if quantised:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError(f"precision {config.precision} needs bitsandbytes: pip install 'rationalrewards[local]'.")
        from transformers import BitsAndBytesConfig

        four = config.precision == "nf4"
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=four,
            load_in_8bit=not four,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=four,
            llm_int8_skip_modules=NOT_QUANTIZED,
        )
    return options


def _silence_cast_notices() -> None:
    """bitsandbytes logs one warning per layer and token when other floats meet int8; it is by design and says nothing new."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if _not_a_cast_notice not in logger.filters:
        logger.addFilter(_not_a_cast_notice)


def _not_a_cast_notice(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("MatMul8bitLt: inputs will be cast")


def _with_adapter(model: Any, config: CheckpointConfig) -> Any:
    """Put a LoRA adapter on the model; merged into full-precision weights, beside quantised ones."""
    folder = Path(str(config.adapter)).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{folder} is not a LoRA adapter folder: it has no adapter_config.json.")
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("A LoRA adapter needs the package 'peft': pip install 'rationalrewards[local]'.")
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, SafetensorError) as error:
        raise BackendError(
            f"The adapter {folder} does not fit {config.model}: {_first_line(error)}", reason="load_failed"
        ) from error
    # The layers stay on a quantised model; peft's own wrapper goes, for its `forward` hides what the model takes.
    return adapted.get_base_model() if config.precision in ("int8", "nf4") else adapted.merge_and_unload()


def _cap_pixels(image_processor: Any, max_pixels: int | None) -> None:
    """Lower the image processor's own pixel limit, never raise it."""
    size = dict(image_processor.size)
    limit = size.get("longest_edge")
    if max_pixels is None or limit is None or limit <= max_pixels:
        return
    size["longest_edge"] = max_pixels
    size["shortest_edge"] = min(size["shortest_edge"], max_pixels)
    image_processor.size = type(image_processor.size)(**size) if not isinstance(image_processor.size, dict) else size


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
