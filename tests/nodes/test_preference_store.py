"""Preferences on disk: nothing answered is lost, nothing written is changed, and training reads what is exported."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.nodes.comfy_stub import Pack
from tests.nodes.preferences import Desk, colours
from training.data.pairs import PreferencePair, read_pairs
from training.data.store import ImageStore
from training.parrot.__main__ import main as parrot


@pytest.fixture
def desk(pack: Pack, tmp_path: Path) -> Desk:
    return Desk(pack, tmp_path / "mine")


def test_a_question_waits_until_it_is_answered(desk: Desk) -> None:
    first, second = desk.ask(1, 2), desk.ask(3, 4)
    assert desk.store.book().waiting == [first, second]
    desk.store.answer(first, 1)
    book = desk.store.book()
    assert (book.waiting, book.choices, book.last.question) == ([second], {first: 1}, first)
    assert desk.opened().book() == book, "another process sees the same"


def test_the_same_question_and_the_same_answer_are_written_once(desk: Desk) -> None:
    key = desk.ask(1, 2)
    assert desk.ask(1, 2) == key
    desk.store.answer(key, "tie")
    desk.store.answer(key, "tie")
    assert desk.events == ["question", "answer"]
    assert desk.ask(2, 1) != key, "another order is another question"
    assert desk.ask(1, 2, request="a dog") != key


def test_what_a_judge_said_later_is_added(desk: Desk) -> None:
    key = desk.ask(1, 2)
    assert desk.ask(1, 2, rewards=(0.5, None)) == key
    assert desk.ask(1, 2) == key
    assert desk.events == ["question", "question"]
    assert desk.store.book().questions[key].rewards == (0.5, None)
    assert json.loads(desk.log.read_text().splitlines()[1])["judge"] == {"said": "words"}


def test_an_undo_takes_back_one_answer_and_rewrites_nothing(desk: Desk) -> None:
    key = desk.ask(1, 2, 3)
    desk.store.answer(key, 0)
    desk.store.answer(key, 2)
    before = desk.log.read_bytes()
    assert desk.store.undo(desk.store.book().last.key) == key
    assert desk.choices == {key: 0}, "the answer before stands again"
    taken = desk.store.book().last.key
    desk.store.undo(taken)
    assert desk.choices == {}
    assert desk.log.read_bytes().startswith(before)
    with pytest.raises(desk.pack.core("errors").ConfigError, match="taken back already"):
        desk.store.undo(taken)
    assert desk.opened().book().choices == {}


@pytest.mark.parametrize("choice", [-1, 2])
def test_an_answer_must_fit_its_question(desk: Desk, choice: int) -> None:
    key = desk.ask(1, 2)
    with pytest.raises(desk.pack.core("errors").ConfigError, match="has 2 images"):
        desk.store.answer(key, choice)
    with pytest.raises(desk.pack.core("errors").ConfigError, match="no such question in mine"):
        desk.store.answer("0" * 16, 0)
    assert desk.events == ["question"]


def test_a_torn_line_is_no_answer_and_nothing_else_is_lost(desk: Desk) -> None:
    """Cut the file at every byte of its last line: what a kill can leave. Without its line break alone, it is whole."""
    key, other = desk.ask(1, 2), desk.ask(3, 4)
    desk.store.answer(other, 1)
    whole = desk.log.read_bytes()
    desk.store.answer(key, 0)
    full = desk.log.read_bytes()
    for end in range(len(whole), len(full)):
        desk.log.write_bytes(full[:end])
        store = desk.opened()
        assert store.book().choices == {other: 1} | ({key: 0} if end == len(full) - 1 else {})
        store.answer(key, "bad")
        assert desk.opened().book().choices == {other: 1, key: "bad"}
        assert desk.log.read_bytes().startswith(whole)


def test_two_processes_and_many_threads_write_into_one_file(desk: Desk) -> None:
    keys = [desk.ask(shade, 200) for shade in range(12)]
    elsewhere = desk.opened()
    with ThreadPoolExecutor(8) as threads:
        stores = (desk.store, elsewhere)
        list(threads.map(lambda place: stores[place % 2].answer(keys[place], place % 2), range(12)))
    assert desk.choices == elsewhere.book().choices == {key: place % 2 for place, key in enumerate(keys)}
    assert len(desk.events) == 24


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"event": "poem"}',
        b'{"event": "undo", "answer": "x"}',
        b'{"event": "answer", "key": "x"}',
        b'{"event": "answer", "key": "x", "question": "QUESTION", "choice": 2}',
    ],
)
def test_a_damaged_line_is_counted_and_said_and_closes_nothing(
    desk: Desk, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = desk.ask(1, 2)
    with desk.log.open("ab") as file:
        file.write(line.replace(b"QUESTION", key.encode()) + b"\n")
    desk.store.answer(key, 1)
    other = desk.ask(3, 4)
    for store in (desk.store, desk.opened()):
        book = store.book()
        assert (book.choices, book.waiting, book.damaged) == ({key: 1}, [other], 1)
    assert "picks.jsonl, line 2 is" in caplog.text
    export = desk.pack.module("nodes.preferences.export")
    assert export.summary("mine", export.tally(desk.store.book())).endswith("1 damaged lines of its file are left out.")
    assert export.export(desk.store) == 1


def test_a_last_pick_without_its_line_break_is_seen_once(desk: Desk) -> None:
    key = desk.ask(1, 2)
    desk.store.answer(key, 0)
    desk.log.write_bytes(desk.log.read_bytes()[:-1])
    reader, writer = desk.opened(), desk.opened()
    assert reader.book().choices == {key: 0}
    writer.answer(key, 1)
    assert reader.book().choices == writer.book().choices == {key: 1}
    assert desk.events == ["question", "answer", "answer"]
    assert reader.book().damaged == 0


def test_a_folder_that_was_deleted_begins_anew(desk: Desk) -> None:
    desk.store.answer(desk.ask(1, 2), 0)
    desk.log.unlink()
    assert desk.store.book().questions == {}
    key = desk.ask(1, 2)
    assert desk.store.book().waiting == [key]


def test_images_are_there_before_their_line_and_stored_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, pack: Pack
) -> None:
    store = pack.module("nodes.preferences.store")
    written: list[str] = []
    monkeypatch.setattr(store, "replace_file", lambda path, pieces: written.append(path.name) or _full_disk(written))
    with pytest.raises(OSError, match="disk is full"):
        desk.ask(1, 2)
    assert not desk.log.exists()
    monkeypatch.undo()
    key = desk.ask(1, 2, 1)
    question = desk.store.book().questions[key]
    assert question.candidates[0] == question.candidates[2]
    assert sorted(file.name for file in desk.folder.rglob("*.*") if file.is_file()) == sorted(
        {Path(place).name for place in question.candidates} | {"picks.jsonl"}
    )
    with Image.open(desk.folder / question.candidates[1]) as image:
        assert image.getpixel((0, 0)) == (2, 20, 40)


def _full_disk(written: list[str]) -> None:
    if len(written) == 2:
        raise OSError("the disk is full")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "a b", "x" * 65, "é", "nul", "COM1", "a\n", "-a"]
)
def test_only_a_plain_name_is_a_data_set(pack: Pack, name: str) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match="letters, digits"):
        pack.module("nodes.preferences.store").preference_store(name)


@pytest.mark.parametrize("count", [1, 9])
def test_two_to_eight_candidates(desk: Desk, count: int) -> None:
    with pytest.raises(desk.pack.core("errors").RequestError, match="2 to 8 images, not"):
        desk.ask(*range(count))
    assert not desk.folder.exists()


def imported(desk: Desk, folder: Path) -> list[PreferencePair]:
    desk.pack.module("nodes.preferences.export").export(desk.store)
    command = ["import", "folder", str(desk.folder / "export"), "--run", str(folder), "--name", "mine"]
    assert parrot(command) == 0
    return list(read_pairs([folder / "pairs" / "mine.jsonl"]))


def test_training_reads_the_export(desk: Desk, tmp_path: Path) -> None:
    """The whole way: a winner of three is two pairs, a tie one; an undone and a waiting question are none."""
    best = desk.ask(1, 2, 3, rewards=(0.1, 0.9, 0.2))
    desk.store.answer(best, 1)
    tie = desk.ask(4, 5, request="a dog, “smiling”\nat dawn")
    desk.store.answer(tie, "bad")
    desk.store.answer(desk.ask(6, 7), 0)
    desk.store.undo(desk.store.book().last.key)
    pairs = imported(desk, tmp_path / "run")
    images = ImageStore(tmp_path / "run")

    def shades(pair: PreferencePair) -> tuple[int, int]:
        first, second = (images.open(reference).getpixel((0, 0))[0] for reference in (pair.first, pair.second))
        return first, second

    assert [(shades(pair), pair.preference.value, pair.request) for pair in pairs] == [
        ((1, 2), "B", "a cat"),
        ((2, 3), "A", "a cat"),
        ((4, 5), "TIE", "a dog, “smiling”\nat dawn"),
    ]
    assert {pair.origin for pair in pairs} == {"own picks: mine"}
    assert {pair.kind for pair in pairs} == {"generation"}


def test_an_edit_keeps_its_source_and_an_export_follows_later_answers(desk: Desk, tmp_path: Path) -> None:
    (source,) = colours(90)
    request = desk.pack.core("messages").UserRequest("make it red", (source,))
    key = desk.store.ask(request, colours(1, 2), None, ()).key
    desk.store.answer(key, 0)
    (pair,) = imported(desk, tmp_path / "run")
    assert (pair.kind, pair.preference.value, len(pair.sources)) == ("edit", "A", 1)
    assert ImageStore(tmp_path / "run").open(pair.sources[0]).getpixel((0, 0)) == (90, 20, 40)
    desk.store.answer(key, 1)
    (pair,) = imported(desk, tmp_path / "again")
    assert pair.preference.value == "B"


def test_pairs_and_agreement_are_counted(desk: Desk) -> None:
    answers: list[tuple[tuple[int, ...], tuple[float | None, ...], Any]] = [
        ((1, 2, 3), (0.1, 0.9, 0.2), 1),
        ((4, 5), (0.9, 0.1), 1),
        ((6, 7), (0.5, 0.5), 0),
        ((8, 9), (None, 0.5), 1),
        ((10, 11, 12), (), "tie"),
        ((13, 14), (0.5, 0.1), "bad"),
        ((15, 15), (), 0),
    ]
    for shades, rewards, choice in answers:
        desk.store.answer(desk.ask(*shades, rewards=rewards), choice)
    desk.ask(20, 21)
    export = desk.pack.module("nodes.preferences.export")
    counted = export.tally(desk.store.book())
    assert (counted.answered, counted.waiting, counted.ties, counted.bad) == (7, 1, 1, 1)
    assert counted.pairs == 2 + 1 + 1 + 1 + 3 + 1, "an image is never paired with itself"
    assert (counted.agreed, counted.judged) == (1, 3)
    assert export.summary("mine", counted) == (
        "mine: 7 answered (ties: 1, all bad: 1), 1 waiting; 9 pairs. The judge picked the same image in 1 of 3."
    )
