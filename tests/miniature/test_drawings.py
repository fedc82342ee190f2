"""The renderer as a generator: exact pictures, and edits that some seeds get wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rationalrewards_core.errors import RequestError
from rationalrewards_core.miniature import EXAMPLE
from rationalrewards_core.miniature.drawings import draw_edit, draw_request
from rationalrewards_core.miniature.oracle import oracle_critique, read_picture
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import generation_rubric


def test_a_drawing_is_what_was_asked_for() -> None:
    for seed in range(3):
        critique = oracle_critique(EXAMPLE, draw_request(EXAMPLE, seed))
        assert reward(critique, generation_rubric()) == 1.0


def test_seeds_choose_what_the_request_leaves_open() -> None:
    assert draw_request("a circle", 1).tobytes() == draw_request("a circle", 1).tobytes()
    assert len({draw_request("a circle", seed).tobytes() for seed in range(4)}) == 4


def test_every_seed_edits_the_same_source() -> None:
    pairs = [draw_edit(EXAMPLE, "make the circle green", seed) for seed in range(12)]
    assert len({source.tobytes() for source, _ in pairs}) == 1
    assert pairs[0][0].size == pairs[0][1].size == (48, 48)
    shown = [read_picture(np.asarray(edited)).content for _, edited in pairs]
    done = [any((t.shape, t.colour) == ("circle", "green") for t in content.things) for content in shown]
    assert any(done), "some seeds make the edit"
    assert not all(done), "and some get it wrong"


@pytest.mark.parametrize(
    ("request_text", "instruction"),
    [("a castle", "make the circle green"), (EXAMPLE, "make it nicer"), ("a circle", "remove the square")],
)
def test_what_is_not_of_this_world_is_refused(request_text: str, instruction: str) -> None:
    with pytest.raises(RequestError):
        draw_edit(request_text, instruction, 0)
