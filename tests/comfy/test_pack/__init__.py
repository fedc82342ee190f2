"""Nodes for the loop's tests: a generator, a judge and a reward that do what their widgets say."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
import threading
import time
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar


@functools.cache
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
    made: ClassVar[int] = 0

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "prompt": ("STRING", {"default": ""}),
                "seed": ("INT", {"default": 0, "max": 2**63}),
                "batch": ("INT", {"default": 1}),
                "size": ("INT", {"default": 16}),
                "seconds": ("FLOAT", {"default": 0.0}),
            },
            "optional": {"grain": ("FLOAT", {"default": 0.0}), "planes": ("BOOLEAN", {"default": False})},
        }

    def generate(
        self, prompt: str, seed: int, batch: int, size: int, seconds: float, grain: float = 0.0, planes: bool = False
    ) -> tuple[Any]:
        """`grain` above 0 gives soft shapes under noise of that deviation, which compress as photographs do.

        With `planes` the channels lie one behind the other in memory, as a VAE leaves them.
        """
        import torch

        time.sleep(seconds)
        Generator.made += 1
        pixels = torch.empty(batch, size, size, 3)
        for index in range(batch):
            digest = hashlib.sha256(f"{prompt}|{seed}|{index}".encode()).digest()
            pixels[index] = torch.tensor([byte / 255 for byte in digest[:3]])
            if grain:
                drawn = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
                soft = torch.rand(1, 3, 12, 12, generator=drawn)
                shapes = torch.nn.functional.interpolate(soft, (size, size), mode="bicubic")[0].permute(1, 2, 0)
                pixels[index] = shapes + grain * torch.randn(size, size, 3, generator=drawn)
        pixels = pixels.clamp(0, 1)
        return (pixels.movedim(-1, 1).contiguous().movedim(1, -1) if planes else pixels,)


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
            },
            "optional": {"flaws": ("STRING", {"default": "", "tooltip": "One per iteration, with bars between them."})},
        }

    def judge(
        self, image: Any, prompt: str, iteration: int, script: str, refined: str, flaws: str = ""
    ) -> tuple[Any, list[float]]:
        sockets, core = _module("nodes.sockets"), _module("rationalrewards_core.critique")
        rubric = _module("rationalrewards_core.rubric_file").generation_rubric()
        words = script.split()
        wanted = [float(word) for word in words[min(iteration, len(words) - 1)].split("/")]
        rewards = [wanted[min(index, len(wanted) - 1)] for index in range(len(image))]
        flaw = dict(enumerate(flaws.split("|"))).get(iteration, "")
        outcomes = tuple(
            _outcome(core, rubric, value, f"{refined} {iteration + 1}" if refined else "", flaw) for value in rewards
        )
        request = _module("rationalrewards_core.messages").UserRequest(prompt)
        critiques = sockets.Critiques(request=request, rubric=rubric, outcomes=outcomes)
        return critiques, rewards


def _outcome(core: ModuleType, rubric: Any, value: float, refined: str, flaw: str = "") -> Any:
    if value != value:
        return core.Unscored(reason="truncated", message="The reply broke off.")
    scale = rubric.scale
    score = scale.minimum + value * (scale.maximum - scale.minimum)
    return core.Critique(
        rubric=rubric.name,
        judgements=tuple(
            core.Judgement(key=d.key, justification=flaw or "<b>as the script says</b>", score=score)
            for d in rubric.dimensions
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

    async def write_rubric(self, request: Any, node_id: Any) -> Any:
        return self.rubric_for(request)


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
        flow = _module("nodes.loop.state").Flow
        return (flow(original="x", base_seed=0, seeds="fixed", prompt="x", seed=0, iteration=0),)


class Made:
    """How often the generator has run, blocked runs left out."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "count", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls) -> float:
        return float("nan")

    def count(self) -> dict[str, Any]:
        return {"ui": {"text": (str(Generator.made),)}}


class Digest:
    """What came through a wire, value for value."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "read", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",)}}

    def read(self, image: Any) -> dict[str, Any]:
        content = hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()
        return {"ui": {"text": (f"{image.dtype} {list(image.shape)} {content}",)}}


class Passing:
    """Hands on an image. It names a file, or wants to run every time."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "give", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",), "name": ("STRING", {"default": ""})}}

    def give(self, image: Any, name: str) -> tuple[Any]:
        return (image,)


class Restless(Passing):
    @classmethod
    def IS_CHANGED(cls, **_inputs: Any) -> float:
        return float("nan")


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
        memo = _module("nodes.judge.scorers").MEMO
        return {"ui": {"text": (str((memo.hits, memo.misses)),)}}


class Meter:
    """Milliseconds of CPU that each node class of the pack has used since the meter ran last, threads of its own included.

    The first run begins to measure.
    """

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "read", (), True
    spent: ClassVar[dict[str, float]] = {}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls) -> float:
        return float("nan")

    def read(self) -> dict[str, Any]:
        if not self.spent:
            self.spent["pictures"] = 0.0
            self._begin()
        table = {name: 1000 * seconds for name, seconds in self.spent.items()}
        self.spent.update(dict.fromkeys(self.spent, 0.0))
        return {"ui": {"text": (json.dumps(table),)}}

    def _begin(self) -> None:
        for module, name in _module("nodes.extension").NODES.items():
            node = getattr(_module(f"nodes.{module}"), name)
            node.execute = classmethod(self._metered(name, node.execute.__func__))
        previews = _module("nodes.show.previews")

        def in_own_thread() -> bool:
            """Where a node does it itself, it is in the node's time already."""
            return threading.current_thread().name.startswith("rationalrewards")

        previews.save_temp_image = self._metered("pictures", previews.save_temp_image, in_own_thread)
        kept = _module("nodes.loop.kept_iterations").KeptIterations
        kept._write = self._metered("kept iterations", kept._write)

    def _metered(self, name: str, function: Any, counts: Any = lambda: True) -> Any:
        def add(before: float) -> None:
            if counts():
                self.spent[name] = self.spent.get(name, 0.0) + time.thread_time() - before

        @functools.wraps(function)
        def plain(*arguments: Any, **keywords: Any) -> Any:
            before = time.thread_time()
            try:
                return function(*arguments, **keywords)
            finally:
                add(before)

        @functools.wraps(function)
        async def waiting(*arguments: Any, **keywords: Any) -> Any:
            before = time.thread_time()
            try:
                return await function(*arguments, **keywords)
            finally:
                add(before)

        return waiting if inspect.iscoroutinefunction(function) else plain


NODE_CLASS_MAPPINGS = {
    "RRTest_Generator": Generator,
    "RRTest_Critic": Critic,
    "RRTest_Scorer": ScorerNode,
    "RRTest_Flow": Impostor,
    "RRTest_Made": Made,
    "RRTest_Digest": Digest,
    "RRTest_Passing": Passing,
    "RRTest_Restless": Restless,
    "RRTest_Memo": MemoCounts,
    "RRTest_Meter": Meter,
}
