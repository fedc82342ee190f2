"""Loading a Qwen-VL-class checkpoint with transformers: weights, tokeniser, image processor, adapter.

torch and transformers are imported inside functions: importing this module costs nothing.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import json
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import BackendError, ConfigError, RationalRewardsError
from .adapter import with_adapter
from .device import choose_device, fast_precision, floating_type, resolve_precision
from .fingerprint import folder_fingerprint
from .loading_report import check_numbers, check_taught, check_whole, first_line, weights_of

log = logging.getLogger("rationalrewards.backends.checkpoint")

Precision = Literal["auto", "bf16", "fp16", "fp32", "int8", "nf4"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

PIXEL_LIMITS = (("shortest_edge", "min_pixels"), ("longest_edge", "max_pixels"))
"""What image processors call the fewest and the most pixels of a picture, today and formerly."""

TRANSFORMERS = (4, 57, 1)
"""The oldest transformers that knows Qwen3-VL and was not withdrawn; pyproject.toml and requirements.txt say the same."""

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
        """Tokens that end a reply."""
        ids = self.model.generation_config.eos_token_id
        return list(ids) if isinstance(ids, (list, tuple)) else [int(ids)]


def _text_config(model: Any) -> Any:
    return model.config.get_text_config()


def require_packages() -> None:
    """ConfigError naming the missing or too old package, before anything heavy is imported."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"The local engine needs the package '{package}': pip install 'rationalrewards[local]' "
                "(inside ComfyUI: into ComfyUI's own Python)."
            )
    present = importlib.metadata.version("transformers")
    if tuple(int(part) for part in re.findall(r"\d+", present)[:3]) < TRANSFORMERS:
        least = ".".join(map(str, TRANSFORMERS))
        raise ConfigError(
            f"The local engine needs transformers {least} or newer, not {present}: pip install -U 'transformers>={least}' "
            "(inside ComfyUI: into ComfyUI's own Python)."
        )


def load_checkpoint(config: CheckpointConfig) -> Checkpoint:
    """Load everything. ConfigError for what the user can fix, BackendError for a checkpoint that is not whole."""
    require_packages()
    _check_source(config)
    _check_precision(config)
    config, device = config.resolved(), choose_device(config.device)
    try:
        _check_floats(config)
        tokeniser, image_processor, model, report = _loaded(config, device)
    except RationalRewardsError:
        raise
    except Exception as error:
        raise _load_failure(config, error) from error
    check_whole(config.model, report)
    check_numbers(config.model, weights_of(model))
    check_taught(config.model, model.named_parameters())
    _complete(tokeniser, config)
    _neutral_generation(model, tokeniser)
    if config.precision == "int8":
        _silence_cast_notices()
    if config.adapter:
        # On quantised weights the layers stay beside them.
        model = with_adapter(model, Path(config.adapter).expanduser(), config.model, merged=not _quantised(model))
    _set_pixels(image_processor, config)
    return Checkpoint(model.eval(), tokeniser, image_processor, device)


