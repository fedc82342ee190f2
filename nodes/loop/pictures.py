"""Pictures that leave a loop with the story of their making: in what ComfyUI's save nodes write, and in files of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from ...rationalrewards_core.errors import StorageError
from ...rationalrewards_core.storage import replace_file
from .made_with import ENTRY, made_with, parameters, settings_of
from .picture_workflow import chain_values, page_text, picture_values, with_inputs, with_widgets
from .run import LoopRun
from .state import Flow

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
    if isinstance(extra.get("workflow"), dict):
        extra["workflow"] = _edited(with_widgets, extra["workflow"], run, flow)


def save_picture(
    extra: Any, prompt: Mapping[str, Any], run: LoopRun, flow: Flow, row: Mapping[str, Any], image: Any, preview: str
) -> None:
    """Begin to write one iteration into the output folder, unless it is there.

    `image` is [1, H, W, C], `preview` the name of the file that the film shows, which is made of the picture's content.
    """
    import folder_paths
    from comfy.cli_args import args

    pixels = (image[0].detach().cpu().float() * 255.0).clamp(0, 255).byte().numpy()  # as the core's save node does
    table = made_with(row, flow.original)
    queued = {name: {part: node[part] for part in node if part != "is_changed"} for name, node in prompt.items()}
    height, width = pixels.shape[:2]
    texts = {
        "parameters": parameters(table, settings_of(run.body, queued), (width, height)),
        "prompt": json.dumps(_edited(with_inputs, queued, run, flow)),
        ENTRY: json.dumps({run.place.node: table}),
    }
    if isinstance(extra, Mapping) and isinstance(extra.get("workflow"), dict):
        texts["workflow"] = json.dumps(_edited(with_widgets, extra["workflow"], run, flow))
    reward = "unscored" if row["reward"] is None else f"{row['reward']:.3f}"
    address = Path(preview).stem.rpartition("_")[2][:12]
    file = Path(folder_paths.get_output_directory(), *SUBFOLDER, f"reward_{reward}_{address}.png")
    saving = _saving()
    silent = getattr(args, "disable_metadata", False)  # the user wants pictures that say nothing
    saving.append(_thread().submit(_write, pixels, {} if silent else texts, file))
    while len(saving) > WAITING:
        saving.pop(0).result()


def settle() -> None:
    """Wait until everything is written."""
    saving = _saving()
    while saving:
        saving.pop(0).result()


def _edited(change: Any, graph: dict[str, Any], run: LoopRun, flow: Flow) -> dict[str, Any]:
    """A graph that makes the picture of `flow`, in either form."""
    chained = flow.iteration > 0 and run.is_chained
    prompt = page_text(flow.prompt) if change is with_widgets else flow.prompt
    start, end = chain_values(flow.iteration) if chained else picture_values(prompt, flow.seed)
    changed = change(change(graph, run.place.start, start), run.place.node, end)
    return dict(changed)


def _write(pixels: Any, texts: Mapping[str, str], file: Path) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if file.is_file():
        return
    story = PngInfo()
    for name, text in texts.items():
        story.add_text(name, text)
    picture = BytesIO()
    Image.fromarray(pixels).save(picture, format="PNG", pnginfo=story, compress_level=4)
    try:
        replace_file(file, [picture.getvalue()])
    except StorageError as error:
        log.warning("A picture of the loop was not saved: %s", error)


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="rationalrewards-saving")


@cache
def _saving() -> list[Future[None]]:
    return []
