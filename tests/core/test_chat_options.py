"""What is sent to a chat server, and what is left out once it refused it."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends import server_calls
from rationalrewards_core.backends.base import Finish, Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.errors import BackendError
from rationalrewards_core.messages import Message
from rationalrewards_core.servers import ServerConfig
from tests.core.chat_calls import QUESTION, Waits, failure, once
from tests.core.fault_server import (
    Answer,
    Ask,
    FaultServer,
    completion,
    fault,
    raw,
    serving,
    slowly,
)


class TestWhatIsSent:
    def test_question_and_sampling(self) -> None:
        sampling = Sampling(temperature=0.5, max_tokens=9, stop=("\n#",), seed=4, grammar="root ::= x", alternatives=3)
        with serving(lambda ask: completion("fine")) as server:
            asyncio.run(once(server.config(), sampling))
            body = server.asks[0].body
        assert body == {
            "model": "judge-8b",
            "messages": [{"role": "user", "content": "What is this?"}],
            "temperature": 0.5,
            "max_tokens": 9,
            "stop": ["\n#"],
            "seed": 4,
            "logprobs": True,
            "top_logprobs": 3,
            "structured_outputs": {"grammar": "root ::= x"},
            "grammar": "root ::= x",
            "ebnf": "root ::= x",
        }

    def test_a_server_that_breaks_over_stop_texts_is_asked_without_them(self, caplog: pytest.LogCaptureFixture) -> None:
        def script(ask: Ask) -> Answer:
            return fault(500, "broken") if "stop" in ask.body else completion("3.5\n# Summary: good\n# More", "length")

        async def work(config: ServerConfig, waits: Waits) -> list[Reply]:
            backend = OpenAIChat(config, sleep=waits)
            asked = Sampling(stop=("\n# More", "\n# Summary"))
            replies = [await backend.reply(QUESTION, asked), await backend.reply(QUESTION, asked)]
            replies.append(await backend.reply(QUESTION, Sampling()))
            await backend.close()
            return replies

        waits = Waits()
        with serving(script) as server:
            first, second, whole = asyncio.run(work(server.config(), waits))
            assert ["stop" in ask.body for ask in server.asks] == [True, False, False, False]
        assert (first.text, first.finish) == (second.text, second.finish) == ("3.5", Finish.STOP)
        assert (whole.text, whole.finish) == ("3.5\n# Summary: good\n# More", Finish.CONTEXT)
        assert waits == [server_calls.FIRST_WAIT], "once, and never again"
        assert caplog.text.count("answers only without stop texts") == 1

    @pytest.mark.parametrize("status", [500, 503])
    def test_a_server_that_is_down_is_not_blamed_on_stop_texts(self, status: int) -> None:
        """It comes back: stop texts are sent again, and the 500's second question was no proof."""
        with serving(lambda ask: completion("fine") if ask.number >= 2 else fault(status)) as server:
            reply = asyncio.run(once(server.config(), Sampling(stop=("\n#",))))
            stops = ["stop" in ask.body for ask in server.asks]
        assert reply.text == "fine"
        assert stops == ([True, False, True] if status == 500 else [True, True, True])

    def test_a_stop_text_that_a_server_overlooked_is_cut_off(self) -> None:
        with serving(lambda ask: completion("3.5\n# Summary: good")) as server:
            assert asyncio.run(once(server.config(), Sampling(stop=("\n# Summary",)))).text == "3.5"

    def test_images_go_as_data_urls_where_they_stand(self) -> None:
        small = Image.new("RGB", (4, 2), (10, 20, 30))
        large = Image.new("RGB", (400, 100), (0, 0, 255))
        clear = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
        messages = [Message("system", ("Judge.",)), Message("user", ("A ", small, " B ", large, clear, " <image>"))]

        async def work(config: ServerConfig) -> None:
            backend = OpenAIChat(config)
            await backend.reply(messages, Sampling())
            await backend.close()

        with serving(lambda ask: completion("fine")) as server:
            asyncio.run(work(server.config(max_pixels=10_000)))
            system, user = server.asks[0].body["messages"]
        assert system == {"role": "system", "content": "Judge."}
        kinds = [part.get("text") or part["type"] for part in user["content"]]
        assert kinds == ["A ", "image_url", " B ", "image_url", "image_url", " <image>"]
        urls = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
        assert all(url.startswith("data:image/png;base64,") for url in urls)
        opened = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
        assert opened[0].tobytes() == small.tobytes()
        assert (opened[1].size, opened[1].getpixel((0, 0))) == ((192, 32), (0, 0, 255))
        assert opened[2].getpixel((0, 0)) == (255, 255, 255), "what is transparent is white, as in open_image"

    @pytest.mark.parametrize(
        ("structured", "sent"),
        [
            ("vllm", {"structured_outputs": {"grammar": "g"}}),
            ("sglang", {"ebnf": "g"}),
            ("llama_cpp", {"grammar": "g"}),
            ("none", {}),
        ],
    )
    def test_grammars_in_each_dialect(self, structured: str, sent: dict[str, Any]) -> None:
        with serving(lambda ask: completion("fine")) as server:
            asyncio.run(once(server.config(structured=structured), Sampling(grammar="g")))
            body = server.asks[0].body
        assert {key: body[key] for key in ("structured_outputs", "ebnf", "grammar") if key in body} == sent

    def test_the_first_model_is_taken_and_found_anew(self) -> None:
        def script(ask: Ask) -> Answer:
            return completion("fine", model="new") if ask.body["model"] == "new" else fault(404, "no such model")

        async def work(server: FaultServer) -> list[str]:
            backend = OpenAIChat(server.config(model=""), sleep=Waits())
            server.models = raw('{"data": [{"id": "old"}, {"id": "other"}]}')
            with pytest.raises(BackendError, match="no such model"):
                await backend.reply(QUESTION, Sampling())
            server.models = raw('{"data": [{"id": "new"}]}')
            replies = [await backend.reply(QUESTION, Sampling()) for _ in range(3)]
            await backend.close()
            return [reply.model for reply in replies]

        with serving(script) as server:
            assert asyncio.run(work(server)) == ["new"] * 3
            assert server.model_lists == 2

    @pytest.mark.parametrize("listed", ['{"data": []}', '{"data": ["a"]}', '{"data": [{"id": 3}]}', "{}"])
    def test_no_model_listed(self, listed: str) -> None:
        with serving(lambda ask: completion("fine")) as server:
            server.models = raw(listed)
            assert failure(server.config(model="")).reason == "model_not_found"


