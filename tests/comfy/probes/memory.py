"""What ComfyUI's model management does with our models, and they with it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pack
import torch
from comfy import model_management as management
from comfy.model_patcher import ModelPatcher
from rr_pack.nodes.judge import engines
from rr_pack.nodes.judge.scorers import MEMO, LoadedScorer
from rr_pack.nodes.models import memory
from rr_pack.nodes.models.patcher import OccupantPatcher
from rr_pack.rationalrewards_core.engines import EngineOptions
from rr_pack.rationalrewards_core.messages import UserRequest
from rr_pack.rationalrewards_core.miniature import scorer_folder

REQUEST = UserRequest("a red circle")
PICTURE = pack.drawn("a red circle")
CARD = torch.device("meta")
"""A card that is none: model management takes it for a GPU, and `free` says how much memory it has left."""
free = 1e12


def known() -> list[str]:
    return [type(entry.model).__name__ for entry in management.current_loaded_models]


def judged(scorer: LoadedScorer) -> list[float | None]:
    MEMO._kept.clear()  # ask the model, not the memo
    return list(pack.run(scorer.critique_many(REQUEST, [PICTURE], "score")).rewards)


def unload_all() -> dict[str, Any]:
    engine = engines.miniature_engine()
    scorer = LoadedScorer(engine=engine)
    first = judged(scorer)
    model = weakref.ref(engine._backend.load().model)
    loaded = {"known": known(), "bytes": management.current_loaded_models[0].model_loaded_memory()}
    again = judged(scorer)
    kept = model() is engine._backend.load().model
    management.unload_all_models()
    gc.collect()
    gone = {"known": known(), "present": engine.present, "alive": model() is not None}
    return {"first": first, "loaded": loaded, "again": again, "kept": kept, "gone": gone, "back": judged(scorer)}


def free_after_each_run() -> dict[str, Any]:
    engine = engines.miniature_engine()
    rewards = judged(LoadedScorer(engine=engine, keep=False))
    return {"rewards": rewards, "present": engine.present, "known": known()}


def one_load_for_edits_with_a_source_each() -> dict[str, Any]:
    engine, loads = engines.miniature_engine(), []
    enter = engine._resident.enter
    engine._resident.enter = lambda: (loads.append(engine.present), enter())
    edits = [UserRequest("make the circle green", (pack.drawn("a red circle", seed),)) for seed in range(3)]
    pictures = [pack.drawn("a green circle", seed) for seed in range(3)]
    MEMO._kept.clear()
    critiques = pack.run(LoadedScorer(engine=engine, keep=False).critique_many(edits, pictures, "score"))
    engine._resident.enter = enter
    return {"scored": sum(r is not None for r in critiques.rewards), "loads": loads.count(False)}


def nothing_is_loaded_for_the_memo() -> dict[str, Any]:
    engine = engines.miniature_engine()
    scorer = LoadedScorer(engine=engine)
    judged(scorer)
    scorer.unload()
    rewards = list(pack.run(scorer.critique_many(REQUEST, [PICTURE], "score")).rewards)
    return {"rewards": rewards, "present": engine.present}


def quantised() -> dict[str, Any]:
    seen = {}
    for precision in ("auto", "nf4"):
        options = EngineOptions(precision=precision, device="cpu", batch_size=1)
        engine = engines.local_engine(scorer_folder(), options)
        rewards = judged(LoadedScorer(engine=engine))
        size = engine._resident.size
        management.unload_all_models()
        seen[precision] = {"rewards": rewards, "bytes": size, "present": engine.present, "back": None}
        seen[precision]["back"] = judged(LoadedScorer(engine=engine))
        engine.release()
    return {"seen": seen, "most": engines.MOST_LOCAL, "known_engines": len(engines._local)}


def on_a_card() -> dict[str, Any]:
    """All or nothing in every memory state, and a sampler that needs the room gets it."""
    seen: dict[str, Any] = {"states": {}}
    management.get_free_memory = lambda dev=None, torch_free_too=False: (free, free) if torch_free_too else free
    engine = engines.miniature_engine()
    engine.release()
    engine._resident._patcher = OccupantPatcher(engine._resident, CARD, torch.device("cpu"))
    scorer = LoadedScorer(engine=engine)
    before = management.vram_state
    for state in ("NO_VRAM", "LOW_VRAM", "NORMAL_VRAM", "HIGH_VRAM"):
        management.vram_state = management.VRAMState[state]
        rewards = judged(scorer)
        entry = management.current_loaded_models[0]
        seen["states"][state] = [rewards, entry.model_loaded_memory() == entry.model_memory() > 0]
        management.free_memory(1e30, CARD)
        seen["states"][state].append(engine.present)
    management.vram_state = before
    judged(scorer)
    seen["sampler"] = sampler_takes_over(engine)
    seen["back"] = [judged(scorer), engine.present]
    engine.release()
    engine._resident._patcher = None
    return seen


def sampler_takes_over(engine: Any) -> dict[str, Any]:
    global free
    sampler = ModelPatcher(torch.nn.Identity(), CARD, torch.device("cpu"), size=1_000_000)
    management.load_models_gpu([sampler])
    with_room = engine.present
    management.free_memory(1e30, CARD, keep_loaded=[])
    judged(LoadedScorer(engine=engine))
    free = 1.0
    management.load_models_gpu([sampler])
    without_room = engine.present
    free = 1e12
    names = known()
    management.free_memory(1e30, CARD)
    return {"with_room": with_room, "without_room": without_room, "known": names}


pack.report(
    {
        "unload_all": unload_all(),
        "free_after_each_run": free_after_each_run(),
        "edits": one_load_for_edits_with_a_source_each(),
        "memo": nothing_is_loaded_for_the_memo(),
        "quantised": quantised(),
        "card": on_a_card(),
        "working_bytes": memory.working_bytes(engines.miniature_engine()._backend.load().model, 1),
    }
)