def _loaded(config: CheckpointConfig, device: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Tokeniser, image processor, model, and transformers' report of what it found of the model's weights."""
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    shared = _source_options(config)
    tokeniser = AutoTokenizer.from_pretrained(config.model, **shared)
    image_processor = AutoImageProcessor.from_pretrained(config.model, **shared, **by_pillow())
    # Misshapen weights are let through here, for the report names them and transformers' own error does not.
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        config.model,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **shared,
        **_weights_options(config, device),
    )
    model, report = loaded
    return tokeniser, image_processor, model, report


def _source_options(config: CheckpointConfig) -> dict[str, Any]:
    return {"local_files_only": not config.download, "trust_remote_code": False}


def by_pillow() -> dict[str, Any]:
    """Options of AutoImageProcessor: scale by Pillow, with torchvision or without, for the two differ in some pixels."""
    present = importlib.util.find_spec("transformers.image_processing_backends") is not None
    return {"backend": "pil"} if present else {"use_fast": False}  # transformers before 5.4 or so has no names for them


def _load_failure(config: CheckpointConfig, error: Exception) -> BackendError:
    import torch
    from safetensors import SafetensorError

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        message = f"{config.model} does not fit into memory; choose precision nf4, or close what else uses the device."
        return BackendError(message, reason="out_of_memory")
    advice = "; get its files again" if isinstance(error, (SafetensorError, FileNotFoundError)) else _newer(config)
    return BackendError(f"{config.model} could not be loaded: {first_line(error)}{advice}", reason="load_failed")


def _newer(config: CheckpointConfig) -> str:
    """What to do about files of a later transformers, whose names for settings this one may not know."""
    import transformers

    version = str(_json_file(config, "config.json").get("transformers_version") or "")
    if version.partition(".")[0] <= transformers.__version__.partition(".")[0]:
        return ""
    return f"; it was written by transformers {version} and this is {transformers.__version__}, update that"


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
        if not any(path.glob("*.safetensors")):
            raise ConfigError(f"{path} has no *.safetensors file; get its weights, or convert its .bin files.")
        if not any((path / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
            raise ConfigError(
                f"{path} has no preprocessor_config.json; copy that of the model it was made from into it."
            )
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


def _check_floats(config: CheckpointConfig) -> None:
    """BackendError for a folder of whole numbers that does not say how they were quantised: they would be taken as they are."""
    from safetensors import safe_open

    path = Path(config.model).expanduser()
    if not path.is_dir() or own_quantisation(config) is not None:
        return
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                kind = weights.get_slice(name).get_dtype()
                if name.endswith(("weight", "bias")) and kind[0] in "IU":
                    raise BackendError(
                        f"{config.model} is quantised in a way that its config.json does not say: {name} holds whole "
                        f"numbers ({kind}); get the checkpoint that it was made from.",
                        reason="load_failed",
                    )


def own_quantisation(config: CheckpointConfig) -> str | None:
    """What a checkpoint's config.json says its weights are quantised with, such as `bitsandbytes nf4` or `awq`."""
    table = _json_file(config, "config.json").get("quantization_config")
    if not isinstance(table, dict):
        return None
    method = str(table.get("quant_method") or "bitsandbytes")
    if table.get("load_in_4bit"):
        return f"{method} {table.get('bnb_4bit_quant_type', 'fp4')}"
    return f"{method} int8" if table.get("load_in_8bit") else method


def model_fingerprint(config: CheckpointConfig) -> str:
    """Digest of the checkpoint's files; empty for a hub id that is not in the cache yet."""
    path = Path(config.model).expanduser()
    if not path.is_dir():
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(config.model, "config.json") if config.model.count("/") == 1 else None
        if not isinstance(file, str):
            return ""
        path = Path(file).parent
    return folder_fingerprint(path)


def _check_precision(config: CheckpointConfig) -> None:
    """ConfigError for weights that would be quantised a second time; quantised ones are called what they are."""
    own = own_quantisation(config)
    if own is None or own.rpartition(" ")[2] == config.precision:
        return
    if config.precision in ("int8", "nf4"):
        raise ConfigError(
            f"{config.model} is quantised already ({own}) and cannot be quantised again; choose precision auto, which "
            "keeps it as it is, or the original checkpoint."
        )
    instead = "" if config.precision == "auto" else f", not as {config.precision}"
    log.warning("%s is quantised already (%s): it judges so%s", config.model, own, instead)


def _quantised(model: Any) -> bool:
    return getattr(model, "hf_quantizer", None) is not None


def _json_file(config: CheckpointConfig, name: str) -> dict[str, Any]:
    """A JSON object beside the weights; empty where there is none that can be read."""
    from transformers.utils.hub import cached_file

    try:
        file = cached_file(
            config.model, name, local_files_only=not config.download, _raise_exceptions_for_missing_entries=False
        )
        table = json.loads(Path(file).read_text(encoding="utf-8-sig")) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _complete(tokeniser: Any, config: CheckpointConfig) -> None:
    """What the engine needs of a tokeniser, and what a file beside it must not decide."""
    tokeniser.padding_side = "left"
    tokeniser.clean_up_tokenization_spaces = False  # a judge's text is what it wrote
    if tokeniser.pad_token_id is None:
        # Padding is masked, so any token does; the end of a turn is one that every chat model has.
        tokeniser.pad_token = tokeniser.eos_token
    if tokeniser.chat_template is None:  # processors read the older file, tokenisers do not
        tokeniser.chat_template = _json_file(config, "chat_template.json").get("chat_template")
    if tokeniser.chat_template is None:
        raise BackendError(
            f"{config.model} has no chat template; copy chat_template.jinja of the model it was made from into it.",
            reason="load_failed",
        )


def _neutral_generation(model: Any, tokeniser: Any) -> None:
    """Keep where a reply ends and what pads it; penalties, beams and forbidden words of a checkpoint are not ours."""
    from transformers import GenerationConfig

    ends = model.generation_config.eos_token_id
    ends = tokeniser.eos_token_id if ends is None else ends
    if ends is None:
        raise BackendError("The checkpoint names no token that ends a reply (eos_token).", reason="load_failed")
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokeniser.pad_token_id)


def _weights_options(config: CheckpointConfig, device: str) -> dict[str, Any]:
    quantised = config.precision in ("int8", "nf4")
    dtype = floating_type(fast_precision(device) if quantised else config.precision)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if quantised and own_quantisation(config) is None:
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


def _set_pixels(image_processor: Any, config: CheckpointConfig) -> None:
    """The fewest and most pixels of a picture are those that the checkpoint states, the most capped by `max_pixels`.

    They are read here because transformers 4.57 replaces a stated `size` by defaults of its own in the image processor
    that needs no torchvision, and looks at the older names `min_pixels` and `max_pixels` beside it.
    """
    present = dict(image_processor.size)
    if not {"longest_edge", "max_pixels"} & present.keys():
        return
    stated = _json_file(config, "preprocessor_config.json")
    stated = stated or _json_file(config, "processor_config.json").get("image_processor", {})
    edges = stated["size"] if isinstance(stated.get("size"), dict) else {}
    size = {}
    for name, older in PIXEL_LIMITS:
        size[name] = stated.get(older) or edges.get(name) or edges.get(older) or present[name]
        if config.max_pixels is not None:
            size[name] = min(size[name], config.max_pixels)
    image_processor.size = type(image_processor.size)(**size) if not isinstance(image_processor.size, dict) else size
    for name, older in PIXEL_LIMITS:
        if getattr(image_processor, older, None) is not None:
            setattr(image_processor, older, size[name])
