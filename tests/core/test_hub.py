"""Get the judge: from a hub that cuts, lies and stalls to a folder that is whole or not there."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rationalrewards_core.errors import ConfigError, DownloadError
from rationalrewards_core.hub import arrival, download
from rationalrewards_core.hub.download import DownloadState, JudgeDownload
from rationalrewards_core.hub.releases import HUB, RELEASES, hub_address
from tests.core.hub_server import COMMIT, HubServer, judge_files, serving_hub

RELEASE = RELEASES["RationalRewards-8B-T2I"]
LARGE = "model-00001-of-00002.safetensors"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as hub:
        yield hub


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(arrival, "BLOCK", 50_000)


async def finished(judge: JudgeDownload) -> DownloadState:
    while judge.state().state == "running":
        await asyncio.sleep(0.02)
    return judge.state()


def fetch(folder: Path, hub: HubServer) -> DownloadState:
    async def whole() -> DownloadState:
        judge = JudgeDownload(RELEASE, folder, hub.address)
        asked = await judge.ask()
        assert asked.commit is not None
        await judge.start(asked.commit)
        return await finished(judge)

    return asyncio.run(whole())


def assert_whole(folder: Path, hub: HubServer) -> None:
    target = folder / RELEASE.name
    assert {file.name: file.read_bytes() for file in target.iterdir() if file.name != download.PLAN} == hub.files
    assert [path.name for path in folder.iterdir()] == [RELEASE.name], "nothing is left beside it"


def test_nothing_is_asked_or_fetched_unasked(tmp_path: Path, hub: HubServer) -> None:
    async def look() -> None:
        judge = JudgeDownload(RELEASE, tmp_path, hub.address)
        assert judge.state().state == "missing"
        with pytest.raises(ConfigError, match="look at it again"):
            await judge.start(COMMIT)
        assert hub.asked == []
        asked = await judge.ask()
        assert (asked.state, asked.commit, asked.size) == ("missing", COMMIT, sum(map(len, hub.files.values())))
        assert asked.free is not None
        assert asked.free > 0
        assert not hub.spans
        assert not any(tmp_path.iterdir())
        with pytest.raises(ConfigError, match="look at it again"):
            await judge.start("f" * 40)
        assert not hub.spans

    asyncio.run(look())


def test_a_judge_arrives_whole_and_says_which_commit_it_is(tmp_path: Path, hub: HubServer) -> None:
    hub.extra = [
        {"type": "directory", "oid": "0" * 40, "path": "onnx", "size": 0},
        {"type": "file", "oid": "0" * 40, "path": "pytorch_model.bin", "size": 5},
        {"type": "file", "oid": "0" * 40, "path": "run.py", "size": 5},
        {"type": "file", "oid": "0" * 40, "path": "../config.json", "size": 5},
    ]
    assert fetch(tmp_path, hub).state == "here"
    assert_whole(tmp_path, hub)
    assert COMMIT in (tmp_path / RELEASE.name / download.PLAN).read_text()


@pytest.mark.parametrize("cut_after", [16_384, 100_000])
def test_a_connection_that_breaks_goes_on_where_it_was(tmp_path: Path, hub: HubServer, cut_after: int) -> None:
    hub.cut_after = cut_after
    assert fetch(tmp_path, hub).state == "here"
    assert_whole(tmp_path, hub)
    starts = [first for name, first in hub.spans if name == LARGE]
    assert len(starts) > 4
    assert starts == sorted(set(starts)), "no byte is fetched twice"


def test_a_server_without_ranges_is_read_from_the_beginning(tmp_path: Path, hub: HubServer) -> None:
    folder = tmp_path / f".{RELEASE.name}.download"
    folder.mkdir()
    (folder / f"{LARGE}.part").write_bytes(hub.files[LARGE][:70_000])
    hub.ranges = False
    assert fetch(tmp_path, hub).state == "here"
    assert_whole(tmp_path, hub)


def test_a_wrong_hash_is_said_and_nothing_of_it_is_kept(tmp_path: Path, hub: HubServer) -> None:
    hub.wrong = {LARGE}
    state = fetch(tmp_path, hub)
    assert state.state == "failed"
    assert state.error is not None
    assert state.error.startswith(f"{LARGE} arrived with another hash than the hub states")
    assert not (tmp_path / RELEASE.name).exists()
    assert not [file for file in (tmp_path / f".{RELEASE.name}.download").iterdir() if file.name.startswith(LARGE)]
    hub.wrong = set()
    hub.spans.clear()
    assert fetch(tmp_path, hub).state == "here"
    assert_whole(tmp_path, hub)
    assert {name for name, _ in hub.spans} == {LARGE}, "what was right is not fetched again"


def test_a_small_file_is_held_against_its_git_hash(tmp_path: Path, hub: HubServer) -> None:
    hub.wrong = {"config.json"}
    state = fetch(tmp_path, hub)
    assert state.error is not None
    assert "config.json arrived with another hash" in state.error


def test_a_file_without_a_hash_is_not_fetched(tmp_path: Path, hub: HubServer) -> None:
    hub.extra = [{"type": "file", "oid": "unknown", "path": "vocab.json", "size": 5}]
    with pytest.raises(DownloadError, match=r"no hash of vocab\.json"):
        fetch(tmp_path, hub)
    assert not hub.spans


@pytest.mark.parametrize(("status", "sentence"), [(404, "HTTP 404"), (503, "broke 6 times")])
def test_a_hub_that_refuses_is_said(tmp_path: Path, hub: HubServer, status: int, sentence: str) -> None:
    hub.status = status
    state = fetch(tmp_path, hub)
    assert state.state == "failed"
    assert state.error is not None
    assert sentence in state.error


def test_a_hub_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def ask() -> None:
        await JudgeDownload(RELEASE, tmp_path, "http://127.0.0.1:9").ask()

    with pytest.raises(DownloadError, match="cannot be reached"):
        asyncio.run(ask())


def test_a_stop_keeps_what_arrived_and_a_discard_does_not(tmp_path: Path, hub: HubServer) -> None:
    hub.seconds = 0.02

    async def stop_and_go_on() -> None:
        judge = JudgeDownload(RELEASE, tmp_path, hub.address)
        asked = await judge.ask()
        await judge.start(COMMIT)
        while judge.state().arrived < 450_000:
            await asyncio.sleep(0.01)
        stopped = await judge.stop()
        assert stopped.state == "part"
        assert 450_000 <= stopped.arrived < (asked.size or 0)
        hub.spans.clear()
        hub.commit = "f" * 40  # the hub has a newer version meanwhile: this download stays with its own
        hub.seconds = 0
        assert (await judge.ask()).commit == COMMIT
        hub.commit = COMMIT
        await judge.start(COMMIT)
        assert (await finished(judge)).state == "here"
        assert any(first > 0 for _, first in hub.spans)

    asyncio.run(stop_and_go_on())
    assert_whole(tmp_path, hub)

    async def discard() -> None:
        shutil.rmtree(tmp_path / RELEASE.name)
        hub.seconds = 0.02
        judge = JudgeDownload(RELEASE, tmp_path, hub.address)
        await judge.ask()
        await judge.start(COMMIT)
        while judge.state().arrived < 100_000:
            await asyncio.sleep(0.01)
        assert (await judge.discard()).state == "missing"

    asyncio.run(discard())
    assert not any(tmp_path.iterdir())


KILLED = """
import asyncio, sys
from pathlib import Path
from rationalrewards_core.hub import arrival
from rationalrewards_core.hub.download import JudgeDownload
from rationalrewards_core.hub.releases import RELEASES
arrival.BLOCK = 50_000
async def main(folder, hub):
    judge = JudgeDownload(RELEASES["RationalRewards-8B-T2I"], Path(folder), hub)
    await judge.start((await judge.ask()).commit)
    while judge.state().state == "running":
        await asyncio.sleep(0.01)
