"""The value of an RR_SCORER socket: an engine with its rubric, asked by every node that judges."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from PIL import Image

from ...rationalrewards_core.comparison import Comparison
from ...rationalrewards_core.critique import Unscored
from ...rationalrewards_core.errors import BackendError, ConfigError, Interrupted, OutOfScopeError, RequestError
from ...rationalrewards_core.judged import Case, Outcome
from ...rationalrewards_core.memo import Memo
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.replies.parsing import Mode, Reason
from ...rationalrewards_core.rubric import Rubric
from ...rationalrewards_core.rubric_file import edit_rubric, generation_rubric, rubric_to_toml
from ...rationalrewards_core.rubric_writing import write_rubric
from ...rationalrewards_core.scorer import CompareMethod, Scorer
from ...rationalrewards_core.scorer_settings import ScorerSettings
from ..sockets import Critiques
from .engines import Engine, broken_off, engine_notes
from .fewer_pixels import Judging
from .interruptible import Work
from .progress import NodeProgress

T = TypeVar("T")

MEMO: Final = Memo(limit=2048)
"""Shared by every scorer of this process: a graph that runs again never pays the judge twice."""


@dataclass(frozen=True, kw_only=True)
class LoadedScorer:
    """Judges pictures for nodes. Nothing is loaded before the first reply that the memo does not know."""

    engine: Engine
    rubric: Rubric | None = None
    """None chooses by the request: with source images the edit rubric, else the generation rubric."""
    keep: bool = True
    """Whether the model stays loaded after a call (until ComfyUI needs its memory)."""

    max_tokens: int | None = None
    """Longest critique, in tokens; None is the engine's own limit."""

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def identity(self) -> str:
        """Same identity, same critiques: engine, weights and rubric."""
        rubric = rubric_to_toml(self.rubric) if self.rubric is not None else "automatic"
        return f"{self.engine.identity}#{hashlib.sha256(rubric.encode()).hexdigest()[:16]}"

    def rubric_for(self, request: UserRequest) -> Rubric:
        """The rubric this request is judged under."""
        if self.rubric is not None:
            return self.rubric
        if request.sources:
            return self.engine.rubrics.get("edit") or edit_rubric()
        return self.engine.rubrics.get("generation") or generation_rubric()

    async def critique_many(
        self,
        request: UserRequest | Sequence[UserRequest],
        pictures: Sequence[Image.Image],
        mode: Mode = "critique",
        node_id: str | None = None,
        rubric: Rubric | None = None,
        weights: dict[str, float] | None = None,
    ) -> Critiques:
        """Judge every picture; `score` mode stops after the last score.

        `request` is one for all pictures, or one for each: edits of one instruction with a source image each.
        Pictures that cannot be judged are `Unscored`. Raises ConfigError and RequestError for what no picture could be
        judged with, BackendError when the engine failed on every one, and ComfyUI's interrupt.
        """
        requests = [request] * len(pictures) if isinstance(request, UserRequest) else list(request)
        own_rubric = rubric or self.rubric_for(requests[0])
        if weights:
            own_rubric = own_rubric.with_weights(weights)
        for one in requests:
            check_sources(one, own_rubric)
        cases = [Case(one, picture) for one, picture in zip(requests, pictures, strict=True)]
        scorer = self._scorer(own_rubric)
        progress = NodeProgress(node_id, len(pictures))

        async def work() -> tuple[list[Outcome], list[str]]:
            return await Judging(scorer, self.engine, cases, mode, progress).outcomes()

        outcomes, notes = await self._run(work, progress)
        raise_if_all_failed(outcomes)
        return Critiques(
            request=requests[0],
            rubric=own_rubric,
            outcomes=tuple(map(with_widget_named, outcomes)),
            notes=(*notes, *engine_notes(self.engine)),
        )

    async def compare(
        self,
        request: UserRequest,
        first: Image.Image,
        second: Image.Image,
        method: CompareMethod = "pointwise",
        node_id: str | None = None,
    ) -> Comparison:
        """Which of two pictures is better. Raises like `critique_many`, and CritiqueParseError for unreadable replies."""
        rubric = self.rubric_for(request)
        check_sources(request, rubric)
        scorer = self._scorer(rubric)

        async def work() -> Comparison:
            return await scorer.compare(request, first, second, method)

        return await self._run(work, NodeProgress(node_id, 2))

    async def write_rubric(self, request: UserRequest, node_id: str | None = None) -> Rubric:
        """A rubric for this request, written by the judge's model. Raises like `compare`."""
        base = self.rubric
        if base is not None:
            check_sources(request, base)
        scorer = self._scorer(self.rubric_for(request))

        async def work() -> Rubric:
            return await write_rubric(scorer, request, base)

        return await self._run(work, NodeProgress(node_id, 1))

    def unload(self) -> None:
        """Give the model's memory back; it is loaded again when it is needed."""
        self.engine.release()

    def _scorer(self, rubric: Rubric) -> Scorer:
        settings = ScorerSettings(max_tokens=self.max_tokens or self.engine.max_tokens)
        return Scorer(self.engine, {rubric.kind: rubric}, settings, MEMO, self.engine.scope)

    async def _run(self, work: Work[T], progress: NodeProgress) -> T:
        try:
            return await self.engine.run(work, progress)
        except Interrupted as error:
            raise broken_off(self.engine) from error
        finally:
            if not self.keep:
                self.engine.release()


def with_widget_named(outcome: Outcome) -> Outcome:
    """The outcome; a sentence that asks for a setting says on which node its widget is."""
    if not isinstance(outcome, Unscored) or outcome.reason != Reason.TRUNCATED.value:
        return outcome
    place = "raise max_tokens on Load Rational Scorer (an advanced widget)"
    return replace(outcome, message=outcome.message.replace("raise max_tokens", place))


def check_sources(request: UserRequest, rubric: Rubric) -> None:
    """RequestError before anything is loaded if the rubric and the source image do not go together."""
    if rubric.kind == "edit" and not request.sources:
        raise RequestError(
            f"The rubric {rubric.name!r} judges an edit: connect the source image, or choose another rubric."
        )
    if rubric.kind == "generation" and request.sources:
        raise RequestError(
            f"The rubric {rubric.name!r} judges a generation and takes no source image: choose automatic or edit."
        )


def raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    """One sentence on the node when the engine, and not the replies, is why nothing was scored.

    What a judge knows nothing of is no failure of it: its cards say so, and the graph goes on.
    """
    readings = {OutOfScopeError.reason, *(reason.value for reason in Reason)}
    failures = [o for o in outcomes if isinstance(o, Unscored) and o.reason not in readings]
    if outcomes and len(failures) == len(outcomes):
        first = failures[0]
        kind = {RequestError.reason: RequestError, ConfigError.reason: ConfigError}.get(first.reason)
        raise kind(first.message) if kind is not None else BackendError(first.message, reason=first.reason)
