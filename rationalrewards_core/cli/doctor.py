"""The command that checks an engine from end to end: doctor."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from ..backends.base import Backend
from ..doctor import Doctor, DoctorLine, check_of
from ..engines import EngineName, EngineOptions, make_backend, make_rubrics, make_scorer
from ..errors import RationalRewardsError
from ..picture_grid import grid_of_folder
from ..scorer import Scorer
from .judge_commands import DONE, FAILED, show_json

MARKS = {"good": "good ", "poor": "poor ", "stops": "STOPS"}


def doctor_command(arguments: argparse.Namespace) -> int:
    lines = asyncio.run(_examined(arguments))
    stopped = any(line.state == "stops" for line in lines)
    if arguments.json:
        show_json({"engine": arguments.engine, "judges": not stopped, "checks": [line.to_json() for line in lines]})
    elif stopped:
        print(f"{arguments.engine} cannot judge; the line marked {MARKS['stops']} says what to do.")
    else:
        print(f"{arguments.engine} can judge.")
    return FAILED if stopped else DONE


async def _examined(arguments: argparse.Namespace) -> list[DoctorLine]:
    def tell(line: DoctorLine) -> None:
        if not arguments.json:
            print(f"{MARKS[line.state]}  {line.check}: {line.sentence}", flush=True)

    try:
        options = EngineOptions(
            precision=arguments.precision,
            device=arguments.device,
            max_pixels=arguments.max_pixels,
            batch_size=1,
            config_file=arguments.config,
        )
        name = EngineName.parse(arguments.engine)
        backend = with_every_check(make_backend(name, options))
        rubrics = make_rubrics(name, arguments.rubric, config_file=arguments.config)
        rival = rival_of(name, backend, arguments.against, options)
    except RationalRewardsError as error:
        line = DoctorLine(check_of(error), "stops", str(error))
        tell(line)
        return [line]
    config = getattr(backend, "config", None)
    model = str(getattr(config, "model", ""))
    doctor = Doctor(
        backend=backend,
        rubrics=rubrics,
        model=model if name.kind == "server" else "",
        max_pixels=getattr(config, "max_pixels", arguments.max_pixels),
        grid=grid_of_folder(Path(model)) if name.kind in ("miniature", "local") else None,
        max_tokens=arguments.max_tokens,
        rival=rival,
        tell=tell,
    )
    try:
        return await doctor.examine()
    finally:
        await backend.close()
        if rival is not None:
            await rival.close()


def with_every_check(backend: Backend) -> Backend:
    """The backend, but a server is asked what it honours even if its config says otherwise."""
    from ..backends.managed_chat import ManagedChat
    from ..backends.openai_chat import OpenAIChat

    if isinstance(backend, OpenAIChat):
        return OpenAIChat(replace(backend.config, probe=True, check_sight=True))
    if isinstance(backend, ManagedChat):
        return ManagedChat(replace(backend.config, probe=True, check_sight=True), backend.grid)
    return backend


def rival_of(name: EngineName, backend: Backend, against: str | None, options: EngineOptions) -> Scorer | None:
    """The local engine of the same model: the one named, else the checkpoint that the server's entry names, if it is here."""
    if against is None:
        if name.kind != "server":
            return None
        folder = getattr(getattr(backend, "config", None), "processor", "")
        if not folder or not any(Path(folder).glob("*.safetensors")):
            return None
        against = f"local:{folder}"
    print(f"Comparing with {against}.", file=sys.stderr)
    return make_scorer(against, EngineOptions(device=options.device, max_pixels=options.max_pixels, batch_size=1))
