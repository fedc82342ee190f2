"""Nodes for the loop's tests: a generator, a judge and a reward that do what their widgets say."""

from __future__ import annotations

import hashlib
import sys
import time
from importlib import import_module
from types import ModuleType
from typing import Any


def _module(name: str) -> ModuleType:
    """A module of the pack, which ComfyUI loads under a name made from its path."""
    own = ".nodes.extension"
    for full in list(sys.modules):
        if full.endswith(own):
            return import_module(f"{full.removesuffix(own)}.{name}")
    raise RuntimeError("RationalRewards is not loaded")


class Generator:
    """Pictures of one colour, made from prompt and seed."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "generate", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "prompt": ("STRING", {"default": ""}),
                "seed": ("INT", {"default": 0, "max": 2**63}),
                "batch": ("INT", {"default": 1}),
                "size": ("INT", {"default": 16}),
                "seconds": ("FLOAT", {"default": 0.0}),
            }
        }

    def generate(self, prompt: str, seed: int, batch: int, size: int, seconds: float) -> tuple[Any]:
        import torch

        time.sleep(seconds)
        pixels = torch.empty(batch, size, size, 3)
        for index in range(batch):
            digest = hashlib.sha256(f"{prompt}|{seed}|{index}".encode()).digest()
            pixels[index] = torch.tensor([byte / 255 for byte in digest[:3]])
        return (pixels,)


class Critic:
    """A critique whose scores follow a script, one word per iteration: `0.2 nan 0.9`, or per image `0.2/0.4`."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "judge", ("RR_CRITIQUE", "FLOAT")
    OUTPUT_IS_LIST = (False, True)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "prompt": ("STRING", {"default": ""}),
                "iteration": ("INT", {"default": 0}),
                "script": ("STRING", {"default": "0.5"}),
                "refined": ("STRING", {"default": ""}),
            }
        }

    def judge(self, image: Any, prompt: str, iteration: int, script: str, refined: str) -> tuple[Any, list[float]]:
        sockets, core = _module("nodes.sockets"), _module("rationalrewards_core.critique")
        rubric = _module("rationalrewards_core.rubric_file").generation_rubric()
        words = script.split()
        wanted = [float(word) for word in words[min(iteration, len(words) - 1)].split("/")]
        rewards = [wanted[min(index, len(wanted) - 1)] for index in range(len(image))]
        outcomes = tuple(
            _outcome(core, rubric, value, f"{refined} {iteration + 1}" if refined else "") for value in rewards
        )
        request = _module("rationalrewards_core.messages").UserRequest(prompt)
        critiques = sockets.Critiques(request=request, rubric=rubric, outcomes=outcomes)
        return critiques, rewards


def _outcome(core: ModuleType, rubric: Any, value: float, refined: str) -> Any:
    if value != value:
        return core.Unscored(reason="truncated", message="The reply broke off.")
    scale = rubric.scale
    score = scale.minimum + value * (scale.maximum - scale.minimum)
    return core.Critique(
        rubric=rubric.name,
        judgements=tuple(
            core.Judgement(key=d.key, justification="<b>as the script says</b>", score=score) for d in rubric.dimensions
        ),
        refinement=core.Refinement(comments="", request=refined) if refined else None,
    )


class QuickScorer:
    """The value of an RR_SCORER socket, for tests of the nodes around it: every image gets 0.5, the first one wins."""

    name = identity = "quick"

    def rubric_for(self, request: Any) -> Any:
        files = _module("rationalrewards_core.rubric_file")
        return files.edit_rubric() if request.sources else files.generation_rubric()

    async def critique_many(
        self, requests: Any, pictures: Any, mode: str, node_id: Any, rubric: Any = None, weights: Any = None
    ) -> Any:
        core, rubric = _module("rationalrewards_core.critique"), (rubric or self.rubric_for(requests[0]))
        outcomes = tuple(_outcome(core, rubric, 0.5, "") for _ in pictures)
        return _module("nodes.sockets").Critiques(request=requests[0], rubric=rubric, outcomes=outcomes)

    async def compare(self, request: Any, first: Any, second: Any, method: str, node_id: Any) -> Any:
        core = _module("rationalrewards_core.comparison")
        return core.Comparison(judgements=(), verdict=core.Verdict.A)

    def unload(self) -> None:
        return None


class ScorerNode:
    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "give", ("RR_SCORER",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def give(self) -> tuple[Any]:
        return (QuickScorer(),)


class Impostor:
    """Gives a flow without being a Loop Start."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "give", ("RR_FLOW",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def give(self) -> tuple[Any]:
        flow = _module("nodes.loop_state").Flow
        return (flow(original="x", base_seed=0, seeds="fixed", prompt="x", seed=0, iteration=0),)


class MemoCounts:
    """(hits, misses) of the memo that all scorers share."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "count", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls) -> float:
        return float("nan")

    def count(self) -> dict[str, Any]:
        memo = _module("nodes.scorers").MEMO
        return {"ui": {"text": (str((memo.hits, memo.misses)),)}}


NODE_CLASS_MAPPINGS = {
    "RRTest_Generator": Generator,
    "RRTest_Critic": Critic,
    "RRTest_Scorer": ScorerNode,
    "RRTest_Flow": Impostor,
    "RRTest_Memo": MemoCounts,
}
