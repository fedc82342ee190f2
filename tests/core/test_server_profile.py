"""What a server honours is seen in its answers, kept for its model and version, said to the user, and never assumed."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rationalrewards_core.backends import profile_store
from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.server_probe import DRAW, FORCED, QUESTION
from rationalrewards_core.backends.server_profile import ServerProfile, profile_from_json
from rationalrewards_core.errors import BackendError
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.fault_server import Answer, Ask, FaultServer, completion, fault, raw, serving

SENTENCE = "A lighthouse stands on the rock and shines far over the sea."
JUDGED = "# Detailed Judgement"
GRAMMAR_NAMES = {"structured_outputs", "grammar", "ebnf"}


@dataclass(frozen=True)
class Kind:
    """A server's habits, as the servers in use have them."""

    obeys: str = ""
    """The field whose grammar it follows."""
    refuses: tuple[str, ...] = ()
    """Fields that it answers with 422."""
    most_alternatives: int = 20
    keeps_alternatives_back: bool = False
    other_tokens: bool = False
    """Its probabilities are those of another text."""
    stops: int = 5
    ignores_stops: bool = False
    breaks_over_stops: bool = False
    seeds: bool = True
    draws: bool = True
    thinks: str = ""
    """Where its thoughts go: a field of the message, or `content`."""

    def __call__(self, ask: Ask) -> Answer:
        body = ask.body
        refused = [name for name in self.refuses if name in body]
        if refused:
            return fault(422, f"Unexpected keys in the request: {refused}")
        if body.get("top_logprobs", 0) > self.most_alternatives:
            return fault(400, f"top_logprobs must be at most {self.most_alternatives}")
        if len(body.get("stop", ())) > self.stops:
            return fault(400, "too many stop texts")
        if "stop" in body and self.breaks_over_stops:
            return fault(500, "tokenizer")
        text = self._text(ask)
        cuts = [text.index(ending) for ending in body.get("stop", ()) if ending in text]
        text = text[: min(cuts)] if cuts and not self.ignores_stops else text
        switched_off = body.get("chat_template_kwargs", {}).get("enable_thinking") is False
        message: dict[str, Any] = {}
        if self.thinks and not switched_off:
            text, message = (
                (f"Hm.\n</think>\n{text}", {}) if self.thinks == "content" else (text, {self.thinks: "The user wants"})
            )
        return completion(text, message=message, choice=self._choice(body, text))

    def _text(self, ask: Ask) -> str:
        if self.obeys in ask.body:
            given = ask.body[self.obeys]
            grammar = given["grammar"] if isinstance(given, dict) else given
            return grammar.partition('"')[2].rstrip('"') if FORCED in grammar else JUDGED
        if ask.text == DRAW:
            seed = ask.body.get("seed") if self.seeds else ask.number
            return f"{seed if self.draws else 0} words"
        return SENTENCE

    def _choice(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        if "top_logprobs" not in body or self.keeps_alternatives_back:
            return {}
        words = (SENTENCE[::-1] if self.other_tokens else text).split(" ")
        top = [{"token": f"t{n}", "logprob": math.log(0.5**n)} for n in range(1, body["top_logprobs"])]
        rows = [{"token": f"{' ' if n else ''}{word}", "logprob": -0.1} for n, word in enumerate(words)]
        return {"logprobs": {"content": [{**row, "top_logprobs": [row, *top]} for row in rows]}}


async def met(config: Any, *samplings: Sampling) -> tuple[ServerProfile, list[Reply]]:
    """The profile, and a reply to a question for every sampling."""

    async def no_wait(seconds: float) -> None:
        return

    backend = OpenAIChat(config, sleep=no_wait)
    try:
        await backend.introduce()
        replies = [await backend.reply([Message("user", ("Judge.",))], sampling) for sampling in samplings]
        return backend.profile, replies
    finally:
        await backend.close()


def profile_of(kind: Kind, **options: Any) -> tuple[ServerProfile, FaultServer]:
    with serving(kind) as server:
        profile, _ = asyncio.run(met(server.config(probe=True, **options)))
        return profile, server


@pytest.mark.parametrize("name", sorted(GRAMMAR_NAMES))
def test_a_grammar_goes_under_the_name_that_is_obeyed(name: str) -> None:
    """A 200 is no proof: every one of these servers takes all three fields and obeys one."""
    with serving(Kind(obeys=name)) as server:
        profile, (reply,) = asyncio.run(met(server.config(probe=True), Sampling(grammar="root ::= x")))
        assert GRAMMAR_NAMES & server.asks[-1].body.keys() == {name}
    assert profile.grammar == (name,)
    assert reply.text == JUDGED
    assert profile.lines()[1].startswith("Replies are guided")
    assert profile.shortcomings() == []


@pytest.mark.parametrize("kind", [Kind(), Kind(refuses=tuple(GRAMMAR_NAMES))], ids=["ignores", "refuses"])
def test_a_server_that_guides_nothing_is_said_to(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    with serving(kind) as server:
        profile, _ = asyncio.run(met(server.config(probe=True), Sampling(grammar="root ::= x")))
        assert not GRAMMAR_NAMES & server.asks[-1].body.keys()
    assert not profile.guided
    assert "Replies are not guided" in " ".join(profile.shortcomings())
    assert "not guided" in profile.line()
    assert "takes no grammar; replies are not guided" in caplog.text


def test_the_name_that_the_user_gives_is_the_only_one_tried() -> None:
    profile, server = profile_of(Kind(obeys="ebnf"), structured="vllm")
    assert profile.grammar == ()
    assert not any({"grammar", "ebnf"} & ask.body.keys() for ask in server.asks)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (Kind(), 20),
        (Kind(most_alternatives=10), 10),
        (Kind(most_alternatives=5), 5),
        (Kind(refuses=("logprobs",)), 0),
        (Kind(keeps_alternatives_back=True), 0),
        (Kind(other_tokens=True), 0),
    ],
    ids=["20", "10", "5", "refuses", "gives none, with 200", "of another text"],
)
def test_as_many_alternatives_are_asked_for_as_come(kind: Kind, number: int) -> None:
    with serving(kind) as server:
        profile, _ = asyncio.run(met(server.config(probe=True), Sampling(alternatives=10)))
        assert server.asks[-1].body.get("top_logprobs", 0) == min(number, 10)
    assert profile.alternatives == number
    assert ("no token probabilities" in " ".join(profile.lines())) == (number == 0)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (Kind(), 5),
        (Kind(stops=4), 4),
        (Kind(ignores_stops=True), 0),
        (Kind(breaks_over_stops=True), 0),
        (Kind(refuses=("stop",)), 0),
    ],
    ids=["5", "4", "ignores", "breaks", "refuses"],
)
def test_stop_texts_are_believed_where_they_end_a_reply(kind: Kind, number: int) -> None:
    with serving(kind) as server:
        profile, (reply,) = asyncio.run(met(server.config(probe=True), Sampling(stop=("on",))))
        assert ("stop" in server.asks[-1].body) == (number > 0)
    assert profile.stop_texts == number
    assert reply.text == "A lighthouse stands ", "it is cut here, whatever the server does"


