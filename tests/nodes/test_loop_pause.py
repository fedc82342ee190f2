"""A loop that waits for its user: whoever is shown that it waits may answer."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack

RUN = ("prompt id", "end")


def next_move(pack: Pack) -> Any:
    return pack.core("loop.refine").Move(request="the judge's prompt", seed=8, origin="refined")


@pytest.mark.parametrize(
    ("answer", "request_text"),
    [({"choice": "take", "prompt": "my own prompt"}, "my own prompt"), ({"choice": "skip"}, "the best one's prompt")],
)
def test_an_answer_is_taken_from_the_moment_that_the_page_is_told(
    pack: Pack, answer: dict[str, Any], request_text: str
) -> None:
    module = pack.module("nodes.loop.pause")
    shown: list[bool] = []

    def show(waits: bool) -> None:
        shown.append(waits)
        assert module.PAUSES.answer(RUN, module.PauseAnswer(**answer))  # as fast as a page can be

    move = module.paused(RUN, None, False, next_move(pack), "the best one's prompt", show)
    assert (move.request, move.seed, shown) == (request_text, 8, [True, False])
    assert not module.PAUSES.answer(RUN, module.PauseAnswer(**answer)), "it waits no longer"


def test_stop_is_heard_from_the_moment_that_the_page_is_told(pack: Pack) -> None:
    module, board = pack.module("nodes.loop.pause"), pack.module("nodes.loop.board").BOARD

    def show(waits: bool) -> None:
        if waits:
            board.ask_to_stop(*RUN)

    assert module.paused(RUN, None, False, next_move(pack), "", show) == pack.core("loop.refine").StopReason.STOPPED


def test_an_interrupt_ends_the_wait_and_the_page_is_told(pack: Pack) -> None:
    module, management = pack.module("nodes.loop.pause"), sys.modules["comfy.model_management"]
    shown: list[bool] = []

    def show(waits: bool) -> None:
        shown.append(waits)
        management.interrupted = waits

    with pytest.raises(management.InterruptProcessingException):
        module.paused(RUN, None, False, next_move(pack), "", show)
    assert shown == [True, False]
    assert not module.PAUSES.answer(RUN, module.PauseAnswer(choice="skip"))