class TestRefusedOptions:
    SAMPLING = Sampling(temperature=0.5, seed=1, grammar="g", alternatives=5)

    @staticmethod
    def strict(*unknown: str, status: int = 400) -> Callable[[Ask], Answer]:
        """A server that refuses the first option it does not know, as FastAPI servers do."""

        def script(ask: Ask) -> Answer:
            found = [name for name in unknown if name in ask.body]
            return slowly(fault(status, f"Unknown field: {found[0]}") if found else completion("fine"), 0.02)

        return script

    @pytest.mark.parametrize("status", [400, 403, 422])
    def test_are_left_out_from_then_on(self, status: int, caplog: pytest.LogCaptureFixture) -> None:
        async def work(config: ServerConfig) -> None:
            backend = OpenAIChat(config, sleep=Waits())
            for _ in range(3):
                assert (await backend.reply(QUESTION, self.SAMPLING)).text == "fine"
            await backend.close()

        with serving(self.strict("structured_outputs", "logprobs", "seed", status=status)) as server:
            asyncio.run(work(server.config()))
            assert len(server.asks) == 3 + 3, "each option is refused once"
            assert not {"structured_outputs", "logprobs", "top_logprobs", "seed"} & set(server.asks[-1].body)
        assert len(caplog.messages) == 3, "each is mentioned once"

    def test_models_that_think_before_they_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        """As OpenAI's own refuse: one option by naming another, one value by saying which is allowed."""
        complaints = {
            "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "temperature": "Unsupported value: 'temperature' does not support 0 with this model.",
        }

        def script(ask: Ask) -> Answer:
            found = [name for name in complaints if name in ask.body]
            return fault(400, complaints[found[0]]) if found else completion("fine")

        async def work(config: ServerConfig) -> None:
            backend = OpenAIChat(config, sleep=Waits())
            for _ in range(2):
                assert (await backend.reply(QUESTION, Sampling(max_tokens=77))).text == "fine"
            await backend.close()

        with serving(script) as server:
            asyncio.run(work(server.config()))
            assert len(server.asks) == 2 + 2, "each option is refused once"
            assert server.asks[-1].body["max_completion_tokens"] == 77
        assert [message for message in caplog.messages if "temperature" in message], "the user is told"

    def test_many_requests_refused_at_once_all_try_again(self) -> None:
        async def work(config: ServerConfig) -> list[Reply]:
            backend = OpenAIChat(config, sleep=Waits())
            replies = await asyncio.gather(*(backend.reply(QUESTION, self.SAMPLING) for _ in range(8)))
            await backend.close()
            return list(replies)

        with serving(self.strict("structured_outputs", "logprobs")) as server:
            replies = asyncio.run(work(server.config(concurrency=8)))
            assert server.most_at_once == 8
        assert [reply.text for reply in replies] == ["fine"] * 8

    def test_what_the_user_set_is_not_dropped(self) -> None:
        with serving(self.strict("structured_outputs")) as server:
            with pytest.raises(BackendError, match="structured_outputs"):
                asyncio.run(once(server.config(structured="vllm"), self.SAMPLING))
            assert len(server.asks) == 1

    def test_another_400_drops_nothing(self) -> None:
        with serving(lambda ask: fault(400, "The prompt is too long.")) as server:
            with pytest.raises(BackendError, match="too long"):
                asyncio.run(once(server.config(), self.SAMPLING))
            assert len(server.asks) == 1

    def test_a_400_that_names_nothing_is_asked_again_without_options(self, caplog: pytest.LogCaptureFixture) -> None:
        """Only if that helps are the options left out from then on."""

        def script(ask: Ask) -> Answer:
            vague = "logprobs" in ask.body or "damaged" in ask.text
            return fault(400, "Bad request") if vague else completion("fine")

        async def work(config: ServerConfig) -> None:
            backend = OpenAIChat(config, sleep=Waits())
            with pytest.raises(BackendError, match="Bad request"):
                await backend.reply([Message("user", ("damaged",))], self.SAMPLING)
            for _ in range(2):
                assert (await backend.reply(QUESTION, self.SAMPLING)).text == "fine"
            await backend.close()

        with serving(script) as server:
            asyncio.run(work(server.config()))
            asked = ["logprobs" in ask.body for ask in server.asks]
        assert asked == [True, False, True, False, False]
        assert [message for message in caplog.messages if "left out" in message]

    def test_what_the_chat_template_takes_is_sent(self) -> None:
        with serving(lambda ask: completion("fine")) as server:
            asyncio.run(once(server.config(template={"enable_thinking": False})))
            asyncio.run(once(server.config()))
        assert server.asks[0].body["chat_template_kwargs"] == {"enable_thinking": False}
        assert "chat_template_kwargs" not in server.asks[1].body

    def test_a_model_that_only_thought_is_told_apart(self) -> None:
        thought = {"role": "assistant", "content": None, "reasoning_content": "# Detailed Judgement ..."}
        with serving(lambda ask: completion(None, message=thought)) as server:
            error = failure(server.config())
        assert error.reason == "bad_reply"
        assert 'thinking = "off"' in str(error)