def test_seeds_and_draws() -> None:
    assert [(p.seed, p.draws) for p, _ in (profile_of(Kind()), profile_of(Kind(seeds=False)))] == [
        (True, True),
        (False, True),
    ]
    profile, _ = profile_of(Kind(draws=False))
    assert not profile.draws
    assert "ignores the temperature" in " ".join(profile.lines())


@pytest.mark.parametrize("where", ["reasoning_content", "reasoning", "content"])
def test_a_model_that_thinks_is_told_and_can_be_kept_from_it(where: str) -> None:
    kind = Kind(thinks=where)
    profile, _ = profile_of(kind)
    assert (profile.thinks, profile.thinking_ends) == (True, True)
    assert 'thinking = "off"' in " ".join(profile.lines())
    profile, server = profile_of(kind, thinking="off")
    assert not profile.thinks
    assert all(ask.body["chat_template_kwargs"]["enable_thinking"] is False for ask in server.asks)


@pytest.mark.parametrize(("opening", "ending"), [("<think>", "</think>"), ("", "</think>"), ("◁think▷", "◁/think▷")])
def test_a_draft_among_thoughts_does_not_end_at_a_stop_text(
    opening: str, ending: str, reply_text: Any, picture: Any
) -> None:
    """In score mode: the draft's scores come before its own summary, and are none of the answer's."""

    def script(ask: Ask) -> Answer:
        text = (
            f"{opening}\n{reply_text(1.0)}\n{ending}\n\n{reply_text(3.0)}"
            if ask.text not in (QUESTION, DRAW)
            else f"Hm.{ending}\nYes."
        )
        cuts = [text.index(stop) for stop in ask.body.get("stop", ()) if stop in text]
        return completion(text[: min(cuts)] if cuts else text)

    async def work(config: Any) -> Any:
        scorer = Scorer(OpenAIChat(config), settings=ScorerSettings(ask_again=0))
        try:
            return await scorer.score(UserRequest("a"), picture)
        finally:
            await scorer.close()

    with serving(script) as server:
        critique = asyncio.run(work(server.config(probe=True)))
    assert critique.scores["text_faithfulness"] == 3.0


def test_room_to_think_comes_beside_the_limit_of_the_reply() -> None:
    with serving(Kind()) as server:
        asyncio.run(met(server.config(thinking_tokens=500), Sampling(max_tokens=700)))
        assert server.asks[-1].body["max_tokens"] == 1200


