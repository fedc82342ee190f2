"""The miniature's own weights as a CLIP against the same weights by transformers, and what a CLIP is refused for."""

from __future__ import annotations

import types
from typing import Any

import pack
import torch
from comfy import model_management as management
from rr_pack.nodes.judge import engines
from rr_pack.nodes.judge.comfy_clip import ClipEngine, chat_text, clip_engine
from rr_pack.nodes.judge.scorers import MEMO, LoadedScorer
from rr_pack.rationalrewards_core.backends.base import Sampling
from rr_pack.rationalrewards_core.engines import EngineOptions
from rr_pack.rationalrewards_core.errors import RationalRewardsError
from rr_pack.rationalrewards_core.images import qwen_size
from rr_pack.rationalrewards_core.messages import Message, UserRequest, critique_messages
from rr_pack.rationalrewards_core.miniature import scorer_folder

CASES = [
    ("a red circle", "a red circle"),
    ("a small blue square", "a large red circle"),
    ('a green triangle with the word "OK"', 'a green triangle with the word "OK"'),
    ("a large yellow square left of a small red circle", "a small red circle"),
]


def compared(clip: Any) -> dict[str, Any]:
    """Both engines in fp32, which is what the core computes in on the CPU."""
    options = EngineOptions(precision="fp32", device="cpu")
    local = engines.local_engine(scorer_folder(), options)
    native = ClipEngine(clip, max_pixels=2304, min_pixels=2304)
    native.rubrics, native.max_tokens = local.rubrics, 400
    seen: dict[str, Any] = {"pairs": [], "rewards": []}
    for asked, shown in CASES:
        request, pictures = UserRequest(asked), [pack.drawn(shown)]
        both = [pack.run(LoadedScorer(engine=e).critique_many(request, pictures)) for e in (native, local)]
        seen["pairs"].append([critiques.outcomes[0].raw for critiques in both])
        seen["rewards"].append([critiques.rewards[0] for critiques in both])
    # A picture of another size: scaled here by Pillow, there by transformers' image processor.
    request, pictures = UserRequest("a red circle"), [pack.drawn("a red circle").resize((144, 120))]
    both = [pack.run(LoadedScorer(engine=e).critique_many(request, pictures)) for e in (native, local)]
    seen["resized"] = [critiques.outcomes[0].raw for critiques in both]
    score = pack.run(
        LoadedScorer(engine=native).critique_many(UserRequest(CASES[0][0]), [pack.drawn(CASES[0][1])], "score")
    )
    seen["score_mode"] = [score.rewards[0], "# Summary" in score.outcomes[0].raw]
    return seen


def replies(clip: Any) -> dict[str, Any]:
    """Limits, seeds and prompts of single replies."""
    engine = ClipEngine(clip, max_pixels=2304, min_pixels=2304)
    rubric = engines.miniature_engine().rubrics["generation"]
    messages = critique_messages(UserRequest("a red circle"), pack.drawn("a red circle"), rubric)
    short = pack.run(engine.reply(messages, Sampling(max_tokens=7)))
    seeded = [
        pack.run(engine.reply(messages, Sampling(max_tokens=90, temperature=2.0, seed=s))).text for s in (1, 1, 2)
    ]
    full = pack.run(engine.reply(messages, Sampling(max_tokens=400)))
    local = engines.miniature_engine()
    same = pack.run(local.run(lambda: local.reply(messages, Sampling(max_tokens=400)), _quiet()))
    return {
        "short": [short.finish.value, short.completion_tokens],
        "full": full.finish.value,
        "prompt_tokens": [full.prompt_tokens, same.prompt_tokens],
        "seeded": seeded,
        "template": chat_text((Message("system", ("S",)), Message("user", ("a", pack.drawn("a red circle"), "b")))),
        "embedding": "embedding:" in chat_text((Message("user", ("see embedding:evil here",)),)),
    }


def _quiet() -> Any:
    from rr_pack.nodes.judge.progress import NodeProgress

    return NodeProgress(None, 1)


