"""Whether what was loaded is all of it: transformers' own report of missing and foreign weights, NaN, and matrices of zeros.

transformers fills a weight that a checkpoint lacks with random numbers and goes on; such a model still writes
critiques, and they are worth nothing. So the report is read, and anything but a whole model is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import BackendError

AGAIN = "get its files again, or convert it to the layout of Qwen-VL checkpoints"


def check_whole(model: str, report: Mapping[str, Any]) -> None:
    """BackendError that names the first missing, foreign or misshapen weight of `from_pretrained`'s loading report.

    `report` holds `missing_keys`, `unexpected_keys` (names) and `mismatched_keys` (name, shape in the file, shape in
    the model).
    """
    misshapen = sorted(tuple(key) for key in report.get("mismatched_keys", ()))
    if misshapen:
        name, there, shape = misshapen[0]
        raise _not_whole(
            f"{model} does not fit its own config.json: {name} has the shape {tuple(there)} where {tuple(shape)} "
            f"is needed{others(misshapen)}"
        )
    missing, foreign = sorted(report.get("missing_keys", ())), sorted(report.get("unexpected_keys", ()))
    broken = []
    if missing:
        broken.append(f"it lacks {missing[0]}{others(missing)}")
    if foreign:
        broken.append(f"it holds {foreign[0]}, which fits nowhere{others(foreign)}")
    if not missing and report.get("error_msgs"):
        broken.append(str(report["error_msgs"][0]).strip().splitlines()[0])
    if broken:
        raise _not_whole(f"{model} is not whole: {', and '.join(broken)}")


def fill(module: Any, weights: Mapping[str, Any], name: str) -> None:
    """Load all weights of a small module. BackendError that names the first one that does not fit, is no number or was never trained."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise _not_whole(f"{name} does not fit: {lines[min(1, len(lines) - 1)].strip().rstrip('.')}") from error
    check_numbers(name, weights.items())
    check_taught(name, weights.items())


def check_numbers(model: str, weights: Iterable[tuple[str, Any]]) -> None:
    """BackendError that names the first weight which holds NaN or an infinity."""
    name = first_without_number(weights)
    if name is not None:
        raise _not_whole(f"{model} is damaged: {name} holds values that are no numbers")


def check_taught(model: str, weights: Iterable[tuple[str, Any]]) -> None:
    """BackendError that names the first matrix which holds one value throughout, which no training leaves behind.

    A file that is made at its full size before its content arrives has zeros where nothing came. Vectors may be like
    that: biases of zero, norms of one.
    """
    name = next((name for name, tensor in weights if name.endswith("weight") and _one_value(tensor)), None)
    if name is not None:
        raise _not_whole(f"{model} is damaged: {name} holds one and the same value throughout")


def _one_value(tensor: Any) -> bool:
    """Of a matrix of more than one value; quantised ones by what is stored of them."""
    if tensor.is_meta or tensor.ndim < 2 or tensor.numel() < 2:
        return False
    values = tensor.detach().reshape(-1)
    first, middle, last = (values[place].item() for place in (0, len(values) // 2, -1))
    # Three values tell almost every matrix apart; only of one that they do not is everything looked at.
    return bool(first == middle == last) and bool((values.float() == first).all())


def first_without_number(weights: Iterable[tuple[str, Any]]) -> str | None:
    """Name of the first tensor with NaN or an infinity in it, or None."""
    import torch

    for name, tensor in weights:
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        # One sum sees them all, without a copy; only a sum that overflowed needs the second look.
        total = torch.sum(tensor, dtype=torch.float32)
        if not torch.isfinite(total) and not torch.isfinite(tensor.float()).all():
            return name
    return None


def weights_of(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of every weight; of a quantised one its scales, which a NaN in the original makes NaN."""
    for name, parameter in model.named_parameters():
        yield name, parameter
        state, scales = getattr(parameter, "quant_state", None), getattr(parameter, "SCB", None)
        if scales is not None:
            yield name, scales
        if state is not None:
            nested = getattr(state, "state2", None)
            for tensor in (state.absmax, state.offset, nested.absmax if nested is not None else None):
                if tensor is not None:
                    yield name, tensor


def first_line(error: BaseException) -> str:
    """What an error of another package says first, or its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def others(names: Sequence[Any]) -> str:
    """How many more than the first there are, as the end of a clause."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _not_whole(message: str) -> BackendError:
    return BackendError(f"{message}; {AGAIN}.", reason="load_failed")
