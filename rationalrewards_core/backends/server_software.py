"""What serves, and in which version: asked of the pages that each kind of server has for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .server_calls import ServerCalls


class Software(NamedTuple):
    """A kind of server."""

    name: str = ""
    """With its version, such as `llama.cpp b11549-e2d3f4a`; empty if it does not say."""
    context: int = 0
    """Tokens that one request may have, its reply included; 0 if it does not say."""


async def software_of(calls: ServerCalls, entry: Mapping[str, Any]) -> Software:
    """What serves. `entry` is what it lists of its model, which often names the maker."""
    owner = str(entry.get("owned_by") or "")
    if owner in ("", "vllm"):
        version = (await calls.beside("/version")).get("version")
        if isinstance(version, str):
            return Software(f"vLLM {version}")
    if owner in ("", "llamacpp"):
        page = await calls.beside("/props")
        build, settings = page.get("build_info"), page.get("default_generation_settings")
        if isinstance(build, str):
            return Software(f"llama.cpp {build}", _whole(settings.get("n_ctx")) if isinstance(settings, dict) else 0)
    if owner in ("", "sglang"):
        for path in ("/server_info", "/get_server_info"):
            version = (await calls.beside(path)).get("version")
            if isinstance(version, str):
                return Software(f"SGLang {version}")
    return Software(owner.replace("llamacpp", "llama.cpp").replace("vllm", "vLLM").replace("sglang", "SGLang"))


def context_of(entry: Mapping[str, Any]) -> int:
    """Tokens of context that a server lists for its model (vLLM, SGLang); 0 if it does not."""
    return _whole(entry.get("max_model_len"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
