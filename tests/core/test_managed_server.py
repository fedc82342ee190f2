"""Servers that this program starts: real processes, from their start to the end of whatever started them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.managed_chat import ManagedChat
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.managed import managed_server as managing
from rationalrewards_core.managed.server_log import MOST_LOGS, last_line, log_folder, logs, open_log
from rationalrewards_core.messages import Message
from rationalrewards_core.servers import ServerConfig, load_servers

STUB = Path(__file__).with_name("managed_stub.py")
QUESTION = (Message("user", ("Is it red?",)),)
REPOSITORY = Path(__file__).resolve().parents[2]


def config(*arguments: str, **settings: Any) -> ServerConfig:
    command = (sys.executable, str(STUB), "--port", "{port}", *arguments)
    given = {
        "name": "judge",
        "environment": {"STUB_KEY": "{key}"},
        "check_sight": False,
        "probe": False,
        "retries": 0,
        **settings,
    }
    return ServerConfig(command=command, **given)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(managing, "_servers", {})
    yield
    managing.stop_all()


def ask(chat: ManagedChat, times: int = 1) -> list[Any]:
    async def all_of_them() -> list[Any]:
        try:
            return await asyncio.gather(
                *(chat.reply(QUESTION, Sampling()) for _ in range(times)), return_exceptions=True
            )
        finally:
            await chat.disconnect()

    return asyncio.run(all_of_them())


def texts(replies: list[Any]) -> list[str]:
    assert all(isinstance(reply, Reply) for reply in replies), replies
    return [reply.text for reply in replies]


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has taken leave of (a zombie) has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second if it ends while it is read
        return True


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never"
        time.sleep(0.05)


def test_nothing_is_started_before_the_first_question_and_eight_callers_share_one_process() -> None:
    chat = ManagedChat(config("--wait", "0.5"))
    assert chat.identity == ManagedChat(chat.config).identity
    assert not chat.server.alive
    assert not logs("judge")
    assert texts(ask(chat, 8)) == ["yes"] * 8
    assert len(logs("judge")) == 1
    assert chat.server.alive
    first = chat.server.process_id
    assert texts(ask(ManagedChat(chat.config))) == ["yes"], "another caller, in another event loop"
    assert chat.server.process_id == first


def test_the_key_is_random_and_needed() -> None:
    chat = ManagedChat(config())
    ask(chat)
    run = chat.server.start()
    assert run.config.url.startswith("http://127.0.0.1:")
    assert len(run.config.api_key) >= 32
    assert run.config.api_key not in " ".join(Path(f"/proc/{run.process.pid}/cmdline").read_text().split("\0"))
    wrong = ServerConfig(
        name="x", url=run.config.url, api_key="another-key-of-mine", retries=0, check_sight=False, probe=False
    )
    from rationalrewards_core.backends.openai_chat import OpenAIChat

    with pytest.raises(BackendError, match="answered 401"):
        asyncio.run(OpenAIChat(wrong).reply(QUESTION, Sampling()))


def test_closing_stops_it_and_it_can_be_started_again() -> None:
    chat = ManagedChat(config())
    ask(chat)
    keeper = chat.server.process_id
    asyncio.run(chat.close())
    assert keeper is not None
    assert gone(keeper)
    assert not chat.server.alive
    assert texts(ask(chat)) == ["yes"]


def test_it_is_stopped_when_idle_and_not_while_it_works() -> None:
    chat = ManagedChat(config("--slow", "2.5", idle_seconds=1.0))
    assert texts(ask(chat)) == ["yes"], "a question longer than the idle time is answered"
    wait_for(lambda: not chat.server.alive)
    assert texts(ask(chat)) == ["yes"]


def test_a_stopped_server_is_told_as_that_to_whoever_was_asking() -> None:
    chat = ManagedChat(config("--slow", "30"))

    async def work() -> None:
        asked = asyncio.ensure_future(chat.reply(QUESTION, Sampling()))
        while chat.server._ready is None:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(chat.server.stop)
        with pytest.raises(BackendError, match="was stopped while it was asked; ask again") as caught:
            await asked
        assert caught.value.reason == "unloaded"
        await chat.disconnect()

    asyncio.run(work())


def test_a_crash_under_a_question_is_said_and_the_question_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    die = tmp_path / "die"
    die.touch()
    chat = ManagedChat(config("--die-at", str(die)))
    with caplog.at_level(logging.WARNING):
        assert texts(ask(chat, 4)) == ["yes"] * 4
    assert len(logs("judge")) == 2
    assert (
        "server 'judge' ended (exit code 3); its last line was \"out of memory, key [key]\". Its log: " in caplog.text
    )


def test_one_that_always_crashes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    chat = ManagedChat(config("--die"))
    (first,) = ask(chat)
    assert isinstance(first, BackendError)
    assert first.reason == "crashed"
    assert str(first).startswith("Server 'judge' ended while it judged (exit code 3); its last line was")
    (second,) = ask(chat)
    assert "has crashed 3 times and is not started again for now" in str(second)
    assert len(logs("judge")) == 3


def test_one_that_does_not_start_says_its_last_line_once_for_all_callers() -> None:
    chat = ManagedChat(config("--broken"))
    failures = ask(chat, 6) + ask(chat, 3)
    assert {(type(f), f.reason) for f in failures} == {(BackendError, "start_failed")}
    assert str(failures[0]).startswith(
        "Server 'judge' did not start (exit code 1); its last line was \"RuntimeError: the weights are no weights\". Its log: "
    )
    assert len(logs("judge")) == 1, "the others need not wait for a second failure"


def test_one_that_never_answers_is_ended() -> None:
    chat = ManagedChat(config("--wait", "60", start_seconds=1.0))
    (failure,) = ask(chat)
    assert "did not answer within 1 s; raise start_seconds in the config file, or read its log" in str(failure)
    assert not chat.server.alive


def test_a_program_that_is_not_there_is_named() -> None:
    chat = ManagedChat(ServerConfig(name="judge", command=("no-such-program", "--port", "{port}")))
    (failure,) = ask(chat)
    assert "started by 'no-such-program', which is not on this machine" in str(failure)


PARENT = """
import asyncio, os, sys, time
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.managed_chat import ManagedChat
from rationalrewards_core.messages import Message
from rationalrewards_core.servers import ServerConfig
command = tuple(sys.argv[2:])
chat = ManagedChat(ServerConfig(name="judge", command=command, check_sight=False, probe=False))
asyncio.run(chat.reply((Message("user", ("?",)),), Sampling()))
print(chat.server.process_id, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
elif sys.argv[1] == "raise":
    raise RuntimeError
"""


def started_by_another(tmp_path: Path, ending: str, *arguments: str) -> tuple[subprocess.Popen[str], int, int]:
    """A process that has started a server: it, the keeper's id, the id of a process that the server has started."""
    child = tmp_path / "child"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
            ending,
            sys.executable,
            str(STUB),
            "--port",
            "{port}",
            "--child",
            str(child),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert parent.stdout is not None
    keeper = int(parent.stdout.readline())
    return parent, keeper, int(child.read_text())


def server_of(keeper: int) -> int:
    return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, "exit", "raise"])
