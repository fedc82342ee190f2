"""What a picture of a loop says of how it was made: prompt, seed, reward, scores and critique.

As a table for `extra_pnginfo`, which ComfyUI's own save node writes as JSON, and as the text `parameters`, which other
tools and sharing sites read. (The core's save node writes JSON only, so the text is in files that the loop saves itself.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .graph import LoopBody, is_link

ENTRY: Final = "rationalrewards"
"""The key of the tables, by loop, beside `workflow`."""
SETTINGS: Final = {
    "Steps": ("steps",),
    "Sampler": ("sampler_name",),
    "Schedule type": ("scheduler",),
    "CFG scale": ("cfg", "guidance"),
    "Model": ("ckpt_name", "unet_name"),
}
"""How other tools call settings, and the inputs that hold them."""


def made_with(row: Mapping[str, Any], request: str) -> dict[str, Any]:
    """The table of one iteration, from the row that the page shows of it. `request` is what the user asked for."""
    card = row.get("card") or {}
    return {
        "request": request,
        "prompt": row["prompt"],
        "seed": row["seed"],
        "iteration": row["index"],
        "reward": row["reward"],
        "scores": {one["title"]: one["score"] for one in card.get("dimensions", ())},
        "critique": {one["title"]: one["justification"] for one in card.get("dimensions", ())},
        "summary": card.get("summary", ""),
        "unscored": row["unscored"],
    }


def parameters(table: Mapping[str, Any], settings: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The text that A1111 began with: prompt, negative prompt, one line of settings. `size` is (width, height)."""
    entries = {name: value for name, value in settings.items() if name != "Negative prompt"}
    entries |= {"Seed": table["seed"], "Size": f"{size[0]}x{size[1]}", "Reward": _rounded(table["reward"])}
    entries |= {title: _rounded(score) for title, score in table["scores"].items()}
    line = ", ".join(f"{name}: {_quoted(value)}" for name, value in entries.items() if value is not None)
    negative = settings.get("Negative prompt")
    return "\n".join([str(table["prompt"]), *([f"Negative prompt: {negative}"] if negative else []), line])


def settings_of(body: LoopBody, outside: Mapping[str, Any]) -> dict[str, Any]:
    """What the body's sampler and loaders say of themselves, under the names of `SETTINGS`; only what is typed there."""
    nodes = [*body.nodes.values(), *outside.values()]
    entries = {name: _typed(nodes, inputs) for name, inputs in SETTINGS.items()}
    links = [node["inputs"].get("negative") for node in nodes]
    texts = [{**outside, **body.nodes}.get(link[0], {}).get("inputs", {}) for link in links if is_link(link)]
    return {"Negative prompt": _typed([{"inputs": text} for text in texts], ("text",)), **entries}


def _typed(nodes: Any, inputs: tuple[str, ...]) -> Any:
    values = (node["inputs"].get(name) for name in inputs for node in nodes)
    return next((value for value in values if value is not None and not isinstance(value, list)), None)


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if any(sign in text for sign in ",:\n") and '"' not in text else text