@pytest.mark.parametrize(
    ("page", "version", "field"),
    [
        ("/version", {"version": "0.32.0"}, "thinking_token_budget"),
        ("/props", {"build_info": "b11549"}, "thinking_budget_tokens"),
        ("/server_info", {"version": "0.5.23"}, ""),
    ],
    ids=["vllm", "llama.cpp", "sglang"],
)
def test_thoughts_are_limited_where_the_server_can(page: str, version: dict[str, str], field: str) -> None:
    with serving(Kind()) as server:
        server.pages = {page: raw(json.dumps(version))}
        asyncio.run(met(server.config(probe=True, thinking_tokens=500), Sampling()))
        budgets = {key: value for key, value in server.asks[-1].body.items() if "thinking" in key}
    assert budgets == ({field: 500} if field else {})


def test_llama_cpp_is_never_asked_for_a_grammar_and_a_limit_of_thoughts() -> None:
    """It breaks where thoughts that are held to a grammar are ended, and leaves other questions without an answer."""
    with serving(Kind(obeys="grammar")) as server:
        server.pages = {"/props": raw('{"build_info": "b11549"}')}
        asyncio.run(met(server.config(probe=True, thinking_tokens=500), Sampling(grammar="root ::= x"), Sampling()))
        sent = [ask.body.keys() & {"grammar", "thinking_budget_tokens"} for ask in server.asks]
    assert all(len(names) == 1 for names in sent)
    assert {"grammar"} in sent


def test_a_limit_of_thoughts_that_is_refused_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """As vLLM without --reasoning-parser refuses."""

    def script(ask: Ask) -> Answer:
        if "thinking_token_budget" in ask.body:
            return fault(400, "thinking_token_budget is set but reasoning_config is not configured.")
        return Kind(obeys="structured_outputs")(ask)

    with serving(script) as server:
        server.pages = {"/version": raw('{"version": "0.32.0"}')}
        profile, (reply,) = asyncio.run(
            met(server.config(probe=True, thinking_tokens=9), Sampling(grammar="root ::= x"))
        )
    assert reply.text == JUDGED
    assert profile.grammar == ("structured_outputs",)
    assert len([line for line in caplog.messages if "does not limit thoughts" in line]) == 1


def test_further_fields_of_a_request_go_before_ours() -> None:
    with serving(Kind()) as server:
        fields = {"reasoning_effort": "none", "max_tokens": 9, "think": False}
        asyncio.run(met(server.config(probe=True, fields=fields), Sampling(max_tokens=700)))
        assert fields.items() <= server.asks[-1].body.items()
        assert fields.items() <= server.asks[0].body.items(), "the probe asks as a critique does"


def test_hosted_servers_have_words_of_their_own() -> None:
    """As OpenAI's own refuse: one option by naming another, one value by saying which is allowed."""

    def script(ask: Ask) -> Answer:
        if "max_tokens" in ask.body:
            return fault(400, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
        if "temperature" in ask.body:
            return fault(400, "'temperature' does not support 0 with this model.")
        return Kind(refuses=tuple(GRAMMAR_NAMES))(ask)

    with serving(script) as server:
        profile, _ = asyncio.run(met(server.config(probe=True), Sampling(max_tokens=77)))
        assert server.asks[-1].body["max_completion_tokens"] == 77
    assert (profile.limit, profile.temperature, profile.alternatives) == ("max_completion_tokens", False, 20)


@pytest.mark.parametrize(
    ("pages", "software"),
    [
        ({"/version": {"version": "0.32.0"}}, "vLLM 0.32.0"),
        ({"/props": {"build_info": "b11549-1a2b3c4", "default_generation_settings": {"n_ctx": 2048}}}, "llama.cpp b11549-1a2b3c4"),
        ({"/server_info": {"version": "0.5.23"}}, "SGLang 0.5.23"),
        ({}, ""),
    ],
    ids=["vllm", "llama.cpp", "sglang", "unknown"],
)  # fmt: skip
def test_what_serves_is_named(pages: dict[str, Any], software: str) -> None:
    with serving(Kind()) as server:
        server.pages = {path: raw(json.dumps(page)) for path, page in pages.items()}
        profile, _ = asyncio.run(met(server.config(probe=True)))
    assert profile.software == software
    assert profile.context == (2048 if "/props" in pages else 0)


def test_servers_sample_by_their_own_habits_unless_told() -> None:
    with serving(Kind()) as server:
        server.pages = {"/version": raw('{"version": "0.32.0"}')}
        asyncio.run(met(server.config(probe=True), Sampling(temperature=1.0, seed=1)))
        body = server.asks[-1].body
    assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1.0, 0, 0.0, 1.0)


