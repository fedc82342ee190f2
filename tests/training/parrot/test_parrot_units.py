"""Pairs, splits, calibration, chat rows, prompts and the importers' odds and ends."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from training.data.budget import Budget
from training.data.job import Shard
from training.data.pairs import PreferencePair, pair_from_json
from training.data.splits import Shares, assign_splits
from training.data.store import ImageRoots
from training.parrot.calibration import Calibration
from training.parrot.chat import chat_rows
from training.parrot.prompts import anchored_question, load_texts, projection_question, teacher_rubric
from training.parrot.quality import share
from training.parrot.rationalize import rationale_tasks

PAIR = PreferencePair(
    request="a red circle",
    first="images/a.png",
    second="images/b.png",
    preference=Verdict.A,
    sources=("images/s.png",),
    origin="test",
    row="7",
    licence="MIT",
    strength=0.5,
    models=("one", "two"),
)
PICTURE = Image.new("RGB", (8, 8), (200, 30, 30))


def test_a_pair_survives_its_file() -> None:
    assert pair_from_json(PAIR.to_json()) == PAIR
    bare = replace(PAIR, sources=(), strength=None, models=None)
    assert pair_from_json(bare.to_json()) == bare


def test_a_swap_says_the_same() -> None:
    swapped = PAIR.swapped
    assert (swapped.first, swapped.preference, swapped.models) == (PAIR.second, Verdict.B, ("two", "one"))
    assert swapped.swapped == PAIR
    assert PAIR.shuffled() == swapped.shuffled()


def test_keys_follow_the_question_and_not_the_label() -> None:
    assert replace(PAIR, preference=Verdict.B, origin="other").key == PAIR.key
    assert PAIR.swapped.key != PAIR.key
    assert PAIR.swapped.request_id == PAIR.request_id
    assert replace(PAIR, sources=()).request_id != PAIR.request_id


def test_shuffling_is_fair() -> None:
    sides = [replace(PAIR, request=f"request {n}").shuffled().preference for n in range(400)]
    assert 150 < sides.count(Verdict.A) < 250


def some_pairs(count: int) -> list[PreferencePair]:
    rng = random.Random(0)
    return [
        replace(PAIR, request=f"Request {rng.randrange(60)}", sources=(), first=f"{n}a", second=f"{n}b")
        for n in range(count)
    ]


def test_splits_follow_requests_and_images() -> None:
    pairs = some_pairs(300)
    pairs.append(replace(pairs[0], request="  request 999. ", first="new", second=pairs[1].second))
    pairs.append(replace(pairs[0], request="REQUEST 999", first="x", second="y"))
    splits = assign_splits(pairs, Shares(dev=0.2, test=0.2))
    assert splits[pairs[-1].key] == splits[pairs[-2].key] == splits[pairs[1].key]
    by_request: dict[str, set[str]] = {}
    for pair in pairs:
        by_request.setdefault(pair.request.casefold(), set()).add(splits[pair.key])
    assert all(len(found) == 1 for found in by_request.values())
    assert set(splits.values()) == {"train", "dev", "test"}


def test_splits_do_not_follow_the_order_of_the_pairs() -> None:
    pairs = some_pairs(100)
    assert assign_splits(pairs, Shares()) == assign_splits(pairs[::-1], Shares())


def test_one_source_image_holds_its_edits_together() -> None:
    edits = [replace(PAIR, request=f"edit {n}", first=f"{n}a", second=f"{n}b") for n in range(40)]
    assert len(set(assign_splits(edits, Shares(dev=0.3, test=0.3)).values())) == 1


@pytest.mark.parametrize(
    ("preference", "a", "b", "problem"),
    [
        (Verdict.A, 0.8, 0.6, ""),
        (Verdict.A, 0.6, 0.8, "wrong_order"),
        (Verdict.B, 0.6, 0.8, ""),
        (Verdict.B, 0.8, 0.6, "wrong_order"),
        (Verdict.A, 0.61, 0.6, "too_close"),
        (Verdict.A, 0.6, 0.6, "too_close"),
        (Verdict.TIE, 0.6, 0.7, ""),
        (Verdict.TIE, 0.3, 0.7, "tie_apart"),
    ],
)
def test_calibration(preference: Verdict, a: float, b: float, problem: str) -> None:
    assert Calibration().problem(preference, a, b) == problem


def test_without_a_margin_equal_rewards_are_still_no_order() -> None:
    assert Calibration(margin=0.0).problem(Verdict.A, 0.5, 0.5) == "too_close"


def test_chat_rows_interleave_paths_and_text() -> None:
    request = UserRequest("make <image> red", (PICTURE,))
    messages = critique_messages(request, PICTURE, edit_rubric())
    row = chat_rows(messages, "answer", ["s.png", "c.png"], "chat")
    parts = row["messages"][1]["content"]
    assert [p["image"] for p in parts if p["type"] == "image"] == ["s.png", "c.png"]
    assert row["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "answer"}]}
    flat = chat_rows(messages, "answer", ["s.png", "c.png"], "llamafactory")
    assert flat["messages"][1]["content"].count("<image>") == 2, "the user's own <image> is no mark"
    with pytest.raises(ValueError, match="more image paths"):
        chat_rows(messages, "answer", ["s.png", "c.png", "d.png"], "chat")


def test_the_label_is_the_last_thing_the_teacher_reads() -> None:
    texts, rubric = load_texts(), teacher_rubric(generation_rubric())
    said = {}
    for label in Verdict:
        question = anchored_question(UserRequest("a circle"), PICTURE, PICTURE, label, rubric, texts)
        said[label] = question.messages[-1].text
        assert said[label].endswith(texts.anchored.label(label))
        assert question.prompt
    assert len(set(said.values())) == 3


def test_a_direct_question_is_the_scorers_own() -> None:
    rubric = teacher_rubric(generation_rubric())
    question = projection_question(UserRequest("a circle"), PICTURE, rubric, load_texts())
    assert question.messages == critique_messages(UserRequest("a circle"), PICTURE, rubric)


def test_own_prompt_texts_are_checked(tmp_path: Path) -> None:
    for name in ("anchored", "consistency", "projection"):
        source = Path(load_texts.__code__.co_filename).parent / "prompts" / f"{name}.toml"
        (tmp_path / f"{name}.toml").write_text(source.read_text())
    assert load_texts(tmp_path) == load_texts()
    with (tmp_path / "anchored.toml").open("a") as file:
        file.write('more = "text"\n')
    with pytest.raises(ConfigError, match="unknown key 'more'"):
        load_texts(tmp_path)
    (tmp_path / "anchored.toml").write_text('opening = "x"')
    with pytest.raises(ConfigError, match="lacks"):
        load_texts(tmp_path)


def test_a_share_has_its_interval() -> None:
    """Wilson's interval of 8 of 10 by hand: 0.490 to 0.943."""
    found = share(8, 10)
    assert found is not None
    assert (found.value, round(found.low, 3), round(found.high, 3)) == (0.8, 0.490, 0.943)
    assert share(0, 0) is None
    assert str(share(0, 10)) == "0.000 (0.000 to 0.278)"