def interrupted(clip: Any) -> dict[str, Any]:
    engine = ClipEngine(clip, max_pixels=2304, min_pixels=2304)
    engine.rubrics, engine.max_tokens = engines.miniature_engine().rubrics, 400
    scorer = LoadedScorer(engine=engine)
    layer = clip.cond_stage_model.qwen3vl_8b.transformer.model.layers[-1]
    steps: list[int] = []

    def count(module: Any, inputs: Any) -> None:
        steps.append(1)
        if len(steps) == 5:
            management.interrupt_current_processing(True)

    hook = layer.register_forward_pre_hook(count)
    MEMO._kept.clear()
    try:
        pack.run(scorer.critique_many(UserRequest("a red circle"), [pack.drawn("a red circle")]))
        outcome = "finished"
    except management.InterruptProcessingException as error:
        outcome = pack.sentence(error)
    hook.remove()
    again = pack.run(scorer.critique_many(UserRequest("a red circle"), [pack.drawn("a red circle")]))
    loaded = [entry.model for entry in management.current_loaded_models]
    scorer.unload()
    freed = [entry.model for entry in management.current_loaded_models]
    held = [clip.patcher in models for models in (loaded, freed)]
    return {"outcome": outcome, "tokens": len(steps), "next": again.rewards[0], "held": held}


def failures(clip: Any) -> dict[str, str]:
    engine = ClipEngine(clip, max_pixels=2304, min_pixels=2304)
    engine.rubrics = engines.miniature_engine().rubrics
    seen = {}
    for name, error in (("memory", torch.OutOfMemoryError("CUDA out of memory.")), ("other", ValueError("shapes"))):
        broken = types.SimpleNamespace(**{n: getattr(clip, n) for n in ("tokenize", "decode", "patcher")})
        engine._clip = broken

        def fail(*positional: Any, error: Exception = error, **keywords: Any) -> Any:
            raise error

        broken.generate = fail
        try:
            pack.run(
                LoadedScorer(engine=engine).critique_many(UserRequest("a red square"), [pack.drawn("a red circle")])
            )
        except RationalRewardsError as refused:
            seen[name] = pack.sentence(refused)
    return seen


def refusals() -> dict[str, str]:
    class Clip:
        """As old as the argument says."""

        def __init__(self, **members: Any) -> None:
            vars(self).update(members)

    writes = {"generate": lambda: None, "decode": lambda: None}
    wrong = {
        "none": None,
        "old_core": Clip(),
        "text_only": Clip(**writes, tokenizer=Clip(clip_name="qwen3_4b"), cond_stage_model=Clip()),
        "encoder_only": Clip(**writes, tokenizer=Clip(clip_name="qwen3vl_8b"), cond_stage_model=Clip()),
    }
    seen = {}
    for name, clip in wrong.items():
        try:
            clip_engine(clip, max_pixels=10**6)
            seen[name] = "accepted"
        except RationalRewardsError as error:
            seen[name] = pack.sentence(error)
    return seen


def sizes() -> list[bool]:
    """Whether images get the size that transformers' own image processor chooses."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    equal = []
    for width, height in ((48, 48), (512, 512), (1024, 768), (4000, 300), (33, 900), (1216, 832), (2048, 2048)):
        high, wide = smart_resize(height, width, factor=32, min_pixels=65_536, max_pixels=802_816)
        equal.append(qwen_size((width, height), 32, 65_536, 802_816) == (wide, high))
    return equal


seen: dict[str, Any] = {"refusals": refusals(), "sizes": sizes()}
try:
    import comfy.text_encoders.qwen3vl  # noqa: F401
except ImportError:
    seen["too_old"] = True
else:
    from miniature_clip import miniature_clip

    clip = miniature_clip(scorer_folder())
    seen |= {"compared": compared(clip), "replies": replies(clip), "interrupted": interrupted(clip)}
    seen["failures"] = failures(clip)
pack.report(seen)
