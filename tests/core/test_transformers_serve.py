"""The server backend against a server nobody here wrote: `transformers serve` with the miniature's weights.

The same weights answer twice, over HTTP and in this process; greedy decoding must give the same scores.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rationalrewards_core.backends.base import Backend, Finish, Reply, Sampling
from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.comparison import Comparison
from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_edited, sample_generation
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.servers import ServerConfig

pytestmark = [pytest.mark.slow, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
TORCHVISION = Path(sys.prefix) / "torchvision"
PATIENCE = 120.0
"""Seconds the server may take to start; eight on a free machine."""


@pytest.fixture(scope="module")
def folder() -> Path:
    """The weights; skips, and says why, where something is missing that only this test needs."""
    if not (TORCHVISION / "torchvision" / "__init__.py").is_file():
        pytest.skip(
            f"There is no torchvision in {TORCHVISION}, which `transformers serve` needs; `make test` puts it there."
        )
    missing = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"`transformers serve` needs {', '.join(missing)}: pip install 'rationalrewards[dev]'.")
    try:
        return scorer_folder()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerConfig]:
    """The server, ready to answer; gone when the module's tests are done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-m", "tests.core.serve_checkpoint", str(TORCHVISION), str(folder)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=offline, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(process, port, log)
        # A connection on which it answered 500 is closed behind the answer, so one more attempt may be needed.
        yield ServerConfig(
            name="stranger",
            url=f"http://127.0.0.1:{port}/v1",
            model=str(folder),
            concurrency=1,
            retries=2,
            remember=False,
        )
        assert process.poll() is None, f"The server died meanwhile:\n{log.read_text()[-2000:]}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "nobody listens any more"


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"`transformers serve` did not start:\n{log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"`transformers serve` was not ready after {PATIENCE:g} s:\n{log.read_text()[-2000:]}")


def cases(count: int) -> list[Case]:
    rng = np.random.default_rng([900_001, 6])
    found = []
    for number in range(count):
        example = sample_edited(rng) if number % 3 == 2 else sample_generation(rng)
        sources = () if example.source is None else (Image.fromarray(example.source),)
        found.append(Case(UserRequest(example.request, sources), Image.fromarray(example.picture)))
    return found


def judged(backend: Backend, mode: Mode, *, guided: bool) -> tuple[Critique, ...]:
    """Critiques of the cases, every one; asked once each."""

    async def work() -> tuple[Critique, ...]:
        scorer = Scorer(
            backend,
            make_rubrics(EngineName("miniature")),
            ScorerSettings(ask_again=0, guided=guided, max_tokens=700),
        )
        batch = await scorer.score_many(cases(6), mode)
        await scorer.close()
        assert not batch.reasons, batch.outcomes
        return batch.critiques

    return asyncio.run(work())


@pytest.mark.parametrize("mode", ["critique", "score"])
def test_the_same_scores_as_in_this_process(
    mode: Mode, server: ServerConfig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = OpenAIChat(server)
    stranger = judged(backend, mode, guided=True)
    assert "takes no grammar" in caplog.text, "it refuses every name"
    profile = backend.profile
    assert (profile.grammar, profile.alternatives, profile.stop_texts) == ((), 0, 0), "it breaks over stop texts"
    assert not profile.draws, "the checkpoint says do_sample = false, and temperatures are ignored"
    assert len(profile.shortcomings()) >= 4
    assert "answers as" not in caplog.text, "a revision behind its name is no other model"
    ours = judged(
        TransformersLocal(CheckpointConfig(model=str(folder), device="cpu"), batch_size=1), mode, guided=False
    )
    assert [critique.scores for critique in stranger] == [critique.scores for critique in ours]
    assert len({tuple(critique.scores.values()) for critique in ours}) > 2, "the cases are not all alike"
    if mode == "critique":
        assert [critique.raw for critique in stranger] == [critique.raw for critique in ours]
    else:
        assert all(critique.refinement is None for critique in stranger)


def test_two_pictures_are_compared(server: ServerConfig) -> None:
    (request, first), (_, second) = [(case.request, case.candidate) for case in cases(2)]

    async def compare() -> Comparison:
        scorer = Scorer(OpenAIChat(server), make_rubrics(EngineName("miniature")), ScorerSettings(ask_again=0))
        try:
            return await scorer.compare(request, first, second)
        finally:
            await scorer.close()

    comparison = asyncio.run(compare())
    assert comparison.verdict == "A", "the second picture was drawn for another request"


def test_a_question_beyond_the_context_is_answered_without_a_word(server: ServerConfig) -> None:
    """So it is told nowhere but in docs/servers.md; what comes of it is read as strictly as any reply."""

    async def ask() -> Reply:
        backend = OpenAIChat(replace(server, probe=False, check_sight=False))
        try:
            return await backend.reply([Message("user", ("circle " * 5000,))], Sampling(max_tokens=5))
        finally:
            await backend.close()

    reply = asyncio.run(ask())
    assert reply.prompt_tokens > 4096, "what the miniature was made for"
    assert reply.finish is not Finish.CONTEXT


def test_another_model_is_refused_in_words(server: ServerConfig) -> None:
    config = ServerConfig(name="stranger", url=server.url, model="someone/else", retries=0)

    async def ask() -> None:
        backend = OpenAIChat(config)
        try:
            await backend.reply([Message("user", ("Hello",))], Sampling(max_tokens=5))
        finally:
            await backend.close()

    with pytest.raises(BackendError, match="pinned to") as caught:
        asyncio.run(ask())
    assert (caught.value.reason, caught.value.status) == ("client_error", 400)