def test_one_order_of_each_pair_is_drawn_evenly() -> None:
    pairs = [replace(PAIR, request=f"r{n}") for n in range(300)]
    both, one = list(rationale_tasks(pairs, "both")), list(rationale_tasks(pairs, "one"))
    assert len({task.key for task in both}) == 600
    assert [task.pair for task in one] == pairs
    assert 110 < sum(task.order == "AB" for task in one) < 190
    assert {task.key for task in one} < {task.key for task in both}, "the second half can be asked for later"


def test_shards_cover_everything_once() -> None:
    keys = [replace(PAIR, request=f"r{n}").key for n in range(200)]
    shards = [Shard.parse(f"{n}/7") for n in range(1, 8)]
    assert all(sum(shard.holds(key) for shard in shards) == 1 for key in keys)
    for wrong in ("0/3", "4/3", "3", "a/b", ""):
        with pytest.raises(ConfigError, match="2/8"):
            Shard.parse(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Budget(requests=0),
        lambda: Shares(dev=0.6, test=0.4),
        lambda: Calibration(margin=-0.1),
    ],
)
def test_impossible_settings_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_references_that_leave_their_folder_are_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "in" / "a..b.png").write_bytes(b"x")
    roots = ImageRoots([tmp_path / "in"])
    for name in ("../secret.png", "x/../../secret.png", "..\\secret.png", str(tmp_path / "secret.png"), ""):
        assert roots.reference(name) is None
    assert roots.reference("a..b.png") is not None
