"""What a GGUF file says of itself, read from its beginning: kind, architecture, picture sizes, where its tensors lie.

The layout is llama.cpp's (version 2 and 3): a magic word, counts, then keys with typed values.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from ..errors import ConfigError

MAGIC: Final = b"GGUF"
MOST_KEYS: Final = 10_000
LONGEST_TEXT: Final = 64 * 2**20
"""Chat templates are thousands of bytes; more is a damaged file."""
NUMBERS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Value types that are one number, as `struct` reads them."""
TEXT: Final = 8
LIST: Final = 9
MOST_TENSORS: Final = 100_000
MOST_AXES: Final = 8
ALIGNMENT: Final = 32
"""Bytes to which tensors are aligned where the file does not say (`general.alignment`)."""


@dataclass(frozen=True)
class GgufTensor:
    """A tensor's name, how many axes it has, and its first byte in the file."""

    name: str
    axes: int
    start: int


@dataclass(frozen=True)
class GgufHeader:
    """The keys of a file, lists left out."""

    path: Path
    values: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...] = ()

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def is_tower(self) -> bool:
        """Whether it is a picture tower (an mmproj file)."""
        return self.architecture == "clip" or self.values.get("general.type") == "mmproj"

    @property
    def width(self) -> int:
        """Of a model, the length of a token's embedding; of a tower, of what it hands to its model; 0 if it is not said."""
        key = "clip.vision.projection_dim" if self.is_tower else f"{self.architecture}.embedding_length"
        return self.number(key)

    @property
    def context(self) -> int:
        """Tokens that the model was made for; 0 if it is not said."""
        return self.number(f"{self.architecture}.context_length")

    def number(self, key: str) -> int:
        value = self.values.get(key, 0)
        return int(value) if isinstance(value, (int, float)) else 0


def read_header(path: Path) -> GgufHeader:
    """Read a file's keys. ConfigError, in one sentence, if it is no whole GGUF header."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ConfigError(f"{path} is no GGUF file.")
            version, tensors, keys = struct.unpack("<IQQ", _exactly(file, 20))
            if version not in (2, 3) or keys > MOST_KEYS or tensors > MOST_TENSORS:
                raise ConfigError(f"{path} is a GGUF file of a kind that is not known (version {version}).")
            values = {}
            for _ in range(keys):
                key = _text(file)
                value = _value(file, *struct.unpack("<I", _exactly(file, 4)))
                if value is not None:
                    values[key] = value
            places = _tensors(file, tensors, int(values.get("general.alignment") or ALIGNMENT))
    except (OSError, EOFError, ValueError, TypeError, struct.error) as error:
        raise ConfigError(f"{path} cannot be read as GGUF ({error}); download it again.") from error
    return GgufHeader(path, values, places)


def _tensors(file: IO[bytes], count: int, alignment: int) -> tuple[GgufTensor, ...]:
    entries = []
    for _ in range(count):
        name = _text(file)
        axes = struct.unpack("<I", _exactly(file, 4))[0]
        if axes > MOST_AXES:
            raise EOFError(f"a tensor of {axes} axes")
        _exactly(file, 8 * axes + 4)  # lengths of the axes and the number format
        entries.append((name, axes, struct.unpack("<Q", _exactly(file, 8))[0]))
    content = -(-file.tell() // alignment) * alignment
    return tuple(GgufTensor(name, axes, content + offset) for name, axes, offset in entries)


def _value(file: IO[bytes], kind: int) -> Any:
    if kind in NUMBERS:
        return struct.unpack(NUMBERS[kind], _exactly(file, struct.calcsize(NUMBERS[kind])))[0]
    if kind == TEXT:
        return _text(file)
    if kind != LIST:
        raise EOFError(f"a value of type {kind}")
    of, count = struct.unpack("<IQ", _exactly(file, 12))
    if of in NUMBERS:
        file.seek(struct.calcsize(NUMBERS[of]) * count, 1)
    else:
        for _ in range(count):
            _value(file, of) if of == LIST else file.seek(_length(file), 1)
    return None


def _text(file: IO[bytes]) -> str:
    return _exactly(file, _length(file)).decode("utf-8")


def _length(file: IO[bytes]) -> int:
    length: int = struct.unpack("<Q", _exactly(file, 8))[0]
    if length > LONGEST_TEXT:
        raise EOFError("a text without end")
    return length


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise EOFError("it ends too early")
    return content