def test_no_orphan_is_left_however_its_starter_ends(tmp_path: Path, how: signal.Signals | str) -> None:
    parent, keeper, grandchild = started_by_another(tmp_path, "wait" if isinstance(how, signal.Signals) else how)
    if isinstance(how, signal.Signals):
        server = server_of(keeper)
        parent.send_signal(how)
        parent.wait(20)
        wait_for(lambda: gone(server))
    parent.wait(20)
    for process in (keeper, grandchild):
        wait_for(lambda process=process: gone(process))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_server_that_ignores_the_wish_to_end_is_ended(tmp_path: Path) -> None:
    parent, keeper, grandchild = started_by_another(tmp_path, "wait", "--stubborn")
    server = server_of(keeper)
    parent.kill()
    parent.wait(20)
    for process in (server, keeper, grandchild):
        wait_for(lambda process=process: gone(process))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_killed_keeper_takes_its_server_along(tmp_path: Path) -> None:
    parent, keeper, grandchild = started_by_another(tmp_path, "wait")
    server = server_of(keeper)
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: gone(server))
    os.kill(grandchild, signal.SIGKILL)  # what a server has started is its own affair then
    parent.kill()
    parent.wait()


def test_a_second_program_that_wants_the_same_server_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parent, _, _ = started_by_another(tmp_path, "wait")
    try:
        with caplog.at_level(logging.WARNING):
            ask(ManagedChat(config()))
        assert caplog.text.count("server 'judge' is running for another program already; this one starts its own") == 1
    finally:
        parent.kill()
        parent.wait()


def test_a_forked_child_does_not_keep_the_server() -> None:
    chat = ManagedChat(config())
    ask(chat)
    keeper = chat.server.process_id
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        chat.server.stop()
        assert keeper is not None
        assert gone(keeper)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_newest_logs_are_kept_for_the_user_alone() -> None:
    for number in range(MOST_LOGS + 3):
        path, file = open_log("my judge")
        with file:
            file.write(f"start {number}\n\x1b[0m \n".encode())
    kept = logs("my judge")
    assert len(kept) == MOST_LOGS
    assert kept[-1] == path
    assert last_line(path).startswith("start") or "0m" in last_line(path)
    assert path.stat().st_mode & 0o077 == 0
    assert not logs("my")
    assert path.parent == log_folder()


def test_changed_weights_are_another_judge(tmp_path: Path) -> None:
    weights = tmp_path / "judge.gguf"
    weights.write_bytes(b"one")
    chat = ManagedChat(config("--text", str(weights)))
    before = chat.identity
    weights.write_bytes(b"another")
    assert chat.identity != before
    assert ManagedChat(config("--text", "no")).identity != before


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('command = ["vllm", "serve"]', "must say where the port goes: write {port} in its place"),
        ('command = ["vllm", "{port}"]\nurl = "http://127.0.0.1:1/v1"', "so it takes no url and no key"),
        ('command = ["vllm", "{port}"]\napi_key = "x"', "so it takes no url and no key"),
        ("command = []", "command is empty"),
        ('command = "vllm {port}"', "command has the wrong type"),
        ('command = ["vllm", 8000, "{port}"]', "must be a list of texts"),
        ('command = ["vllm", "{port}"]\nenvironment = {A = 1}', "must hold texts"),
        ('command = ["vllm", "{port}"]\nidle_seconds = 0', "idle_seconds must be at least 1"),
        ('url = "http://127.0.0.1:1/v1"\nenvironment = {A = "1"}', "environment goes with a command"),
        ("", "needs a url, or a command"),
    ],
)
def test_a_wrong_entry_is_named(row: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[servers.a]\n{row}\n")
    with pytest.raises(ConfigError) as caught:
        load_servers(path)
    assert sentence in str(caught.value)


def test_what_it_honours_is_known_after_its_connections_are_closed() -> None:
    chat = ManagedChat(config(probe=True))
    assert chat.profile is None
    ask(chat)
    assert chat.profile is not None
    assert chat.profile.probed
    assert not chat.profile.guided
