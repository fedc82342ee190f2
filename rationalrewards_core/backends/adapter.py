"""A peft LoRA adapter on a loaded model: all of its weights find their place, or it is refused.

peft leaves out what fits nowhere and starts what is missing as if it had learned nothing; the base model's scores would
then come out under the adapter's name. So the file is compared with the model and peft's own report is read.
"""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import BackendError, ConfigError, RationalRewardsError
from ..numerals import finite_number
from .loading_report import first_line, first_without_number, others

RENAMED: Final = (
    ("base_model.model.model.layers.", "base_model.model.model.language_model.layers."),
    ("base_model.model.language_model.model.", "base_model.model.model.language_model."),
    ("base_model.model.visual.", "base_model.model.model.visual."),
)
"""How text-only models and older transformers call the same layers; a weight is renamed only where it then fits."""
PATTERN_SECONDS: Final = 2.0
"""A pattern of adapter_config.json that takes longer than this over the model's few hundred names never ends."""


def with_adapter(model: Any, folder: Path, base: str, *, merged: bool) -> Any:
    """The model with the adapter of a folder: summed into its weights, or (`merged` false) in layers beside them.

    ConfigError for a folder that holds no LoRA adapter, BackendError for one that does not fit the model `base`. An
    adapter with biases of its own (`lora_bias`) always stays beside: a layer without a bias has no place to sum it into.
    """
    table = _table(folder)
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("A LoRA adapter needs the package 'peft': pip install 'rationalrewards[local]'.")
    try:
        adapted = _adapted(model, folder, table)
        merged = merged and not table.get("lora_bias")
        # peft's own wrapper goes either way, for its `forward` hides what the model takes.
        return adapted.merge_and_unload() if merged else adapted.get_base_model()
    except RationalRewardsError:
        raise
    except _Misfit as error:
        message = f"The adapter {folder} does not fit {base}: {error}."
        raise BackendError(message, reason="load_failed") from error
    except Exception as error:
        message = f"The adapter {folder} does not fit {base}: {first_line(error)}"
        raise BackendError(message, reason="load_failed") from error


def stays_beside(model: Any) -> bool:
    """Whether an adapter's layers are still beside the model's weights."""
    return any(".lora_" in name for name, _ in model.named_parameters())


class _Misfit(Exception):
    """Why an adapter's weights do not fit, as a clause."""


