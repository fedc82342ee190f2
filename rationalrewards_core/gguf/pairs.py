"""Which picture tower (mmproj) goes with a GGUF model: by their names, and by what the files say of themselves.

Never guessed: where two towers fit equally, both are named and the user takes one away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from .files import PART, TOWER, towers
from .header import GgufHeader, read_header

FORMATS: Final = re.compile(
    r"(?:^|[-_. ])(?:ud[-_])?(?:i?q\d(?:[-_]\w+?)*|tq\d[-_]\d|mxfp4|f16|f32|bf16|fp16|fp32|fp8)(?:$|(?=[-_. ]))",
    re.IGNORECASE,
)
"""The part of a name that says how numbers are stored."""
PREFERRED: Final = ("f16", "bf16", "f32", "q8_0")
"""Of one tower in several formats, which is taken."""


@dataclass(frozen=True)
class GgufPair:
    """A judge as two files."""

    model: Path
    mmproj: Path


def pair(model: Path) -> GgufPair:
    """The model with its tower, both looked into. ConfigError, in one sentence, that names the files in doubt."""
    if not model.is_file():
        raise ConfigError(f"There is no GGUF file {str(model)!r}.")
    header = read_header(model)
    if header.is_tower:
        raise ConfigError(f"{model.name} is a picture tower (mmproj); choose the model that it belongs to.")
    candidates = towers(model.parent)
    if not candidates:
        raise ConfigError(
            f"{model.name} has no picture tower beside it; put the model's mmproj file (its name begins with mmproj) into "
            f"{model.parent}."
        )
    return GgufPair(model, chosen_tower(header, candidates))


def chosen_tower(model: GgufHeader, candidates: Sequence[Path]) -> Path:
    """The tower of a model: its namesake, else the only one there; it must fit. ConfigError if that is not one."""
    name = stem(model.path)
    namesakes = [file for file in candidates if stem(file) == name]
    unnamed = [file for file in candidates if not stem(file)]
    fitting = namesakes or unnamed or (list(candidates) if len({stem(file) for file in candidates}) == 1 else [])
    best = _best_format(fitting)
    if best is None:
        listed = ", ".join(file.name for file in fitting or candidates)
        raise ConfigError(
            f"Which picture tower goes with {model.path.name}? {listed} are beside it; name the right one "
            f"mmproj-{model.path.name}, or move the others away."
        )
    tower = read_header(best)
    if not tower.is_tower:
        raise ConfigError(f"{best.name} is named as a picture tower and is none; download it again.")
    if tower.width and model.width and tower.width != model.width:
        raise ConfigError(
            f"{best.name} belongs to another model than {model.path.name} (it makes {tower.width} numbers a patch, the "
            f"model takes {model.width}); put the right mmproj file beside it."
        )
    return best


def stem(file: Path) -> str:
    """What a model and its tower have in common in their names: neither `mmproj`, nor format, nor part."""
    name = PART.sub("", file.stem.lower())
    name = re.sub(rf"[-_. ]*{TOWER}(?:[-_. ]model)?[-_. ]*", "-", name)
    while (shorter := FORMATS.sub("", name)) != name:
        name = shorter
    return re.sub(r"[-_. ]+", "-", name).strip("-")


def _best_format(files: Sequence[Path]) -> Path | None:
    """The only file, or the one in the best format; None if that is not one."""
    for form in ("", *PREFERRED):
        those = (
            [file for file in files if re.search(rf"(?:^|[-_. ]){form}(?:$|[-_. ])", file.stem.lower())]
            if form
            else files
        )
        if len(those) == 1:
            return those[0]
    return None
