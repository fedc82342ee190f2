"""Folders and sets of files are the old ones or the new ones, wherever the process that replaces them dies."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rationalrewards_core.errors import ConfigError, StorageError
from rationalrewards_core.storage import (
    UNFINISHED,
    check_finished,
    clear_unfinished,
    copy_folder,
    forget_cached,
    replace_file,
    replacing_folder,
    replacing_together,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["a.txt", "b.txt", "c.txt"]
FEWEST = 6
"""System calls that either way of replacing makes at least."""


def write_together(folder: Path, text: str) -> None:
    with replacing_together(folder, NAMES) as files:
        for file in files:
            file.write(text.encode())


def write_folder(folder: Path, text: str) -> None:
    with replacing_folder(folder) as made:
        for name in NAMES:
            (made / name).write_text(text)


def read(folder: Path) -> list[str]:
    return [(folder / name).read_text() if (folder / name).exists() else "" for name in NAMES]


def died(last: int, work: Callable[[], None]) -> bool:
    """Do the work in a forked process that dies before its system call number `last` that changes something."""
    child = os.fork()
    if child:
        return bool(os.waitpid(child, 0)[1])
    calls = count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*words: Any, **more: Any) -> Any:
            if next(calls) == last:
                os._exit(9)
            return call(*words, **more)

        return counting

    for name in ("replace", "fsync", "mkdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("write", [write_together, write_folder], ids=["files", "folder"])
def test_a_process_that_dies_at_any_system_call_leaves_no_mixture_that_is_read(
    write: Callable[[Path, str], None], tmp_path: Path
) -> None:
    marked = 0
    for last in range(30):
        folder = tmp_path / str(last) / "made"
        write(folder, "old")
        ended = died(last, lambda folder=folder: write(folder, "new"))
        left = read(folder)
        if (folder / UNFINISHED).exists():
            marked += 1
            with pytest.raises(ConfigError, match="was not finished"):
                check_finished(folder, "run it again")
        elif folder.exists():
            assert left in (["old"] * 3, ["new"] * 3)
        write(folder, "newer")  # the next one mends everything
        clear_unfinished(folder.parent)
        assert (read(folder), sorted(os.listdir(folder.parent)), sorted(os.listdir(folder))) == (
            ["newer"] * 3,
            ["made"],
            NAMES,
        )
        check_finished(folder, "run it again")
        if not ended:
            break
    else:
        pytest.fail("it never ended by itself")
    assert last >= FEWEST
    assert marked > 1 or write is write_folder


def test_what_fails_leaves_all_as_before(tmp_path: Path) -> None:
    for write in (replacing_together(tmp_path, NAMES), replacing_folder(tmp_path / "made")):
        with pytest.raises(ZeroDivisionError), write:
            raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
    write_folder(tmp_path / "made", "old")
    with pytest.raises(StorageError), replacing_folder(tmp_path / "made") as made:
        (made / "nowhere" / "a.txt").write_text("new")
    assert read(tmp_path / "made") == ["old"] * 3
    assert os.listdir(tmp_path) == ["made"]


def test_a_folder_moved_aside_by_a_process_that_died_is_put_back(tmp_path: Path) -> None:
    write_folder(tmp_path / ".made.before", "old")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "made"):
        raise ZeroDivisionError
    assert read(tmp_path / "made") == ["old"] * 3
    copy_folder(tmp_path / "made", tmp_path / "copy")
    assert read(tmp_path / "copy") == ["old"] * 3


def test_a_file_whose_memory_is_given_back_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice: list[tuple[int, int, int]] = []
    if hasattr(os, "posix_fadvise"):
        give_back, wanted = os.posix_fadvise, (0, 0, os.POSIX_FADV_DONTNEED)
        monkeypatch.setattr(os, "posix_fadvise", lambda file, *how: (advice.append(how), give_back(file, *how)))
    else:
        wanted = ()
    replace_file(tmp_path / "file", [b"content"])
    forget_cached(tmp_path / "file")
    forget_cached(tmp_path / "missing")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert advice == ([wanted] if wanted else [])
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    forget_cached(tmp_path / "file")


def test_other_files_of_a_folder_stay(tmp_path: Path) -> None:
    replace_file(tmp_path / "mine.txt", [b"mine"])
    write_together(tmp_path, "new")
    assert sorted(os.listdir(tmp_path)) == [*NAMES, "mine.txt"]


WRITING = {"write_text", "write_bytes", "save", "save_pretrained", "save_file", "copyfile", "copy2", "copytree"}
"""Calls that write in place."""
IN_A_NEW_PLACE = {
    "rationalrewards_core/images.py": "a buffer",
    "rationalrewards_core/storage.py": "a new folder",
    "training/run.py": "torch.save into `replacing`",
    "training/nft/bridges.py": "a buffer",
    "training/nft/lora_file.py": "a new folder",
    "training/nft/lora_metadata.py": "a buffer",
    "training/personal/example_picks.py": "a new folder",
    "training/personal/probe.py": "a folder that is thrown away",
    "training/rewards/picture_head.py": "bytes",
    "training/rewards/scalars.py": "a folder that is thrown away",
    "training/sft/artefacts.py": "a new folder",
    "training/sft/scalar.py": "a new folder",
}
"""Files in which such calls write to memory, to a folder that takes its place as a whole, or to one that is thrown away."""


@pytest.mark.parametrize("package", ["rationalrewards_core", "training"])
def test_nothing_else_is_written_in_place(package: str) -> None:
    """But in the laboratory, whose experiments begin anew."""
    for file in sorted((ROOT / package).rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if name in IN_A_NEW_PLACE or name.startswith("training/lab/"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            modes = [one.value for one in node.args if isinstance(one, ast.Constant) and one.value in ("w", "wb", "xb")]
            opened = node.func.attr in ("open", "fdopen") and modes
            in_place = opened or node.func.attr in WRITING
            assert not in_place, f"{name}:{node.lineno} writes in place; use rationalrewards_core.storage, or say where"
