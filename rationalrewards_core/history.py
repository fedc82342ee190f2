"""The history of a loop: one JSON line per step, appended as it happens, images beside it.

    history.jsonl     a header (request, policy, base seed), then one line per step
    step_000.png ...  the candidates

A run that was killed is re-opened from it and goes on where it was; a half-written last line is dropped.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from .critique import Unscored, critique_from_json
from .errors import ConfigError
from .messages import UserRequest
from .pixels import to_rgb
from .refine import RefinePolicy, RefineState, RefineStep

FILE = "history.jsonl"
VERSION = 1


class History:
    """Appends the steps of one loop to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE

    def start(self, state: RefineState) -> None:
        """Write the header of a new run; ConfigError if the folder already holds one."""
        if self.file.exists():
            raise ConfigError(f"{self.folder} already holds a run; continue it, or choose another folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        sources = []
        for number, source in enumerate(state.request.sources):
            name = f"source_{number}.png"
            to_rgb(source).save(self.folder / name)
            sources.append(name)
        header = {
            "version": VERSION,
            "request": state.request.text,
            "sources": sources,
            "base_seed": state.base_seed,
            "policy": {**asdict(state.policy), "minimums": dict(state.policy.minimums)},
        }
        self._append(header)

    def add(self, step: RefineStep) -> None:
        """Save the step's image, then its line: a line never names an image that is not there."""
        name = ""
        if step.image is not None:
            name = f"step_{step.index:03d}.png"
            temporary = self.folder / f".{name}"
            to_rgb(step.image).save(temporary, format="PNG")
            os.replace(temporary, self.folder / name)
        self._append(step_to_json(step, name))

    def _append(self, row: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def step_to_json(step: RefineStep, image_file: str) -> dict[str, Any]:
    return {
        "index": step.index,
        "request": step.request,
        "seed": step.seed,
        "origin": step.origin,
        "outcome": step.outcome.to_json(),
        "reward": step.reward,
        "accepted": step.accepted,
        "proposal": step.proposal,
        "generate_seconds": round(step.generate_seconds, 4),
        "judge_seconds": round(step.judge_seconds, 4),
        "image_file": image_file or step.image_file,
    }


def load_history(folder: Path) -> RefineState:
    """Re-open a run. ConfigError if the folder holds none, or one of another version."""
    file = folder / FILE
    if not file.is_file():
        raise ConfigError(f"{folder} holds no run: there is no {FILE}.")
    rows = _rows(file)
    if not rows or rows[0].get("version") != VERSION:
        raise ConfigError(f"{file} is not a history of this version.")
    header = rows[0]
    sources = tuple(_image(folder / name) for name in header["sources"])
    return RefineState(
        request=UserRequest(header["request"], sources),
        base_seed=header["base_seed"],
        policy=RefinePolicy(**header["policy"]),
        steps=tuple(_step(row, folder) for row in rows[1:]),
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """The complete lines; a torn last line is cut off the file so that the next one starts clean."""
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with file.open("r+b") as handle:
            handle.truncate(end)
    try:
        return [json.loads(line) for line in data[:end].splitlines()]
    except ValueError as error:
        raise ConfigError(f"{file} is damaged: {error}.") from error


def _step(row: dict[str, Any], folder: Path) -> RefineStep:
    outcome = row["outcome"]
    name = row["image_file"]
    return RefineStep(
        index=row["index"],
        request=row["request"],
        seed=row["seed"],
        origin=row["origin"],
        outcome=Unscored(reason=outcome["unscored"], message=outcome["message"], raw=outcome["raw"])
        if "unscored" in outcome
        else critique_from_json(outcome),
        reward=row["reward"],
        accepted=row["accepted"],
        proposal=row.get("proposal"),  # absent from histories written before there were proposals
        generate_seconds=row["generate_seconds"],
        judge_seconds=row["judge_seconds"],
        image=_image(folder / name) if name else None,
        image_file=name,
    )


def _image(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return to_rgb(image)
