"""A history on disk: wherever it was cut it goes on or says why not, in one sentence, and it has one writer."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import ConfigError, StorageError
from rationalrewards_core.loop.history import FILE, FORMER_NAMES, History, load_history
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine import RefineState
from rationalrewards_core.loop.refine_loop import LoopEnd, RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Reply = Callable[..., str]
POLICY = RefinePolicy(max_iterations=4, patience=4, threshold=1.0)


@pytest.fixture
def replies(reply_text: Reply) -> list[str]:
    return [reply_text(2.0), reply_text(2.5), "nonsense", reply_text(3.5)]


def draw(request: str, seed: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (seed % 256, len(request) % 256, 9))


def loop(replies: list[str], folder: Path, generate: Any = draw) -> RefineLoop:
    scorer = Scorer(ScriptedBackend(list(replies)), settings=ScorerSettings(guided=False, ask_again=0))
    return RefineLoop(scorer, generate, POLICY, folder=folder)


def run(replies: list[str], folder: Path) -> LoopEnd:
    return asyncio.run(loop(replies, folder).run(UserRequest("a cat"), 1))


@pytest.fixture
def folder(replies: list[str], tmp_path: Path) -> Path:
    """Of a whole run of four steps."""
    run(replies, tmp_path / "run")
    return tmp_path / "run"


def lines_of(folder: Path) -> list[bytes]:
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def refused(folder: Path) -> str:
    """The one sentence with which a history is refused."""
    with pytest.raises(ConfigError) as caught:
        load_history(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_cut_at_any_byte_it_opens_with_the_steps_that_are_whole(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    header = content.index(b"\n")
    breaks = [place for place, byte in enumerate(content) if byte == ord("\n")]
    near = {place + step for place in breaks for step in (-1, 0, 1)}
    for end in sorted({*range(header), *range(header, len(content), 97), *near} - {len(content)}):
        (folder / FILE).write_bytes(content[:end])
        if end < header:
            assert "ended before it began; start it anew" in refused(folder)
        else:
            steps = load_history(folder).steps
            assert len(steps) in (content[:end].count(b"\n") - 1, content[: end + 1].count(b"\n") - 1)


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_run_that_was_killed_inside_its_header_is_started_anew(
    folder: Path, replies: list[str], kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = load_history(folder)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:kept])
    with pytest.raises(ConfigError, match="start it anew"):
        asyncio.run(loop(replies, folder).resume())
    again = run(replies, folder)
    assert [step.outcome for step in again.state.steps] == [step.outcome for step in whole.steps]
    assert len(load_history(folder).steps) == 4
    assert ("torn" in caplog.text) == (kept > 0)


def test_a_torn_tail_is_cut_said_and_made_again(
    folder: Path, replies: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(before[: len(before) - 20])
    end = asyncio.run(loop(replies[3:], folder).resume())
    assert [step.index for step in end.state.steps] == [0, 1, 2, 3]
    assert "its last line was torn" in caplog.text
    assert len(lines_of(folder)) == 5


@pytest.mark.parametrize(
    ("order", "number", "why"),
    [
        ((0, 1, 1, 2, 3, 4), 3, "holds step 0 where step 1 belongs"),
        ((0, 1, 3, 2, 4), 3, "holds step 2 where step 1 belongs"),
        ((0, 1, 2, 4), 4, "holds step 3 where step 2 belongs"),
        ((0, 2, 3), 2, "holds step 1 where step 0 belongs"),
        ((0, 1, 0, 2), 3, "cannot be read"),
    ],
)
def test_lines_out_of_order_are_refused_and_the_advice_works(
    folder: Path, order: tuple[int, ...], number: int, why: str
) -> None:
    lines = lines_of(folder)
    mixed = [lines[place] for place in order]
    (folder / FILE).write_bytes(b"".join(mixed))
    assert refused(folder) == (
        f"{folder / FILE}, line {number} {why}; delete it and every line after it to go on from there."
    )
    (folder / FILE).write_bytes(b"".join(mixed[: number - 1]))
    assert len(load_history(folder).steps) == number - 2


def test_a_header_of_something_else_is_refused(folder: Path) -> None:
    lines = lines_of(folder)
    for header in (b"{}\n", b"[]\n", b"\xff\xfe\n", lines[1], lines[0].replace(b'"threshold": 1.0', b'"threshold": 7')):
        (folder / FILE).write_bytes(header + lines[1])
        assert "is not a history of this version; start anew in another folder." in refused(folder)


def test_a_history_with_the_rules_former_names_goes_on(folder: Path) -> None:
    rules = load_history(folder).policy
    header, *steps = lines_of(folder)
    for former, name in FORMER_NAMES.items():
        assert f'"{name}"'.encode() in header
        header = header.replace(f'"{name}"'.encode(), f'"{former}"'.encode())
    (folder / FILE).write_bytes(b"".join([header, *steps]))
    assert load_history(folder).policy == rules


def test_a_picture_that_is_gone_or_elsewhere_is_named(folder: Path) -> None:
    lines = lines_of(folder)
    (folder / "step_001.png").write_bytes(b"no picture")
    assert "step_001.png" in refused(folder)
    (folder / "step_001.png").unlink()
    assert "does not exist" in refused(folder)
    (folder / FILE).write_bytes(b"".join(lines).replace(b"step_001.png", b"../step_001.png"))
    assert "is no name of a picture" in refused(folder)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield value, key
        yield from places(inner)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_line_no_raw_error_comes_out(folder: Path, data: st.DataObject) -> None:
    whole = folder / "whole"
    if not whole.exists():
        whole.write_bytes((folder / FILE).read_bytes())
    rows = [json.loads(line) for line in whole.read_bytes().splitlines()]
    row = data.draw(st.integers(0, len(rows) - 1))
    container, key = data.draw(st.sampled_from(list(places(rows[row]))))
    if data.draw(st.booleans()):
        container[key] = copy.deepcopy(data.draw(st.sampled_from([None, [], {}, "x", -1, 10**400, True, 0.5, [[1]]])))
    else:
        del container[key]
    (folder / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        state = load_history(folder)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert len(state.steps) == 4


def test_two_loops_never_write_one_history(folder: Path, replies: list[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    refusals = []

    def intrude(request: str, seed: int) -> Image.Image:
        for work in (loop(replies, other).resume, lambda: loop(replies, other).run(UserRequest("a dog"))):
            with pytest.raises(ConfigError, match="Another process is writing") as caught:
                asyncio.run(work())
            refusals.append(str(caught.value))
        return draw(request, seed)

    end = asyncio.run(loop(replies, other, intrude).run(UserRequest("a cat"), 1))
    assert len(refusals) == 2 * len(end.state.steps)
    assert len(lines_of(other)) == 1 + len(end.state.steps)
    assert sorted(path.suffix for path in other.iterdir()) == [".jsonl", *[".png"] * 4], "no lock is left behind"


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, replies: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        run(replies, tmp_path / "file" / "run")
    with pytest.raises(ConfigError, match="holds no run"):
        load_history(tmp_path / "file")
    with pytest.raises(ConfigError, match="holds no run"):
        asyncio.run(loop(replies, tmp_path / "nothing").resume())
    assert not (tmp_path / "nothing").exists()


def test_steps_are_added_without_holding_the_history(tmp_path: Path, replies: list[str]) -> None:
    """A graph appends its iterations one by one, with other work in between."""
    end = run(replies, tmp_path / "run")
    history = History(tmp_path / "copy")
    history.start(RefineState(request=UserRequest("a cat"), base_seed=1, policy=POLICY))
    for step in end.state.steps:
        history.add(step)
    assert [s.outcome for s in load_history(tmp_path / "copy").steps] == [s.outcome for s in end.state.steps]
