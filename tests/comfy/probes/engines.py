"""What goes wrong while a node judges: interrupts, servers that leave, damaged adapters, missing models, full memory."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import weakref
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pack
import torch
from comfy import model_management as management
from rr_pack.nodes.judge import engines
from rr_pack.nodes.judge.scorers import MEMO, LoadedScorer
from rr_pack.nodes.load_scorer import LoadScorer
from rr_pack.rationalrewards_core.critique import render_critique
from rr_pack.rationalrewards_core.errors import RationalRewardsError
from rr_pack.rationalrewards_core.messages import UserRequest
from rr_pack.rationalrewards_core.miniature import scorer_folder
from rr_pack.rationalrewards_core.rubric_file import generation_rubric

REQUEST = UserRequest("a red circle")
PICTURES = [pack.drawn("a red circle"), pack.drawn("a blue square")]
MODELS = pack.FOLDER / "models"


def load(engine: dict[str, Any], rubric: str = "automatic") -> LoadedScorer:
    scorer: LoadedScorer = pack.run(LoadScorer.execute(engine=engine, rubric=rubric, memory="keep loaded")).args[0]
    return scorer


def judged(scorer: LoadedScorer, pictures: Any = None, mode: str = "score") -> Any:
    """Rewards and notes, or the sentence of the error."""
    MEMO._kept.clear()
    try:
        critiques = pack.run(scorer.critique_many(REQUEST, pictures or PICTURES, mode))
    except (RationalRewardsError, management.InterruptProcessingException) as error:
        return pack.sentence(error)
    return {"rewards": list(critiques.rewards), "notes": list(critiques.notes)}


def refused(choose: Callable[[], Any]) -> str:
    try:
        choose()
    except RationalRewardsError as error:
        return pack.sentence(error)
    return "accepted"


def interrupted() -> dict[str, Any]:
    scorer = load({"engine": "miniature"})
    judged(scorer)
    backend = scorer.engine._backend
    decoder = backend._decoder_of(backend.load())
    passes: list[int] = []
    one_pass = decoder._pass

    def watched(live: Any, cache: Any) -> Any:
        passes.append(len(live))
        if len(passes) == 5:
            management.interrupt_current_processing(True)
        return one_pass(live, cache)

    decoder._pass = watched
    outcome = judged(scorer, mode="critique")
    del decoder._pass
    return {
        "outcome": outcome,
        "passes": len(passes),
        "flag": management.processing_interrupted(),
        "next": judged(scorer)["rewards"],
    }


def adapters() -> dict[str, Any]:
    good = MODELS / "rationalrewards" / "good"
    shutil.copytree(scorer_folder(), MODELS / "LLM" / "judge")
    _adapter(good)
    for name, content in (("garbage", b"no safetensors at all"), ("cut", None)):
        shutil.copytree(good, MODELS / "rationalrewards" / name)
        file = MODELS / "rationalrewards" / name / "adapter_model.safetensors"
        file.write_bytes(content if content is not None else file.read_bytes()[:-2000])
    seen = {}
    choice = {"engine": "local", "checkpoint": "LLM/judge", "precision": "bf16", "device": "cpu"}
    for name in ("good", "garbage", "cut"):
        scorer = load({**choice, "adapter": f"rationalrewards/{name}"})
        seen[name] = judged(scorer)
        seen[f"{name}_present"] = scorer.engine.present
    seen["next"] = judged(load({**choice, "adapter": "none"}))
    return seen


def _adapter(folder: Any) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(str(scorer_folder()), dtype=torch.bfloat16)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).save_pretrained(str(folder))


def changed_adapter_is_another_engine() -> bool:
    choice = {"engine": "local", "checkpoint": "LLM/judge", "precision": "bf16", "device": "cpu"}
    before = load({**choice, "adapter": "rationalrewards/good"}).identity
    file = MODELS / "rationalrewards" / "good" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes())
    return load({**choice, "adapter": "rationalrewards/good"}).identity != before


def full_memory() -> dict[str, Any]:
    scorer = load({"engine": "miniature"})
    judged(scorer)
    backend = scorer.engine._backend
    decoder = backend._decoder_of(backend.load())
    run = decoder.run
    seen = {}
    for name, failures in (("once", 2), ("always", 10**6)):
        left = [failures]

        def starved(*positional: Any, left: list[int] = left) -> None:
            if left[0] > 0:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory.")
            run(*positional)

        decoder.run = starved
        seen[name] = judged(scorer, PICTURES[:1])
    del decoder.run
    seen["next"] = judged(scorer)["rewards"]
    scorer.unload()
    seen["load"] = _memory_full_while_loading(scorer)
    seen["load_present"] = scorer.engine.present
    seen["after_load"] = judged(scorer)["rewards"]
    return seen


def _memory_full_while_loading(scorer: LoadedScorer) -> Any:
    from rr_pack.rationalrewards_core.backends import transformers_local

    real, calls = transformers_local.load_checkpoint, []

    def starved(config: Any) -> Any:
        calls.append(config)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    transformers_local.load_checkpoint = starved
    sentence = judged(scorer)
    transformers_local.load_checkpoint = real
    return [sentence, len(calls)]


def no_model_is_leaked() -> dict[str, Any]:
    engine = engines.miniature_engine()
    judged(LoadedScorer(engine=engine))
    model = weakref.ref(engine._backend.load().model)
    engines.release_all()
    gc.collect()
    return {"alive": model() is not None, "known": len(management.current_loaded_models)}


class Judge(BaseHTTPRequestHandler):
    """Answers `answers` times and is gone after that."""

    answers = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if Judge.answers <= 0:
            self.connection.close()
            return
        Judge.answers -= 1
        body = json.dumps(
            {
                "model": "judge",
                "choices": [{"message": {"content": _reply()}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *positional: Any) -> None:
        """Quiet."""


def _reply() -> str:
    from rr_pack.rationalrewards_core.critique import Critique, Judgement, Refinement

    rubric = generation_rubric()
    critique = Critique(
        rubric=rubric.name,
        judgements=tuple(Judgement(key=d.key, justification="As asked.", score=3.0) for d in rubric.dimensions),
        analysis="A circle.",
        summary="Good.",
        refinement=Refinement(comments="Nothing to change.", request="a red circle"),
    )
    return render_critique(critique, rubric)


def server() -> dict[str, Any]:
    listening = HTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    config = pack.FOLDER / "config" / "rationalrewards" / "config.toml"
    config.parent.mkdir(parents=True)
    address = f"http://127.0.0.1:{listening.server_port}/v1"
    config.write_text(
        f'[servers.judge]\nurl = "{address}"\nmodel = "judge"\nretries = 0\nconcurrency = 1\ncheck_sight = false\nprobe = false\n'
    )
    scorer = load({"engine": "server", "server": "judge"})
    seen: dict[str, Any] = {}
    for name, answers in (("two", 2), ("one", 1), ("none", 0), ("back", 2)):
        Judge.answers = answers
        seen[name] = judged(scorer, mode="critique")
    listening.shutdown()
    listening.server_close()
    seen["closed"] = judged(scorer)
    management.interrupt_current_processing(True)
    seen["interrupted"] = judged(scorer)
    return seen


def choices() -> dict[str, str]:
    """What a workflow must not be able to name, and what it says when something is missing."""
    local = {"engine": "local", "checkpoint": "LLM/judge", "precision": "bf16", "device": "cpu"}
    wrong: dict[str, Any] = {
        "unknown_engine": {"engine": "exec"},
        "engine_is_text": "miniature",
        "missing": {**local, "checkpoint": "LLM/RationalRewards-8B-T2I"},
        "hub_id": {**local, "checkpoint": "TIGER-Lab/RationalRewards-8B-T2I"},
        "parent": {**local, "checkpoint": "LLM/../../secret"},
        "absolute": {**local, "checkpoint": str(scorer_folder())},
        "address": {**local, "checkpoint": "https://example.org/model"},
        "checkpoint_is_a_number": {**local, "checkpoint": 7},
        "adapter_address": {**local, "adapter": "http://example.org/a"},
        "adapter_missing": {**local, "adapter": "loras/none"},
        "huge_batch": {**local, "batch_size": 10**12},
        "no_number": {**local, "max_megapixels": float("nan")},
        "text_for_number": {**local, "max_megapixels": "0.8"},
        "precision": {**local, "precision": "int2"},
        "device": {**local, "device": "cuda:99"},
        "server_address": {"engine": "server", "server": "http://127.0.0.1:1/v1"},
        "server_number": {"engine": "server", "server": 3},
        "no_clip": {"engine": "comfy_clip"},
        "clip_of_another_kind": {"engine": "comfy_clip", "clip": object()},
    }
    seen = {name: refused(lambda choice=choice: load(choice)) for name, choice in wrong.items()}
    seen["rubric"] = refused(lambda: load({"engine": "miniature"}, "../../secret.toml"))
    return seen


def checkpoints_are_listed() -> list[str]:
    from rr_pack.nodes.engines.local import option

    return next(list(entry.options) for entry in option().inputs if entry.id == "checkpoint")


import folder_paths  # noqa: E402

folder_paths.models_dir = str(MODELS)
none_yet = checkpoints_are_listed()
pack.report(
    {
        "interrupted": interrupted(),
        "none_yet": none_yet,
        "adapters": adapters(),
        "listed": checkpoints_are_listed(),
        "changed_adapter": changed_adapter_is_another_engine(),
        "memory": full_memory(),
        "server": server(),
        "choices": choices(),
        "leak": no_model_is_leaked(),
    }
)