def _table(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise ConfigError(f"{folder} is not a LoRA adapter folder: it has no adapter_config.json.")
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise ConfigError(f"{folder} is not a LoRA adapter folder: its adapter_config.json cannot be read.")
    if table.get("peft_type") != "LORA":
        raise ConfigError(f"{folder} holds a peft adapter of type {table.get('peft_type')!r}; only LORA is taken.")
    _check_strength(folder, table)
    if not (folder / "adapter_model.safetensors").is_file():
        raise ConfigError(f"{folder} has no adapter_model.safetensors; copy it there, or save the adapter again.")
    return table


def _check_strength(folder: Path, table: Mapping[str, Any]) -> None:
    """ConfigError unless ranks and alphas, by whose quotient peft multiplies all that the adapter learned, are numbers of use."""
    for key, patterns, kind in (
        ("r", "rank_pattern", "a whole number above 0"),
        ("lora_alpha", "alpha_pattern", "a number other than 0"),
    ):
        values = table.get(patterns) or {}
        if not isinstance(values, Mapping):
            raise ConfigError(f"{patterns} in the adapter_config.json of {folder} is no table; copy that file again.")
        for name, value in [(key, table.get(key, 8)), *values.items()]:
            number = finite_number(value)
            if not number or (key == "r" and (number < 1 or number % 1)):
                setting = name if name == key else f"{patterns} of {name}"
                raise ConfigError(
                    f"{setting} in the adapter_config.json of {folder} must be {kind}, not {value!r:.40}; copy that file again."
                )


def _adapted(model: Any, folder: Path, table: Mapping[str, Any]) -> Any:
    from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors")
    if not weights:
        raise _Misfit("it holds no weights")
    broken = first_without_number(weights.items())
    if broken is not None:
        raise _Misfit(f"{broken} holds values that are no numbers")
    if not any(tensor.any() for tensor in weights.values()):  # one that learned nothing has numbers in its lora_A
        raise _Misfit("all of its weights are zero")
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    for name, value in _resolved(table, [name for name, _ in model.named_modules()]).items():
        setattr(config, name, value)
    adapted = PeftModel(model, config)
    places = {name: tuple(place.shape) for name, place in get_peft_model_state_dict(adapted).items()}
    fitted = _fitted(weights, places)
    try:
        report: Any = set_peft_model_state_dict(adapted, fitted)
    except KeyError as error:  # of a module that was trained whole
        raise _Misfit(f"it lacks {error.args[0]}") from error
    foreign = sorted(report.unexpected_keys)
    # The report names the whole base model as missing too, puts peft's name of the adapter into the adapter's, and calls
    # the magnitudes of DoRA otherwise than their file does; what is left out would stay as if it had learned nothing.
    reported = {name.replace(".default", "") for name in report.missing_keys} & places.keys()
    missing = sorted(reported | {name for name in places.keys() - fitted.keys() if ".lora_" in name})
    if foreign:
        raise _Misfit(f"its weight {foreign[0].replace('.default', '')} fits nowhere{others(foreign)}")
    if missing:
        raise _Misfit(f"it lacks {missing[0]}{others(missing)}")
    return adapted


def _fitted(weights: Mapping[str, Any], places: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The weights under the model's own names; _Misfit for one of another shape."""
    fitted = {}
    for name, tensor in weights.items():
        place = name if name in places else next((n for n in _renamed(name) if n in places), name)
        if place in places and places[place] != tuple(tensor.shape):
            raise _Misfit(f"{name} has the shape {tuple(tensor.shape)} where {places[place]} is needed")
        if place in fitted:
            raise _Misfit(f"two of its weights are for {place}")
        fitted[place] = tensor
    return fitted


def _renamed(name: str) -> Iterator[str]:
    for old, new in RENAMED:
        if name.startswith(old):
            yield new + name.removeprefix(old)


def _resolved(table: Mapping[str, Any], modules: list[str]) -> dict[str, Any]:
    """The regular expressions of an adapter_config.json as the names they match, found within a time limit.

    peft would match them without one, and a file can hold an expression that never ends.
    """
    resolved: dict[str, Any] = {}
    for key in ("target_modules", "exclude_modules"):
        pattern = table.get(key)
        if isinstance(pattern, str) and pattern != "all-linear":
            resolved[key] = set(_matching(pattern, modules, key))
    if "target_modules" in resolved and not resolved["target_modules"]:
        raise _Misfit("no layer has a name that its target_modules match")
    for key in ("rank_pattern", "alpha_pattern"):
        values: dict[str, Any] = {}
        for pattern, value in (table.get(key) or {}).items():
            names = [pattern] if _plain(pattern) else _matching(rf"(?:.*\.)?(?:{pattern})", modules, key)
            for name in names:
                values.setdefault(name if _plain(pattern) else re.escape(name), value)
        resolved[key] = values
    for key in ("modules_to_save", "layers_pattern"):
        names = table.get(key) or []
        for name in [names] if isinstance(names, str) else names:
            if not _plain(str(name)):
                raise ConfigError(f"{key} of an adapter_config.json holds {name!r}; only plain names are taken.")
    return resolved


def _plain(pattern: str) -> bool:
    return re.fullmatch(r"[\w.-]+", pattern) is not None


def _matching(pattern: str, modules: list[str], key: str) -> list[str]:
    import regex  # transformers needs it too; unlike `re` it can be told to give up

    last = time.monotonic() + PATTERN_SECONDS
    try:
        compiled = regex.compile(pattern)
        return [name for name in modules if compiled.fullmatch(name, timeout=max(0.001, last - time.monotonic()))]
    except TimeoutError as error:
        raise ConfigError(f"{key} of an adapter_config.json is a pattern that takes for ever to match.") from error
    except regex.error as error:
        raise ConfigError(f"{key} of an adapter_config.json is no regular expression: {error}.") from error
