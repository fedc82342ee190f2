"""Pictures that leave a loop with the story of their making: in what ComfyUI's save nodes write, and in files of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from ...rationalrewards_core.errors import StorageError
from ...rationalrewards_core.storage import replace_file
from ..show.origin import workflow_file
from .made_with import ENTRY, made_with
from .run import LoopRun
from .state import Flow
from .story import LoopStory

log = logging.getLogger("rationalrewards.nodes")

Save = Literal["nothing", "best image", "every image"]
SUBFOLDER: Final = ("rationalrewards", "loops")
WAITING: Final = 2
"""Pictures that may wait to be written."""


def describe(extra: Any, run: LoopRun, flow: Flow, row: Mapping[str, Any] | None) -> None:
    """Let what is saved from now on tell this iteration's story. `row` is what is thought of it, if that is known.

    `extra` is the run's own `extra_pnginfo`, which every save node of the run gets; None where a script sent none.
    """
    if not isinstance(extra, MutableMapping):
        return
    origin = {"prompt": flow.prompt, "seed": flow.seed, "iteration": flow.iteration}
    table = origin if row is None else made_with(row, flow.original)
    extra[ENTRY] = {**extra.get(ENTRY, {}), run.place.node: table}
    workflow = workflow_file(extra)
    if workflow is not None:
        extra["workflow"] = run.story.edited_workflow(workflow, flow.prompt, flow.seed, flow.iteration)


def save_picture(run: LoopRun, row: Mapping[str, Any], image: Any, preview: str) -> None:
    """Begin to write one iteration into the output folder, unless it is there.

    `image` is [1, H, W, C], `preview` the name of the file that the film shows, which is made of the picture's content.
    """
    import folder_paths

    content = Path(preview).stem.rpartition("_")[2][:12]
    file = Path(folder_paths.get_output_directory(), *SUBFOLDER, picture_name(row, content))
    saving = _saving()
    saving.append(_thread().submit(_write, picture_pixels(image), run.story, row, file))
    while len(saving) > WAITING:
        saving.pop(0).result()


def picture_name(row: Mapping[str, Any], ending: str) -> str:
    """A file name that sorts by reward."""
    reward = "unscored" if row["reward"] is None else f"{row['reward']:.3f}"
    return f"reward_{reward}_{ending}.png"


def picture_pixels(image: Any) -> Any:
    """[1, H, W, C] as the core's save node makes it whole numbers: [H, W, C]."""
    return (image[0].detach().cpu().float() * 255.0).clamp(0, 255).byte().numpy()


def picture_file(pixels: Any, story: LoopStory, row: Mapping[str, Any]) -> bytes:
    """A PNG of [H, W, C] that tells how it was made, unless the user wants pictures that say nothing."""
    from comfy.cli_args import args
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    entries = PngInfo()
    if not getattr(args, "disable_metadata", False):
        height, width = pixels.shape[:2]
        for name, text in story.texts(row, (width, height)).items():
            entries.add_text(name, text)
    picture = BytesIO()
    Image.fromarray(pixels).save(picture, format="PNG", pnginfo=entries, compress_level=4)
    return picture.getvalue()


def settle() -> None:
    """Wait until everything is written."""
    saving = _saving()
    while saving:
        saving.pop(0).result()


def _write(pixels: Any, story: LoopStory, row: Mapping[str, Any], file: Path) -> None:
    if file.is_file():
        return
    try:
        replace_file(file, [picture_file(pixels, story, row)])
    except StorageError as error:
        log.warning("A picture of the loop was not saved: %s", error)


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="rationalrewards-saving")


@cache
def _saving() -> list[Future[None]]:
    return []
