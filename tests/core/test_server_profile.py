"""What a server honours is seen in its answers, kept for its model and version, said to the user, and never assumed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.server_probe import DRAW, QUESTION
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.fault_server import Answer, Ask, completion, fault, raw, serving
from tests.core.server_kinds import JUDGED, Kind, met, profile_of

GRAMMAR_NAMES = {"structured_outputs", "grammar", "ebnf"}


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


@pytest.mark.parametrize(
    "kind",
    [Kind(), Kind(refuses=tuple(GRAMMAR_NAMES)), Kind(refuses=tuple(GRAMMAR_NAMES), refusal=403)],
    ids=["ignores", "refuses", "forbids"],
)
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
