"""RefineLoop around a scripted judge: what is kept, what is on disk, how it goes on after a kill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.loop.history import load_history
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine import RefineState, StopReason
from rationalrewards_core.loop.refine_loop import LoopEnd, RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Reply = Callable[..., str]
PLAIN = ScorerSettings(guided=False, ask_again=0)


def painted(request: str, seed: int) -> Image.Image:
    """A picture that differs for every request and seed."""
    return Image.new("RGB", (8, 8), (len(request) % 256, seed % 256, sum(map(ord, request)) % 256))


def loop(script: list[object], **options: object) -> RefineLoop:
    scorer = Scorer(ScriptedBackend(script), settings=PLAIN)  # type: ignore[arg-type]
    return RefineLoop(scorer, painted, **options)  # type: ignore[arg-type]


def run(work: RefineLoop, text: str = "a cat", seed: int = 1) -> LoopEnd:
    return asyncio.run(work.run(UserRequest(text), seed))


def test_improves_and_stops(reply_text: Reply) -> None:
    script: list[object] = [reply_text(2.0, refined="a cat, better"), reply_text(2.5), reply_text(4.0, 4.0)]
    seen: list[int] = []
    end = run(loop(script, on_step=lambda state: seen.append(len(state.steps))))
    assert end.reason is StopReason.REACHED
    assert [step.request for step in end.state.steps] == ["a cat", "a cat, better", "a better request"]
    assert end.best is not None
    assert end.best.index == 2
    assert end.best.image is not None
    assert seen == [1, 2, 3]


def test_candidates_are_judged_against_the_original_request(reply_text: Reply) -> None:
    backend = ScriptedBackend([reply_text(2.0, refined="something else"), reply_text(4.0, 4.0)])
    end = asyncio.run(RefineLoop(Scorer(backend, settings=PLAIN), painted).run(UserRequest("a cat")))
    assert end.state.steps[1].request == "something else"
    assert all("User Instruction: a cat\n" in messages[1].text for messages, _ in backend.calls)


def test_a_worse_refinement_never_replaces_the_best(reply_text: Reply) -> None:
    script: list[object] = [reply_text(2.9), *[reply_text(1.5) for _ in range(3)]]
    end = run(loop(script))
    assert end.reason in (StopReason.PATIENCE, StopReason.BUDGET)
    assert end.best is not None
    assert end.best.index == 0


def test_failures_are_steps_and_not_numbers(reply_text: Reply) -> None:
    script: list[object] = [BackendError("down", reason="connection"), "nonsense", reply_text(4.0, 4.0)]
    end = run(loop(script))
    assert [step.reward for step in end.state.steps] == [None, None, 1.0]
    assert [getattr(step.outcome, "reason", "") for step in end.state.steps] == ["connection", "no_judgement", ""]
    assert [step.origin for step in end.state.steps] == ["original"] * 3


def test_stop_wish_keeps_what_is_there(reply_text: Reply) -> None:
    wish: list[bool] = []
    script: list[object] = [reply_text(2.0)] * 4
    end = run(loop(script, on_step=lambda _: wish.append(True), should_stop=lambda: len(wish) >= 2))
    assert end.reason is StopReason.STOPPED
    assert len(end.state.steps) == 2


def test_an_asynchronous_generator_is_awaited(reply_text: Reply) -> None:
    async def draw(request: str, seed: int) -> Image.Image:
        await asyncio.sleep(0)
        return painted(request, seed)

    scorer = Scorer(ScriptedBackend([reply_text(4.0, 4.0)]), settings=PLAIN)
    end = asyncio.run(RefineLoop(scorer, draw).run(UserRequest("a cat")))
    assert end.reason is StopReason.REACHED


def test_a_generator_error_comes_through_and_loses_nothing(reply_text: Reply, tmp_path: Path) -> None:
    def draw(request: str, seed: int) -> Image.Image:
        if seed > 1:
            raise RuntimeError("no memory")
        return painted(request, seed)

    scorer = Scorer(ScriptedBackend([reply_text(2.0)]), settings=PLAIN)
    with pytest.raises(RuntimeError, match="no memory"):
        asyncio.run(RefineLoop(scorer, draw, folder=tmp_path / "run").run(UserRequest("a cat"), 1))
    assert len(load_history(tmp_path / "run").steps) == 1


def without_times(state: RefineState) -> list[tuple[object, ...]]:
    return [(s.index, s.request, s.seed, s.origin, s.outcome, s.reward, s.accepted) for s in state.steps]


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_resuming_continues_as_if_never_killed(reply_text: Reply, tmp_path: Path, killed_after: int) -> None:
    replies = [reply_text(2.0, refined="one"), reply_text(2.4, refined="two"), reply_text(2.2), reply_text(2.6)]
    whole = run(loop(list(replies), folder=tmp_path / "whole"))
    stopper = loop(list(replies), folder=tmp_path / "cut", should_stop=lambda: True)
    asyncio.run(stopper.run(UserRequest("a cat"), 1))  # stops after one step
    lines = (tmp_path / "whole" / "history.jsonl").read_text().splitlines(keepends=True)
    torn = "".join(lines[: 1 + killed_after]) + '{"index": 9, "requ'
    (tmp_path / "cut" / "history.jsonl").write_text(torn)
    for image in (tmp_path / "whole").glob("*.png"):
        (tmp_path / "cut" / image.name).write_bytes(image.read_bytes())
    again = loop(list(replies[killed_after:]), folder=tmp_path / "cut")
    end = asyncio.run(again.resume())
    assert end.reason is whole.reason
    assert without_times(end.state) == without_times(whole.state)
    reread = load_history(tmp_path / "cut")
    assert without_times(reread) == without_times(whole.state)
    for step, saved in zip(whole.state.steps, reread.steps, strict=True):
        assert step.image is not None
        assert saved.image is not None
        assert step.image.tobytes() == saved.image.tobytes()


def test_resume_with_a_larger_budget(reply_text: Reply, tmp_path: Path) -> None:
    small, large = RefinePolicy(max_iterations=2), RefinePolicy(max_iterations=3)
    end = run(loop([reply_text(2.0), reply_text(2.1)], folder=tmp_path / "run", policy=small))
    assert end.reason is StopReason.BUDGET
    more = asyncio.run(loop([reply_text(4.0, 4.0)], folder=tmp_path / "run").resume(large))
    assert len(more.state.steps) == 3
    assert more.reason is StopReason.REACHED


def test_edit_sources_are_saved_and_restored(tmp_path: Path, reply_text: Reply, picture: Image.Image) -> None:
    script: list[object] = [BackendError("down")] * 4
    work = loop(script, folder=tmp_path / "run")
    asyncio.run(work.run(UserRequest("make it blue", (picture,)), 0))
    assert load_history(tmp_path / "run").request.sources[0].tobytes() == picture.tobytes()


def test_a_second_run_never_overwrites_the_first(reply_text: Reply, tmp_path: Path) -> None:
    run(loop([reply_text(4.0, 4.0)], folder=tmp_path / "run"))
    with pytest.raises(ConfigError, match="already holds a run"):
        run(loop([reply_text(4.0, 4.0)], folder=tmp_path / "run"))
    with pytest.raises(ConfigError, match="holds no run"):
        asyncio.run(loop([], folder=tmp_path / "nothing").resume())


def test_history_is_readable_json_lines(reply_text: Reply, tmp_path: Path) -> None:
    run(loop([reply_text(4.0, 4.0)], folder=tmp_path / "run"))
    header, step = map(json.loads, (tmp_path / "run" / "history.jsonl").read_text().splitlines())
    assert header["request"] == "a cat"
    assert step["reward"] == 1.0
    assert (tmp_path / "run" / step["image_file"]).is_file()
