"""Generators for the command line's loop: the miniature, any diffusers pipeline, or a program of the user's."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from .errors import BackendError, ConfigError
from .images import open_image

Draw = Callable[[str, int], Image.Image]
MAX_PIXELS = 64_000_000


def make_generator(name: str) -> Draw:
    """`miniature`, `diffusers:FOLDER_OR_ID` or `command:PROGRAM ... {prompt} {seed} {out}`."""
    kind, _, target = name.partition(":")
    if kind == "miniature" and not target:
        return _miniature()
    if kind == "diffusers" and target:
        return _diffusers(target)
    if kind == "command" and target:
        return _command(target)
    raise ConfigError(
        f"Unknown generator {name!r}; use miniature, diffusers:FOLDER_OR_ID or command:'PROGRAM {{prompt}} {{seed}} {{out}}'."
    )


def _miniature() -> Draw:
    from .miniature import generator_folder
    from .miniature.generator import MiniatureGenerator

    return MiniatureGenerator.load(generator_folder()).generate


def _diffusers(target: str) -> Draw:
    try:
        import torch
        from diffusers import AutoPipelineForText2Image
    except ImportError as error:
        raise ConfigError(
            "A diffusers generator needs torch and diffusers: pip install 'rationalrewards[training]'."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(target, torch_dtype=torch.bfloat16, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{target} is neither a diffusers folder nor in the local cache: {error}") from error
    pipeline.to(device)

    def draw(prompt: str, seed: int) -> Image.Image:
        image: Image.Image = pipeline(prompt, generator=torch.Generator().manual_seed(seed)).images[0]
        return image

    return draw


def _command(template: str) -> Draw:
    """Run a program once per image. The prompt is one argument, whatever it contains: no shell is involved."""
    words = shlex.split(template)
    for slot in ("{prompt}", "{out}"):
        if not any(slot in word for word in words):
            raise ConfigError(f"The command generator needs {slot} among its arguments: {template!r}.")

    def draw(prompt: str, seed: int) -> Image.Image:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "image.png"
            filled = [
                w.replace("{seed}", str(seed)).replace("{out}", str(out)).replace("{prompt}", prompt) for w in words
            ]
            done = subprocess.run(filled, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode != 0 or not out.is_file():
                last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it wrote no image"]
                raise BackendError(f"The generator command failed: {last[0]}", reason="generator_failed")
            return open_image(out, MAX_PIXELS)

    return draw
