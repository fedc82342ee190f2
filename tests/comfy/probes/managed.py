"""Servers that ComfyUI's nodes start: shared memory, unloading, interrupts; a stand-in server, and llama.cpp where it is."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pack
from comfy import model_management as management
from rr_pack.nodes.engines.gguf import option as gguf_option
from rr_pack.nodes.judge import engines
from rr_pack.nodes.judge.scorers import MEMO, LoadedScorer
from rr_pack.nodes.load_scorer import LoadScorer
from rr_pack.nodes.unload_scorer import UnloadScorer
from rr_pack.rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rr_pack.rationalrewards_core.errors import RationalRewardsError
from rr_pack.rationalrewards_core.gguf import engine as gguf_engine
from rr_pack.rationalrewards_core.messages import UserRequest
from rr_pack.rationalrewards_core.rubric_file import generation_rubric

REQUEST = UserRequest("a red circle")
PICTURE = pack.drawn("a red circle")
STUB = pack.PACK / "tests" / "core" / "managed_stub.py"


def entry(name: str, *arguments: str, **settings: Any) -> str:
    rubric = generation_rubric()
    scores = tuple(
        Judgement(key=d.key, justification="Right.", score=None if d.optional else 4.0) for d in rubric.dimensions
    )
    text = render_critique(
        Critique(
            rubric=rubric.name,
            judgements=scores,
            analysis="A circle.",
            summary="Good.",
            refinement=Refinement(comments="Nothing.", request="a red circle"),
        ),
        rubric,
    )
    command = [sys.executable, str(STUB), "--port", "{port}", "--text", text, *arguments]
    lines = [f"[servers.{name}]", f"command = {json.dumps(command)}", 'environment = { STUB_KEY = "{key}" }']
    given = {"check_sight": "false", "probe": "false", **settings}
    lines += [f"{key} = {value}" for key, value in given.items()]
    return "\n".join(lines) + "\n"


def load(memory: str = "keep loaded", **engine: Any) -> LoadedScorer:
    scorer: LoadedScorer = pack.run(LoadScorer.execute(engine=engine, rubric="automatic", memory=memory)).args[0]
    return scorer


def judged(scorer: LoadedScorer) -> Any:
    MEMO._kept.clear()
    try:
        return list(pack.run(scorer.critique_many(REQUEST, [PICTURE], "critique")).rewards)
    except (RationalRewardsError, management.InterruptProcessingException) as error:
        return pack.sentence(error)


def known() -> list[str]:
    return [type(loaded.model).__name__ for loaded in management.current_loaded_models]


def lifetimes() -> dict[str, Any]:
    scorer = load(engine="server", server="own")
    seen: dict[str, Any] = {"before": scorer.engine.present, "first": judged(scorer), "present": scorer.engine.present}
    seen["known"] = known()
    management.unload_all_models()
    seen["unloaded"] = [scorer.engine.present, known()]
    seen["back"] = [judged(scorer), scorer.engine.present]
    same = load(engine="server", server="own")
    seen["same_engine"] = same.engine is scorer.engine
    UnloadScorer.execute("anything", scorer)
    seen["unload_scorer"] = scorer.engine.present
    judged(scorer)
    UnloadScorer.execute("anything")
    seen["unload_all"] = scorer.engine.present
    freed = load("free after each run", engine="server", server="own")
    seen["freed"] = [judged(freed), freed.engine.present]
    seen["memo"] = [list(pack.run(freed.critique_many(REQUEST, [PICTURE], "critique")).rewards), freed.engine.present]
    return seen


def notes() -> dict[str, list[str]]:
    """What a node is told of a server that honours nothing: one that ComfyUI started, and one at an address."""
    MEMO._kept.clear()
    engines.release_all()
    return {
        name: list(pack.run(load(engine="server", server=name).critique_many(REQUEST, [PICTURE], "critique")).notes)
        for name in ("tried", "own")
    }


def interrupted() -> dict[str, Any]:
    scorer = load(engine="server", server="slow")
    threading.Timer(4.0, management.interrupt_current_processing, [True]).start()
    began = time.monotonic()
    return {"outcome": judged(scorer), "soon": time.monotonic() - began < 20, "present": scorer.engine.present}


def taken_away() -> str:
    """ComfyUI needs the memory while the server judges."""
    scorer = load(engine="server", server="slow")

    def unload() -> None:
        while not scorer.engine.present:
            time.sleep(0.05)
        time.sleep(2)
        management.unload_all_models()

    threading.Thread(target=unload).start()
    return str(judged(scorer))


def checked(**engine: Any) -> str:
    """What Load Rational Scorer shows with `check` on."""
    try:
        output = pack.run(LoadScorer.execute(engine=engine, rubric="automatic", memory="keep loaded", check=True))
    except RationalRewardsError as error:
        return pack.sentence(error)
    return str(output.ui["text"][0])


def gguf(model: str, python: str) -> dict[str, Any]:
    gguf_engine.llama_python = lambda: python
    folder = Path(model).parent
    import folder_paths

    folder_paths.folder_names_and_paths["LLM"] = ([str(folder.parent)], set())
    listed = gguf_option().inputs[0].options
    scorer = load(engine="gguf", model=listed[0])
    seen = {"listed": listed, "rewards": judged(scorer), "present": scorer.engine.present}
    local = judged(load(engine="miniature"))
    scorer.unload()
    return {**seen, "local": local, "unloaded": scorer.engine.present}


def main() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "rationalrewards" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        entry("own")
        + entry("tried", "--slow", "0", probe="true")
        + entry("slow", "--slow", "60")
        + entry("broken", "--broken")
    )
    seen: dict[str, Any] = {
        "lifetimes": lifetimes(),
        "notes": notes(),
        "interrupted": interrupted(),
        "taken_away": taken_away(),
        "broken": judged(load(engine="server", server="broken")),
        "checks": {"miniature": checked(engine="miniature"), "blind": checked(engine="server", server="own")},
    }
    if os.environ.get("PROBE_GGUF"):
        seen["gguf"] = gguf(os.environ["PROBE_GGUF"], os.environ["PROBE_LLAMA_PYTHON"])
    engines.release_all()
    pack.report(seen)


main()
