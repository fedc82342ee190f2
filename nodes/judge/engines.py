"""What a scorer asks inside ComfyUI: a core `Backend` with its memory and its way of waiting.

The miniature and local checkpoints decode in this process, under ComfyUI's memory management; servers are awaited.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ...rationalrewards_core.backends.base import Backend, Reply, Sampling
from ...rationalrewards_core.backends.checkpoint import CheckpointConfig
from ...rationalrewards_core.backends.managed_chat import ManagedChat
from ...rationalrewards_core.backends.openai_chat import OpenAIChat
from ...rationalrewards_core.backends.transformers_local import TransformersLocal
from ...rationalrewards_core.engines import EngineName, EngineOptions, make_backend, make_rubrics, scope_of
from ...rationalrewards_core.errors import BackendError, RationalRewardsError
from ...rationalrewards_core.messages import Message
from ...rationalrewards_core.rubric import Kind, Rubric
from ...rationalrewards_core.scorer import Scope
from ..models.folders import stamp
from ..models.memory import ResidentModel, comfy_device
from .interruptible import Work, finish_here
from .managed_engine import ManagedEngine
from .progress import NodeProgress, interrupted
from .served import Served
from .server_engine import FULL_REPLY, ServerEngine

T = TypeVar("T")

MOST_LOCAL = 2
"""Local engines that stay known; the one unused for longest is unloaded when another comes."""

MINIATURE_REPLY = 400
"""The miniature's critiques take 100 to 300; on pictures that are not of its world it may never end by itself."""

_local: OrderedDict[str, LocalEngine | ManagedEngine] = OrderedDict()
"""By identity, so that a node that runs again finds the model it loaded."""


class Engine(Backend, Protocol):
    """A backend that knows how a node waits for it."""

    name: str
    """For display."""
    rubrics: dict[Kind, Rubric]
    """The rubrics its checkpoint was trained with; the built-in ones serve where it has none."""
    max_tokens: int
    """Longest reply worth waiting for."""
    scope: Scope | None
    """What it declares that it can judge; None: anything."""

    async def run(self, work: Work[T], progress: NodeProgress) -> T:
        """Finish `work`, which asks this backend; shows progress and raises ComfyUI's interrupt."""
        ...

    def make_room(self) -> bool:
        """Called after an out-of-memory: evict what can be evicted; whether that was anything."""
        ...

    def release(self) -> None:
        """Give memory and connections back; the engine may be used again."""
        ...


class LocalEngine:
    """A checkpoint in this process, by transformers."""

    def __init__(
        self,
        name: str,
        backend: TransformersLocal,
        rubrics: dict[Kind, Rubric],
        identity: str,
        max_tokens: int,
        scope: Scope | None = None,
    ) -> None:
        self.name, self.rubrics, self.identity, self.max_tokens = name, rubrics, identity, max_tokens
        self.scope = scope
        self._backend = backend
        self._resident = ResidentModel(backend)
        self._is_ready = False
        self._refusal: RationalRewardsError | None = None

    @property
    def concurrency(self) -> int:
        return self._backend.concurrency

    @property
    def config(self) -> CheckpointConfig:
        return self._backend.config

    @property
    def present(self) -> bool:
        """Whether the model is in memory now."""
        return self._resident.present

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self._bring()
        return await self._backend.reply(messages, sampling)

    async def close(self) -> None:
        self.release()

    async def run(self, work: Work[T], progress: NodeProgress) -> T:
        remember(self)
        self._is_ready, self._refusal = False, None

        def step(tokens: int, most: int) -> None:
            progress.token(tokens, most)
            if interrupted():
                self._backend.interrupt()

        self._backend.progress = step
        return finish_here(work, progress.show, self._backend.interrupt)

    def make_room(self) -> bool:
        return self._resident.clear_others()

    def release(self) -> None:
        self._resident.release()

    def _bring(self) -> None:
        """Load before the first reply of a run, not before: a run that the memo answers needs no model."""
        if self._refusal is not None:
            raise self._refusal
        if self._is_ready:
            return
        try:
            self._resident.bring()
        except RationalRewardsError as error:
            # A model that cannot be loaded is not tried again for every image of the batch.
            self._refusal = error
            raise
        self._is_ready = True


def miniature_engine() -> LocalEngine:
    """The embedded default: no download, one second to load."""
    return _local_engine(EngineName("miniature"), EngineOptions(device=comfy_device()), "miniature", MINIATURE_REPLY)


def local_engine(folder: Path, options: EngineOptions) -> LocalEngine:
    """A checkpoint folder; the same folder with the same options and the same files is the same engine."""
    return _local_engine(EngineName("local", str(folder)), options, folder.name, FULL_REPLY)


def server_engine(name: str) -> ServerEngine | ManagedEngine:
    """A server of the user's own config file; ConfigError if it names none so."""
    place = EngineName("server", name)
    backend, rubrics = make_backend(place, EngineOptions()), make_rubrics(place)
    if isinstance(backend, ManagedChat):
        return _managed_engine(name, backend, rubrics)
    assert isinstance(backend, OpenAIChat)
    return ServerEngine(name, backend, rubrics)


def gguf_engine(file: Path, options: EngineOptions) -> ManagedEngine:
    """A GGUF model with its tower; ConfigError if its tower or llama.cpp is not there."""
    name = EngineName("gguf", str(file))
    backend = make_backend(name, options)
    assert isinstance(backend, ManagedChat)
    return _managed_engine(file.name, backend, make_rubrics(name), on_card=options.device != "cpu")


def release_all() -> None:
    """Unload every local engine of the pack, and stop every server that it has started."""
    for engine in _local.values():
        engine.release()


def _local_engine(name: EngineName, options: EngineOptions, title: str, max_tokens: int) -> LocalEngine:
    backend = make_backend(name, options)
    assert isinstance(backend, TransformersLocal)
    stamps = [stamp(Path(folder)) for folder in (backend.config.model, options.adapter) if folder]
    identity = ":".join([backend.identity, options.device, str(options.batch_size), *stamps])
    engine = _local.get(identity) or LocalEngine(
        title,
        backend,
        make_rubrics(name, adapter=options.adapter),
        identity,
        max_tokens,
        scope_of(name, options.adapter),
    )
    remember(engine)
    return engine


def _managed_engine(
    name: str, backend: ManagedChat, rubrics: dict[Kind, Rubric], *, on_card: bool = True
) -> ManagedEngine:
    resident = _local.get(backend.identity)
    engine = (
        resident
        if isinstance(resident, ManagedEngine)
        else ManagedEngine(name, backend, rubrics, FULL_REPLY, on_card=on_card)
    )
    remember(engine)
    return engine


def remember(engine: LocalEngine | ManagedEngine) -> None:
    """The engine used last is known; the one unused for longest is unloaded when there are too many."""
    resident = _local.setdefault(engine.identity, engine)
    if resident is not engine:
        # A node kept the older of two engines of one model: only one of them may hold memory.
        resident.release()
        _local[engine.identity] = engine
    _local.move_to_end(engine.identity)
    while len(_local) > MOST_LOCAL:
        _local.popitem(last=False)[1].release()


def engine_notes(engine: Engine) -> list[str]:
    """What the user should know of how an engine judges; only servers differ in that, whoever runs them."""
    return engine.notes if isinstance(engine, Served) else []


def broken_off(engine: Engine) -> BackendError:
    """What an interrupt that nobody asked for is: something took the model away."""
    return BackendError(f"{engine.name} was unloaded while it judged; queue the prompt again.", reason="unloaded")
