"""The doctor inside ComfyUI: an engine checked from end to end, and what was seen shown on the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...rationalrewards_core.doctor import Doctor, DoctorLine
from ...rationalrewards_core.errors import BackendError
from ...rationalrewards_core.picture_grid import grid_of_folder
from .engines import Engine
from .progress import NodeProgress

SIGNS = {"good": "✓", "poor": "!", "stops": "✗"}


async def check_up(engine: Engine, node_id: str | None) -> str:
    """What the doctor says, one line a check, on the node as it comes. BackendError if the engine cannot judge."""
    lines: list[DoctorLine] = []

    def tell(line: DoctorLine) -> None:
        lines.append(line)
        show_text(text_of(lines), node_id)

    config = getattr(engine, "config", None)
    model = str(getattr(config, "model", ""))
    doctor = Doctor(
        backend=engine,
        rubrics=engine.rubrics,
        model=model if hasattr(config, "url") else "",
        max_pixels=getattr(config, "max_pixels", None),
        grid=grid_of_folder(Path(model)) if model and not hasattr(config, "url") else None,
        max_tokens=engine.max_tokens,
        tell=tell,
    )
    await engine.run(doctor.examine, NodeProgress(node_id, 1))
    stops = [line for line in lines if line.state == "stops"]
    if stops:
        raise BackendError(f"{engine.name} cannot judge: {stops[0].sentence}", reason=stops[0].check)
    return text_of(lines)


def text_of(lines: list[DoctorLine]) -> str:
    return "\n".join(f"{SIGNS[line.state]} {line.check}: {line.sentence}" for line in lines)


def show_text(text: str, node_id: str | None) -> None:
    """Put a text on a node, as ComfyUI's own nodes do; versions without that show it in the queue's history alone."""
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    if node_id is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(text, node_id, getattr(server, "client_id", None))
