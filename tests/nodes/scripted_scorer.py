"""The value of an RR_SCORER socket as nodes use it, around the core's scripted backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.nodes.comfy_stub import Pack


class ScriptedScorer:
    """Replies come one after the other; `calls` remembers what each node asked for."""

    name = "scripted"

    def __init__(self, pack: Pack, replies: Sequence[Any]) -> None:
        self._pack = pack
        self._backend = pack.core("backends.scripted").ScriptedBackend(replies, concurrency=1)
        self.calls: list[dict[str, Any]] = []

    def rubric_for(self, request: Any) -> Any:
        files = self._pack.core("rubric_file")
        return files.edit_rubric() if request.sources else files.generation_rubric()

    async def critique_many(
        self, requests: Any, pictures: Any, mode: str, node_id: Any, rubric: Any = None, weights: Any = None
    ) -> Any:
        request = requests[0]
        judged = (rubric or self.rubric_for(request)).with_weights(weights or {})
        self.calls.append({"request": request, "count": len(pictures), "mode": mode, "node": node_id, "rubric": judged})
        cases = [self._pack.core("judged").Case(one, picture) for one, picture in zip(requests, pictures, strict=True)]
        batch = await self._scorer(judged).score_many(cases, mode)
        return self._pack.module("nodes.sockets").Critiques(request=request, rubric=judged, outcomes=batch.outcomes)

    async def compare(self, request: Any, first: Any, second: Any, method: str, node_id: Any) -> Any:
        self.calls.append({"request": request, "method": method, "node": node_id})
        return await self._scorer(self.rubric_for(request)).compare(request, first, second, method)

    async def write_rubric(self, request: Any, node_id: Any) -> Any:
        self.calls.append({"request": request, "node": node_id})
        writing = self._pack.core("rubric_writing")
        return await writing.write_rubric(self._scorer(self.rubric_for(request)), request)

    def _scorer(self, rubric: Any) -> Any:
        settings = self._pack.core("scorer_settings").ScorerSettings(ask_again=0)
        return self._pack.core("scorer").Scorer(self._backend, {rubric.kind: rubric}, settings)


def images_of(count: int, *, side: int = 8) -> Any:
    """[count, side, side, 3]: each image a grey of its own."""
    import torch

    greys = (torch.arange(count, dtype=torch.float32) + 1) / 10
    return greys[:, None, None, None].expand(count, side, side, 3).clone()