asyncio.run(main(*sys.argv[1:]))
"""


def test_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    with serving_hub(files=judge_files(2_000_000), seconds=0.01) as hub:
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path, hub.address])
        part = tmp_path / f".{RELEASE.name}.download" / f"{LARGE}.part"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 400_000):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / RELEASE.name).exists()
        hub.seconds = 0
        hub.spans.clear()

        async def go_on() -> None:
            judge = JudgeDownload(RELEASE, tmp_path, hub.address)
            left = judge.state()
            assert (left.state, left.commit) == ("part", COMMIT)
            assert left.arrived > 400_000
            await judge.start(COMMIT)
            assert (await finished(judge)).state == "here"

        asyncio.run(go_on())
        assert_whole_after_kill(tmp_path, hub)
        assert [first > 0 for name, first in hub.spans if name == LARGE] == [True]


def assert_whole_after_kill(folder: Path, hub: HubServer) -> None:
    target = folder / RELEASE.name
    assert {file.name: file.read_bytes() for file in target.iterdir() if file.name != download.PLAN} == hub.files


def test_two_programs_do_not_fetch_into_one_folder(tmp_path: Path, hub: HubServer) -> None:
    hub.seconds = 0.02

    async def both() -> None:
        first, second = (JudgeDownload(RELEASE, tmp_path, hub.address) for _ in range(2))
        await second.ask()
        await first.ask()
        await first.start(COMMIT)
        while first.state().arrived < 50_000:
            await asyncio.sleep(0.01)
        await second.start(COMMIT)
        state = await finished(second)
        assert state.error is not None
        assert "Another ComfyUI is fetching" in state.error
        hub.seconds = 0
        assert (await finished(first)).state == "here"

    asyncio.run(both())
    assert_whole(tmp_path, hub)


def test_a_full_disk_is_said_before_anything_is_fetched(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_free", lambda folder: 1_200_000)
    with pytest.raises(ConfigError, match="make room"):
        fetch(tmp_path, hub)
    assert not hub.spans


def test_a_folder_of_that_name_is_left_alone(tmp_path: Path, hub: HubServer) -> None:
    (tmp_path / RELEASE.name).mkdir()
    (tmp_path / RELEASE.name / "notes.txt").write_text("mine")

    async def start() -> None:
        judge = JudgeDownload(RELEASE, tmp_path, hub.address)
        assert (await judge.ask()).state == "occupied"
        await judge.start(COMMIT)

    with pytest.raises(ConfigError, match="holds no judge; move it away"):
        asyncio.run(start())
    assert not hub.asked
    assert (tmp_path / RELEASE.name / "notes.txt").read_text() == "mine"


def test_a_redirect_away_from_https_is_refused() -> None:
    assert arrival._next_address("https://hub/a", "https://cdn/b") == "https://cdn/b"
    assert arrival._next_address("https://hub/a", "/b") == "https://hub/b"
    for location in ("http://cdn/b", "file:///etc/passwd", "ftp://cdn/b"):
        with pytest.raises(DownloadError, match="without https"):
            arrival._next_address("https://hub/a", location)


def test_the_mirror_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, address in (("https://hf-mirror.com/", "https://hf-mirror.com"), ("", HUB), ("file:///x", HUB)):
        monkeypatch.setenv("HF_ENDPOINT", value)
        assert hub_address() == address
