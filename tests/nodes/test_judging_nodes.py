"""Rational Critique and Multi-Dim Score, asked through a scripted judge."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.nodes.comfy_stub import ExecutionBlocker, Pack


@pytest.fixture
def critique(pack: Pack) -> Callable[..., Any]:
    node = pack.module("nodes.rational_critique").RationalCritique
    return lambda scorer, image, prompt="a cat", **more: asyncio.run(node.execute(scorer, image, prompt, **more))


@pytest.fixture
def score(pack: Pack) -> Callable[..., Any]:
    node = pack.module("nodes.multi_dim_score").MultiDimScore

    def run(
        scorer: Any, images: Any, threshold: float = 0.8, minimums: str = "", weights: str = "", **more: Any
    ) -> Any:
        return asyncio.run(node.execute(scorer, images, "a cat", threshold, minimums, weights, **more))

    return run


@pytest.mark.parametrize("kind", ["critique", "score"])
def test_the_judge_does_not_wait_for_the_encoder(
    pack: Pack, request: pytest.FixtureRequest, scorer: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    previews, judge, asked = pack.module("nodes.show.previews"), scorer((4.0, 2.5, None)), threading.Event()
    write, ask, encoded = previews._write, judge.critique_many, []

    def encode(picture: Any, path: Path) -> None:
        encoded.append(asked.wait(20))
        write(picture, path)

    async def answer(*arguments: Any, **keywords: Any) -> Any:
        asked.set()
        return await ask(*arguments, **keywords)

    monkeypatch.setattr(previews, "_write", encode)
    monkeypatch.setattr(judge, "critique_many", answer)
    own = torch.rand((1, 21, 23, 3), generator=torch.Generator().manual_seed(len(kind)))  # no other test encodes it
    request.getfixturevalue(kind)(judge, own)
    assert encoded == [True], "once, while the judge was at work"


def test_critique_of_one_image(critique: Any, scorer: Any, images: Any) -> None:
    judge = scorer((4.0, 2.5, None))
    critiques, rewards, report, text = critique(judge, images(1)).args
    assert rewards == [pytest.approx(0.75)]
    assert critiques.best == 0
    assert "**Reward 0.750**" in report
    assert json.loads(text)["rewards"] == rewards
    assert judge.calls[0]["mode"] == "critique"
    assert judge.calls[0]["node"] == "7"


def test_unscored_is_nan_and_shown_never_a_number(critique: Any, scorer: Any, images: Any) -> None:
    out = critique(scorer((4.0, 4.0, 4.0), "Lovely picture!"), images(2))
    assert out[1][0] == 1.0
    assert math.isnan(out[1][1])
    assert json.loads(out[3])["rewards"] == [1.0, None]
    cards = out.ui["rr_critique"]
    assert [card["reward"] for card in cards] == [1.0, None]
    assert cards[1]["unscored"]["message"]
    assert all(card["image"]["type"] == "temp" for card in cards)


def test_one_source_for_all_or_one_for_each_is_one_call(pack: Pack, critique: Any, images: Any) -> None:
    class Recorder:
        calls: list[Any] = []  # noqa: RUF012

        async def critique_many(self, requests: Any, pictures: Any, mode: str, node: Any, **more: Any) -> Any:
            self.calls.append([request.sources[0].getpixel((0, 0)) for request in requests])
            unscored = pack.core("critique").Unscored(reason="x", message="y")
            return pack.module("nodes.sockets").Critiques(
                request=requests[0], rubric=pack.core("rubric_file").edit_rubric(), outcomes=(unscored,) * len(pictures)
            )

    judge = Recorder()
    assert len(critique(judge, images(3), source_image=images(1))[1]) == 3
    assert len(critique(judge, images(3), source_image=images(3))[1]) == 3
    (one, for_all, again), each = judge.calls
    assert one == for_all == again
    assert len(set(each)) == 3
    with pytest.raises(pack.core("errors").RequestError, match="2 source images for 3 images"):
        critique(judge, images(3), source_image=images(2))


def test_an_empty_prompt_and_an_empty_batch_say_so(pack: Pack, critique: Any, scorer: Any, images: Any) -> None:
    error = pack.core("errors").RequestError
    with pytest.raises(error, match="The request is empty"):
        critique(scorer((4.0, 4.0, 4.0)), images(1), "  ")
    with pytest.raises(error, match="no image"):
        critique(scorer(), images(0))


def test_score_lists_and_ranking(score: Any, scorer: Any, images: Any) -> None:
    batch = images(3)
    out = score(scorer((2.0, 2.0, None), "unreadable", (4.0, 3.0, 4.0)), batch)
    reward, text, source, quality, lettering, spread, passed, index, best, ranked, critiques = out.args
    assert reward[0] == pytest.approx(1 / 3)
    assert math.isnan(reward[1])
    assert text[::2] == [2.0, 4.0]
    assert all(math.isnan(value) for value in source), "a generation has no source"
    assert quality[2] == 3.0
    assert math.isnan(lettering[0])
    assert lettering[2] == 4.0
    assert all(math.isnan(value) for value in spread), "a script tells no probabilities"
    assert (passed, index) == (True, 2)
    assert best.shape == (1, 8, 8, 3)
    assert best.equal(batch[2:3])
    assert ranked.equal(batch[[2, 0, 1]]), "unscored last"
    assert critiques.best == 2


def test_an_image_that_passes_comes_before_a_higher_reward_that_fails(score: Any, scorer: Any, images: Any) -> None:
    out = score(scorer((2.9, 4.0, 4.0), (3.2, 3.2, 3.2)), images(2), threshold=0.7, minimums="text_faithfulness=3")
    assert out.args[6:8] == (True, 1)
    out = score(scorer((2.9, 4.0, 4.0), (3.2, 3.2, 3.2)), images(2), threshold=0.7, minimums="text_faithfulness=3.5")
    assert out.args[6:8] == (False, 0)
    assert [card["passed"] for card in out.ui["rr_critique"]] == [False, False]


def test_weights_move_the_reward(score: Any, scorer: Any, images: Any) -> None:
    out = score(scorer((4.0, 1.0, None)), images(1), weights="text_faithfulness=3")
    assert out[0] == [pytest.approx(0.75)]


def test_mistakes_are_found_before_the_judge_is_paid(pack: Pack, score: Any, scorer: Any, images: Any) -> None:
    judge = scorer((4.0, 1.0, None))
    for typed in ({"minimums": "beauty=3"}, {"weights": "beauty=3"}):
        with pytest.raises(pack.core("errors").ConfigError, match="no dimension 'beauty'"):
            score(judge, images(1), **typed)
    assert judge.calls == []


def test_nothing_judged_blocks_the_image_and_never_passes(score: Any, scorer: Any, images: Any) -> None:
    out = score(scorer("unreadable"), images(1), threshold=0.0)
    assert out[6] is False
    assert isinstance(out[7], ExecutionBlocker)
    assert isinstance(out[8], ExecutionBlocker)
    assert "None of the 1 images" in str(out[8].message)


def test_a_rubric_of_the_users_is_used(pack: Pack, score: Any, scorer: Any, images: Any) -> None:
    node = pack.module("nodes.custom_rubric").CustomRubric
    rubric = node.execute("generation", "text_rendering=0", "", "mine")[0]
    judge = scorer((4.0, 4.0, 1.0))
    assert score(judge, images(1), rubric=rubric)[0] == [1.0]
    assert judge.calls[0]["rubric"].name == "mine"
