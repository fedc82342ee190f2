"""Five hundred cases over real HTTP, a fifth of them spoilt in five ways: order kept, nothing lost, counts right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from PIL import Image

from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Unscored
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Case, Outcome, Scorer, ScorerSettings
from tests.core.fault_server import Answer, Ask, completion, fault, half_body, reset, serving

COUNT = 500
FAULTS: dict[str, Callable[[str], Answer]] = {
    "server_error": lambda _: fault(503),
    "connection": lambda _: reset(),
    "bad_reply": lambda _: half_body(),
    "truncated": lambda text: completion(text[: len(text) // 2], "length"),
    "no_judgement": lambda _: completion("I would rather not say."),
}
"""What the outcome must be called -> what the server does."""
SEVERAL = {"bad_reply": {"bad_reply", "connection"}}
"""A body that ends early is told as either, by the moment at which the connection is seen to be closed."""


def number_of(text: str) -> int:
    return int(text.split("case number ")[1].split("!")[0])


def score_of(number: int) -> float:
    return 1.0 + number % 31 / 10


def spoilt(draw: random.Random) -> dict[int, str]:
    """Case -> its fault: exactly a fifth of the cases, each kind equally often."""
    numbers = draw.sample(range(COUNT), COUNT // 5)
    return {number: list(FAULTS)[place % len(FAULTS)] for place, number in enumerate(numbers)}


def test_a_fifth_of_five_hundred_cases_fails_and_harms_no_other(
    reply_text: Callable[..., str], picture: Image.Image
) -> None:
    faults = spoilt(random.Random(12))

    def script(ask: Ask) -> Answer:
        number = number_of(ask.text)
        text = reply_text(score_of(number))
        return FAULTS[faults[number]](text) if number in faults else completion(text)

    seen: dict[int, Outcome] = {}
    with serving(script) as server:
        backend = OpenAIChat(server.config(retries=0, concurrency=16, structured="none"))
        scorer = Scorer(backend, settings=ScorerSettings(ask_again=0, guided=False), memo=Memo(limit=0))

        async def work() -> tuple[Outcome, ...]:
            cases = [Case(UserRequest(f"case number {number}!"), picture) for number in range(COUNT)]
            try:
                return (await scorer.score_many(cases, on_outcome=seen.__setitem__)).outcomes
            finally:
                await scorer.close()

        outcomes = asyncio.run(work())
        asked = Counter(number_of(ask.text) for ask in server.asks if "case number" in ask.text)
    assert asked == dict.fromkeys(range(COUNT), 1), "every case is asked once"
    assert len(outcomes) == COUNT
    assert [seen[number] for number in range(COUNT)] == list(outcomes)
    for number, outcome in enumerate(outcomes):
        if number in faults:
            assert isinstance(outcome, Unscored), number
            assert outcome.reason in SEVERAL.get(faults[number], {faults[number]}), number
        else:
            assert not isinstance(outcome, Unscored), (number, outcome)
            assert outcome.scores["text_faithfulness"] == score_of(number), "the answer of another case"
    failed = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Unscored))
    assert failed.total() == COUNT // 5
    assert scorer.failures == failed
