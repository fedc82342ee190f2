"""Small GGUF files for tests: keys, and tensors of bytes, written by hand."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(path: Path, tensors: Mapping[str, tuple[int, bytes]] | None = None, **values: Any) -> Path:
    """A file with these keys (`__` in a name is a dot) and tensors (axes, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = tensors or {}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for name, value in values.items():
        header += _text(name.replace("__", ".")) + _value(value)
    content = b""
    for name, (axes, raw) in tensors.items():
        lengths = [1] * (axes - 1) + [len(raw)]
        header += _text(name) + struct.pack(f"<I{axes}QIQ", axes, *lengths, 24, len(content))
        content += _aligned(raw)
    path.write_bytes(_aligned(header) + content if tensors else header)
    return path


def model(path: Path, width: int = 64, **values: Any) -> Path:
    keys = {
        "general__architecture": "qwen3vl",
        "tokenizer__tokens": ["a", "b"],
        "tokenizer__kinds": [1, 2],
        "qwen3vl__embedding_length": width,
        "qwen3vl__context_length": 262_144,
        "qwen3vl__block_count": 36,
        "qwen3vl__attention__head_count": 32,
        "qwen3vl__attention__head_count_kv": 8,
        "qwen3vl__attention__key_length": 128,
    }
    return write(path, **keys, **values)


def tower(path: Path, width: int = 64, **values: Any) -> Path:
    keys = {
        "general__architecture": "clip",
        "clip__projector_type": "qwen3vl_merger",
        "clip__vision__projection_dim": width,
        "clip__vision__patch_size": 16,
        "clip__vision__spatial_merge_size": 2,
        "clip__vision__layers": [True, False],
    }
    return write(path, **keys, **values)


def _aligned(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 32)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    kind, pack = {
        str: (8, _text),
        bool: (7, lambda one: struct.pack("<?", one)),
        int: (5, lambda one: struct.pack("<i", one)),
    }[type(value[0])]
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(pack(one) for one in value)
