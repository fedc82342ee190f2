"""The reward server's overhead: the same items through HTTP and through the scorer directly.

Real model servers beside the local engine: `benchmarks.server_throughput`, which this prints too where their environments
are named. With a scripted backend that answers at once the whole difference is the server's own work; with the
miniature behind it, it is what a trainer would notice.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from benchmarks import server_throughput
from benchmarks.subjects import cases, engine, scorer
from benchmarks.timing import interleaved, table
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import Memo
from rationalrewards_core.rubric_file import generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.serving.server import ServeConfig, make_app


def run(count: int = 64, rounds: int = 5) -> str:
    rows = []
    text = _reply()
    scripted = Scorer(ScriptedBackend(lambda *_: text), settings=ScorerSettings(guided=False), memo=Memo(limit=0))
    rows += _compare("scripted", scripted, cases(count), rounds)
    backend = engine(batch_size=16)
    rows += _compare("miniature", scorer(backend), cases(16), 3)
    backend.unload()
    return table(["backend", "way", "ms per item (median)", "best", "ratio to direct"], rows)


def _compare(name: str, which: Scorer, cases: Sequence[Case], rounds: int) -> list[list[Any]]:
    payload = {"items": [{"request": c.request.text, "image": _png(c)} for c in cases]}
    loop = asyncio.new_event_loop()
    client = TestClient(TestServer(make_app(which, ServeConfig())), loop=loop)
    loop.run_until_complete(client.start_server())

    async def batch() -> None:
        answer = await client.post("/v1/critique/batch", json=payload)
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["failure_rate"] == 0.0

    async def single(item: dict[str, str]) -> None:
        answer = await client.post("/v1/critique", json=item)
        assert answer.status == 200
        await answer.json()

    async def singles() -> None:
        await asyncio.gather(*(single(item) for item in payload["items"]))

    timed = interleaved(
        {
            "direct": lambda: loop.run_until_complete(which.score_many(cases)),
            "HTTP, one batch": lambda: loop.run_until_complete(batch()),
            "HTTP, single requests": lambda: loop.run_until_complete(singles()),
        },
        rounds,
    )
    loop.run_until_complete(client.close())
    loop.close()
    base = timed[0].median
    return [
        [name, t.name, 1000 * t.median / len(cases), 1000 * min(t.seconds) / len(cases), t.median / base] for t in timed
    ]


def _png(case: Case) -> str:
    buffer = io.BytesIO()
    case.candidate.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _reply() -> str:
    rubric = generation_rubric()
    judgements = tuple(Judgement(key=d.key, justification="fine", score=3.0) for d in rubric.dimensions)
    refinement = Refinement(comments="none", request="the same")
    return render_critique(
        Critique(rubric=rubric.name, analysis="a", judgements=judgements, summary="s", refinement=refinement), rubric
    )


if __name__ == "__main__":
    print(run())
    server_throughput.main()
