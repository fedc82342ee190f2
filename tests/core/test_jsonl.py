"""Append-only JSON lines: whole or not there, whatever kills their writer; one writer; every refusal one sentence."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rationalrewards_core.errors import ConfigError, RationalRewardsError, StorageError
from rationalrewards_core.file_lock import FileLock
from rationalrewards_core.jsonl import DamagedLine, LineWriter, encoded, read_lines, whole_lines
from rationalrewards_core.storage import replace_file

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"key": 0, "text": "é\u2028\u0085\x1c 東京"},
    {"key": 1, "text": "\ud800 }{\n"},
    {"key": 2, "deep": [{"a": None}]},
]
WRITER = """
import sys
from pathlib import Path
from rationalrewards_core.jsonl import LineWriter, read_lines
path = Path(sys.argv[1])
with LineWriter(path) as lines:
    for number in range(len(list(read_lines(path, dict))), int(sys.argv[2])):
        lines.append({"key": number, "text": "é" * (number % 7 * 400)})
        print(number, flush=True)
"""


def start(path: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def keys(path: Path) -> list[int]:
    return list(read_lines(path, lambda row: row["key"]))


def sentence(error: RationalRewardsError) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    with LineWriter(tmp_path / "deep" / "rows.jsonl") as lines:
        lines.append(ROWS[0])
        lines.append(*ROWS[1:])
    assert list(read_lines(tmp_path / "deep" / "rows.jsonl", dict)) == ROWS
    assert os.listdir(tmp_path / "deep") == ["rows.jsonl"], "nothing is left beside it"


def test_a_file_cut_at_every_byte_keeps_every_line_that_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, content = tmp_path / "rows.jsonl", b"".join(map(encoded, ROWS))
    ends = [len(b"".join(map(encoded, ROWS[:count]))) for count in range(4)]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = [number for number in range(3) if cut >= ends[number + 1] - 1]  # the break itself may be missing
        assert keys(path) == whole, cut
        assert path.stat().st_size == cut, "reading changes nothing"
        caplog.clear()
        with LineWriter(path) as lines:
            lines.append({"key": 9})
        assert keys(path) == [*whole, 9], cut
        assert path.read_bytes() == content[: ends[len(whole)]] + b'{"key": 9}\n'
        torn = cut not in ends and cut + 1 not in ends
        assert ("cut off" in caplog.text) == torn, cut
        assert len(caplog.records) == torn


def test_a_file_that_was_written_in_one_piece_has_no_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"key": 0}\n{"key": 1')
    assert keys(path) == [0]
    with pytest.raises(DamagedLine, match="line 2 is damaged"):
        list(read_lines(path, dict, finished=True))


@pytest.mark.parametrize("content", [b"a,b\n1,2\n3,4", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"a list\nof mine", b"[1"])
def test_the_end_of_somebodys_file_is_never_cut_off(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is no JSON line; choose another file"):
        LineWriter(file)
    assert file.read_bytes() == content
    file.write_bytes(b'{"x": 1}\n\0\0\0')  # what a file system may leave of a line whose machine lost power
    LineWriter(file).close()
    assert file.read_bytes() == b'{"x": 1}\n'


def test_old_files_load(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, blank lines."""
    path = tmp_path / "old.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"key": 1}\r\n\r\n\n  \n{"key": 2}\r\n')
    assert keys(path) == [1, 2]
    assert keys(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    "line",
    [b'{"key"', b"[]", b"null", b"7", b"\xff\xfe\x00", b"\0\0\0", b"[" * 100_000, b'{"other": 1}', b'{"key": 1}{'],
)
def test_damage_in_the_middle_names_file_and_line(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"key": 0}\n\n' + line + b'\n{"key": 2}\n')
    with pytest.raises(DamagedLine) as caught:
        keys(path)
    assert re.search(r"rows\.jsonl, line 3 is .*; delete that line and try again\.$", sentence(caught.value))
    counted: list[DamagedLine] = []
    assert list(read_lines(path, lambda row: row["key"], counted.append)) == [0, 2]
    assert [each.number for each in counted] == [3]
    with LineWriter(path) as lines, pytest.raises(DamagedLine):
        lines.keep(lambda row: row["key"] == 0)
    assert path.read_bytes().count(b"\n") == 4


def test_lines_are_dropped_and_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with LineWriter(path) as lines:
        lines.append(*({"key": number} for number in range(5)))
        lines.keep(lambda row: row["key"] % 2 == 0)
        lines.append({"key": 6})
        lines.replace(line.content for line in sorted(whole_lines(path), key=lambda line: -line.number))
        lines.append({"key": 7})
    assert keys(path) == [6, 4, 2, 0, 7]
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_writer_killed_fifteen_times_loses_no_line_that_it_reported(tmp_path: Path) -> None:
    path, rng, done, count, kills = tmp_path / "rows.jsonl", random.Random(5), -1, 4_000, 0
    whole = tmp_path / "whole.jsonl"
    while done < count - 1 and kills < 15:
        writer = start(path, count)
        assert writer.stdout is not None
        wanted = done + rng.randrange(1, 60)
        for word in writer.stdout:
            assert int(word) == done + 1, "it goes on behind the last whole line"
            done = int(word)
            if done >= wanted:
                break
        time.sleep(rng.random() * 0.004)
        writer.send_signal(signal.SIGKILL)
        rest = [int(word) for word in writer.stdout.read().split()]  # `communicate` forgets what was read ahead
        writer.communicate()
        kills += 1
        done = rest[-1] if rest else done
        kept = keys(path)
        assert kept == list(range(len(kept)))
        assert len(kept) in (done + 1, done + 2), "at most the line that was not yet reported"
        done = len(kept) - 1
    assert kills == 15
    for place in (path, whole):
        start(place, done + 20).communicate()
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["rows.jsonl", "whole.jsonl"]