class TestMemory:
    @staticmethod
    def asked(server: FaultServer, **options: Any) -> int:
        """How many questions an introduction in a new process takes."""
        profile_store._HERE.clear()
        before = len(server.asks)
        asyncio.run(met(server.config(**{"probe": True, **options})))
        return len(server.asks) - before

    def test_a_profile_is_kept_for_a_model_and_a_version(self) -> None:
        with serving(Kind(obeys="grammar")) as server:
            server.pages = {"/version": raw('{"version": "1"}')}
            first = self.asked(server)
            assert 6 <= first <= 10
            assert self.asked(server) == 0, "it is on disk"
            server.models = raw('{"data": [{"id": "judge-8b", "root": "/models/other"}]}')
            assert self.asked(server) == first, "another model is listed"
            server.pages = {"/version": raw('{"version": "2"}')}
            assert self.asked(server) == first, "another version serves"
            assert self.asked(server, thinking="off") == first, "it is asked in another way"
            assert self.asked(server) == 0

    def test_it_can_be_switched_off(self) -> None:
        with serving(Kind(obeys="grammar")) as server:
            first = self.asked(server, remember=False)
            assert self.asked(server, remember=False) == first
            assert not list(profile_store.cache_folder().iterdir())
            assert self.asked(server, probe=False) == 0

    def test_it_is_kept_for_a_week(self) -> None:
        with serving(Kind()) as server:
            first = self.asked(server)
            (file,) = profile_store.cache_folder().iterdir()
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - profile_store.LONGEST_AGE - 1))
            assert self.asked(server) == first

    @pytest.mark.parametrize("content", ["", "[1]", "{}", '{"grammar": 3}'])
    def test_a_damaged_file_is_no_profile(self, content: str) -> None:
        with serving(Kind()) as server:
            first = self.asked(server)
            (file,) = profile_store.cache_folder().iterdir()
            file.write_text(content)
            assert self.asked(server) == first

    def test_a_cache_that_cannot_be_written_costs_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_the_way = profile_store.cache_folder() / "file"
        in_the_way.write_text("")
        monkeypatch.setattr(profile_store, "cache_folder", lambda: in_the_way)
        with serving(Kind()) as server:
            assert self.asked(server) > 0

    def test_a_profile_survives_json(self) -> None:
        profile = ServerProfile(software="vLLM 1", probed=True, grammar=("ebnf",), context=4096)
        assert profile_from_json(json.loads(json.dumps(profile.to_json()))) == profile
        row = profile.to_json()
        assert profile_from_json({**row, "more": 1}) is None
        assert profile_from_json({**row, "context": "4096"}) is None


def test_a_server_that_is_out_of_order_has_no_profile() -> None:
    def script(ask: Ask) -> Answer:
        return fault(503) if "stop" in ask.body else Kind()(ask)

    with serving(script) as server:
        with pytest.raises(BackendError) as caught:
            asyncio.run(met(server.config(probe=True)))
        assert caught.value.reason == "server_error"
        server.script = Kind()
        profile, _ = asyncio.run(met(server.config(probe=True)))
    assert profile.stop_texts == 5, "nothing was kept of the failed attempt"


def test_one_bad_grammar_costs_no_other_rubric_its_guidance(caplog: pytest.LogCaptureFixture) -> None:
    def script(ask: Ask) -> Answer:
        bad = "bad" in str(ask.body.get("structured_outputs"))
        return fault(400, "Invalid grammar specification") if bad else Kind(obeys="structured_outputs")(ask)

    with serving(script) as server:
        bad, good = Sampling(grammar="bad"), Sampling(grammar="good")
        _, replies = asyncio.run(met(server.config(probe=True), bad, good, bad))
        assert [reply.text for reply in replies] == [SENTENCE, JUDGED, SENTENCE]
        tried = ["structured_outputs" in ask.body for ask in server.asks[-4:]]
    assert tried == [True, False, True, False], "the bad one is tried once"
    assert caplog.text.count("Invalid grammar specification") == 1


def test_identity_tells_guided_from_unguided() -> None:
    async def identity(config: Any) -> str:
        backend = OpenAIChat(config)
        await backend.introduce()
        await backend.close()
        return backend.identity

    with serving(Kind(obeys="grammar")) as server:
        guided = asyncio.run(identity(server.config(probe=True)))
        unguided = asyncio.run(identity(server.config(probe=True, structured="none")))
    assert guided != unguided


def test_a_probe_question_is_not_answered_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """What the probe forces is what no model would say."""
    assert FORCED not in QUESTION + DRAW
    with caplog.at_level(logging.INFO, "rationalrewards"):
        profile, _ = profile_of(replace(Kind(), obeys="grammar"))
    assert profile.lines()[0] in caplog.text, "the user is shown what was found"
