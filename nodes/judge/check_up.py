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
EVENT = "rationalrewards.check"


async def check_up(engine: Engine, node_id: str | None) -> dict[str, Any]:
    """What the doctor says, as outputs of the node and on its card as it comes. BackendError if the engine cannot judge."""
    from comfy_execution.utils import get_executing_context

    lines: list[DoctorLine] = []
    context = get_executing_context()  # here: the doctor may work in another thread

    def tell(line: DoctorLine) -> None:
        lines.append(line)
        if context is not None:
            show(lines, context.node_id, context.prompt_id)

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
    return {"text": [text_of(lines)], "rr_check": [card_line(line) for line in lines]}


def card_line(line: DoctorLine) -> dict[str, str]:
    return {"check": line.check, "state": line.state, "sentence": line.sentence}


def text_of(lines: list[DoctorLine]) -> str:
    return "\n".join(f"{SIGNS[line.state]} {line.check}: {line.sentence}" for line in lines)


def show(lines: list[DoctorLine], node_id: str, prompt_id: str) -> None:
    """Tell the page that has queued the prompt what is known so far."""
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    if server is not None:
        output = {"rr_check": [card_line(line) for line in lines]}
        detail = {"node": node_id, "prompt_id": prompt_id, "output": output}
        server.send_sync(EVENT, detail, getattr(server, "client_id", None))