def test_a_second_writer_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    writer = start(path, 10**9)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        with pytest.raises(ConfigError, match=r"Another process is writing .*rows\.jsonl; wait until it") as caught:
            LineWriter(path)
        sentence(caught.value)
        assert keys(path)[0] == 0, "anybody may read meanwhile"
    finally:
        writer.kill()
        writer.communicate()
    with LineWriter(path), pytest.raises(ConfigError, match="Another process"):
        LineWriter(path)


def test_writers_that_wait_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    code = WRITER.replace("LineWriter(path) as lines", "open('/dev/null') as _").replace(
        "lines.append(", "LineWriter(path, wait=True).append("
    )
    code = code.replace('"key": number', '"key": number, "who": sys.argv[3]').replace(
        "len(list(read_lines(path, dict)))", "0"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), "50", name], cwd=ROOT, stdout=subprocess.DEVNULL)
        for name in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    rows = list(read_lines(path, dict))
    assert len(rows) == 150
    for name in "abc":
        assert [row["key"] for row in rows if row["who"] == name] == list(range(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_does_not_keep_the_lock_of_a_parent_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = LineWriter(path)
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    try:
        with pytest.raises(ConfigError, match="Another process"):
            LineWriter(path)  # the child let go of it without freeing it
        lines.close()
        LineWriter(path).close()
    finally:
        worker.kill()
        worker.join()


def test_a_lock_that_its_holder_removed_meanwhile_locks_nothing(tmp_path: Path) -> None:
    """Many short holders at once: never two at a time."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom rationalrewards_core.file_lock import FileLock\n"
        "for _ in range(150):\n"
        "    lock = FileLock(Path(sys.argv[1]), wait=True, busy='')\n"
        "    os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))\n"
        "    os.unlink(sys.argv[2])\n    lock.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock"), str(tmp_path / "alone")]
    holders = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [holder.wait() for holder in holders] == [0, 0, 0]
    assert os.listdir(tmp_path) == []
    FileLock(tmp_path / "lock", wait=False, busy="").close()


def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the write is cut short in the middle of a line."""
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from rationalrewards_core.errors import StorageError\nfrom rationalrewards_core.jsonl import LineWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\nlines = LineWriter(Path(sys.argv[1]))\n"
        "lines.append({'key': 0})\n"
        "for _ in range(2):\n"
        "    try:\n        lines.append({'key': 1, 'text': 'x' * 200})\n"
        "    except StorageError as error:\n        print(error)\n"
        "lines.append({'key': 2})\n"
    )
    path = tmp_path / "rows.jsonl"
    told = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (
        told.stdout.splitlines()
        == [f"{path} cannot be used: File too large; allow larger files there, then run it again."] * 2
    )
    assert path.read_bytes() == b'{"key": 0}\n{"key": 2}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_space_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"free some space|look at that disk") as caught:
        LineWriter(tmp_path / "rows.jsonl").append({"key": 0})
    sentence(caught.value)


def test_folders_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    for path, why in (
        (tmp_path / "file" / "rows.jsonl", "a file where a folder"),
        (tmp_path / "folder.jsonl", "a folder"),
    ):
        with pytest.raises(StorageError, match=f"{path} cannot be used: .*; there is {why}") as caught:
            LineWriter(path)
        sentence(caught.value)
    with pytest.raises(StorageError, match="folder where a file should be"):
        list(whole_lines(tmp_path / "folder.jsonl"))


@pytest.mark.skipif(os.name == "nt", reason="folders have no such rights here")
def test_a_folder_of_somebody_else_is_one_sentence(tmp_path: Path) -> None:
    own = os.geteuid()
    tmp_path.chmod(0o500)
    if own == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(StorageError, match="choose a folder that you may write to") as caught:
            LineWriter(tmp_path / "rows.jsonl")
        sentence(caught.value)
    finally:
        os.seteuid(own)
        tmp_path.chmod(0o700)


def test_a_replacement_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    replace_file(path, [b"old\n"])

    def broken() -> list[bytes]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        replace_file(path, (piece for piece in broken()))
    assert path.read_bytes() == b"old\n"
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_line_is_plain_json() -> None:
    assert json.loads(encoded({"a": "é"})) == {"a": "é"}
    assert encoded({"a": "é"}) == '{"a": "é"}\n'.encode()
