"""Generators for the command line's loop: the miniature, any diffusers pipeline, or a program of the user's."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from .backends.device import fast_precision, floating_type
from .errors import BackendError, ConfigError, RequestError
from .images import MAX_PIXELS, open_image
from .rewording import split_negative

Draw = Callable[[str, int], Image.Image]
_SLOT = re.compile(r"\{(?:prompt|negative|seed|out)\}")


def make_generator(name: str, *, negative: bool = False) -> Draw:
    """`miniature`, `diffusers:FOLDER_OR_ID` or `command:PROGRAM ... {prompt} {seed} {out}`.

    With `negative`, what stands behind `Negative prompt:` in a text goes to the generator apart from the prompt:
    ConfigError from one that takes no negative prompt.
    """
    kind, _, target = name.partition(":")
    if kind == "miniature" and not target:
        if negative:
            raise ConfigError("The miniature takes no negative prompt: leave it out, or name another generator.")
        return _miniature()
    if kind == "diffusers" and target:
        return _diffusers(target, negative)
    if kind == "command" and target:
        return _command(target, negative)
    raise ConfigError(
        f"Unknown generator {name!r}; use miniature, diffusers:FOLDER_OR_ID or command:'PROGRAM {{prompt}} {{seed}} {{out}}'."
    )


def _miniature() -> Draw:
    from .miniature import generator_folder
    from .miniature.generator import MiniatureGenerator
    from .miniature.scope import check_drawable

    generator = MiniatureGenerator.load(generator_folder())

    def draw(prompt: str, seed: int) -> Image.Image:
        check_drawable(prompt)
        return generator.generate(prompt, seed)

    return draw


def _diffusers(target: str, negative: bool) -> Draw:
    try:
        import torch
        from diffusers import AutoPipelineForText2Image
    except ImportError as error:
        raise ConfigError(
            "A diffusers generator needs torch and diffusers: pip install 'rationalrewards[training]'."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        dtype = floating_type(fast_precision(device))
        pipeline = AutoPipelineForText2Image.from_pretrained(target, torch_dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{target} is neither a diffusers folder nor in the local cache: {error}") from error
    if negative and "negative_prompt" not in inspect.signature(pipeline.__call__).parameters:
        raise ConfigError(f"{type(pipeline).__name__} of {target} takes no negative prompt: leave it out.")
    pipeline.to(device)

    def draw(text: str, seed: int) -> Image.Image:
        prompt, unwanted = split_negative(text) if negative else (text, "")
        apart = {"negative_prompt": unwanted} if negative else {}
        image: Image.Image = pipeline(prompt, generator=torch.Generator().manual_seed(seed), **apart).images[0]
        return image

    return draw


def _command(template: str, negative: bool) -> Draw:
    """Run a program once per image. The prompt is one argument, whatever it contains: no shell is involved.

    A refined prompt is a model's text: `--prompt={prompt}` keeps one that begins with a dash from being an option.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise ConfigError(f"The generator command cannot be read ({error}): {template!r}.") from error
    for slot in ("{prompt}", "{out}", *(["{negative}"] if negative else [])):
        if not any(slot in word for word in words):
            raise ConfigError(f"The command generator needs {slot} among its arguments: {template!r}.")
    if shutil.which(words[0]) is None:
        raise ConfigError(f"The generator command's program {words[0]!r} was not found, or is not executable.")

    def draw(text: str, seed: int) -> Image.Image:
        prompt, unwanted = split_negative(text) if negative else (text, "")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "image.png"
            slots = {"{seed}": str(seed), "{out}": str(out), "{prompt}": prompt, "{negative}": unwanted}
            filled = [_SLOT.sub(lambda slot: slots[slot[0]], word) for word in words]
            try:
                process = subprocess.run(  # noqa: S603
                    filled, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
                )
            except (OSError, ValueError) as error:
                raise _failed(str(error)) from error
            if process.returncode != 0:
                last_line = (process.stderr.strip() or process.stdout.strip()).splitlines()[-1:]
                raise _failed(
                    f"it ended with status {process.returncode}" + "".join(f" and said: {line}" for line in last_line)
                )
            if not out.is_file():
                raise _failed("it wrote no image to {out}")
            try:
                return open_image(out, MAX_PIXELS)
            except RequestError as error:
                raise _failed(str(error)) from error

    return draw


def _failed(why: str) -> BackendError:
    return BackendError(f"The generator command failed: {why}", reason="generator_failed")
