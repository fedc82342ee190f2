"""The width of a pass: what pays for itself at the costs that were measured."""

from __future__ import annotations

import pytest

from rationalrewards_core.backends.decoding.pass_cost import WIDTHS, PassCost

SURE = [0.99**n for n in range(1, 16)]
DOUBTFUL = [0.5**n for n in range(1, 16)]


def costs(rows: int = 1, **seconds: float) -> PassCost:
    cost = PassCost()
    for width, taken in seconds.items():
        cost.observe(rows, int(width[1:]), taken)
    return cost


@pytest.mark.parametrize(("length", "width"), [(0, 1), (1, 2), (2, 4), (3, 4), (4, 8), (7, 8), (8, 16), (15, 16)])
def test_while_nothing_is_measured_the_whole_draft_is_verified(length: int, width: int) -> None:
    assert PassCost().best_width([SURE[:length]]) == width
    assert width in WIDTHS


def test_the_longest_draft_of_a_batch_counts() -> None:
    assert PassCost().best_width([[], SURE[:7], SURE[:1]]) == 8


def test_a_wide_pass_that_costs_more_than_it_brings_is_not_taken() -> None:
    assert costs(w1=1.0, w8=1.1, w16=1.3).best_width([SURE]) == 16
    assert costs(w1=1.0, w8=1.1, w16=9.0).best_width([SURE]) == 8, "a kernel that ends at eight tokens"
    assert costs(w1=1.0, w2=2.1, w4=4.2, w8=8.4, w16=17.0).best_width([SURE]) == 1, "arithmetic is all"


def test_doubtful_drafts_make_narrow_passes() -> None:
    cost = costs(w1=1.0, w2=1.1, w4=1.5, w8=2.5, w16=4.5)
    assert cost.best_width([SURE]) == 16 or cost.best_width([SURE]) == 8
    assert cost.best_width([DOUBTFUL]) == 2


def test_a_batch_is_judged_by_passes_of_its_own_size() -> None:
    cost = costs(w1=1.0, w16=1.1)
    cost.observe(8, 1, 1.0)
    cost.observe(8, 16, 30.0)
    assert cost.best_width([SURE]) == 16
    assert cost.best_width([SURE] * 8) < 16
    assert cost.relative(8, 16) == pytest.approx(30.0)


def test_one_slow_pass_moves_little_and_a_fast_one_is_believed() -> None:
    cost = costs(w1=1.0, w4=1.5)
    cost.observe(1, 4, 11.5)
    assert cost.relative(1, 4) == pytest.approx(3.5)
    cost.observe(1, 4, 1.2)
    assert cost.relative(1, 4) == pytest.approx(1.2)
    cost.observe(1, 4, 0.5)
    assert cost.relative(1, 4) == 1.0, "noise, not a wide pass that is cheaper than a narrow one"


def widths_taken(cost: PassCost, seconds: dict[int, float], passes: int) -> list[int]:
    """What one row with a sure draft takes, pass after pass, where passes take these seconds."""
    taken = []
    for _ in range(passes):
        taken.append(cost.best_width([SURE]))
        cost.observe(1, taken[-1], seconds[taken[-1]])
    return taken


def test_a_single_slow_pass_is_forgotten_even_if_it_was_the_first_of_its_width() -> None:
    """Another program had the machine while widths were met for the first time."""
    cost = costs(w1=1.0, w2=20.0, w4=20.0, w8=20.0, w16=20.0)
    taken = widths_taken(cost, {1: 1.0, 2: 1.02, 4: 1.05, 8: 1.1, 16: 1.2}, 300)
    assert taken[0] == 1, "it is believed at first"
    assert taken.index(16) < 200
    assert taken[-50:] == [16] * 50


def test_a_slow_first_pass_of_one_token_does_not_make_wide_ones_look_cheap() -> None:
    cost = costs(w1=20.0, w2=2.1, w4=4.2, w8=8.4, w16=17.0)
    assert cost.best_width([SURE]) <= 4


def test_a_width_that_is_costly_indeed_is_hardly_ever_tried_again() -> None:
    """A kernel that ends at eight tokens: what the trials take, they take of less than a fiftieth of the passes."""
    cost = costs(w1=1.0, w2=1.02, w4=1.05, w8=1.1, w16=4.0)
    taken = widths_taken(cost, {1: 1.0, 2: 1.02, 4: 1.05, 8: 1.1, 16: 4.0}, 600)
    assert set(taken) == {8, 16}
    assert taken.count(16) <= 12


def test_passes_of_another_number_of_rows_say_nothing_of_how_old_a_measurement_is() -> None:
    cost = costs(w1=1.0, w4=3.0)
    for _ in range(100):
        cost.observe(8, 4, 1.0)
    assert cost.relative(1, 4) == pytest.approx(3.0)
    for _ in range(100):
        cost.observe(1, 1, 1.0)
    assert cost.relative(1, 4) == pytest.approx(1.0 + 2.0 * 0.98**100)


def test_a_width_that_was_never_tried_costs_what_its_number_of_tokens_lets_expect() -> None:
    cost = costs(w1=1.0, w4=2.5)
    assert cost.relative(1, 2) == pytest.approx(1.5), "between the two"
    assert cost.relative(1, 8) == pytest.approx(4.5), "as steeply as before"
    assert costs(w4=2.0).relative(1, 8) == costs(w4=2.0).relative(1, 4), "one point says nothing of the slope"


def test_a_narrower_width_is_tried_though_only_a_wide_one_was() -> None:
    """Drafts of a first pass may be sixteen tokens long; what eight cost is not known then."""
    cost = costs(rows=8, w16=2.0)
    assert cost.best_width([DOUBTFUL] * 8) < 16
    assert cost.relative(8, 1) == 1.0 < cost.relative(8, 8) < cost.relative(8, 16) < 2.0


def test_drafts_reach_a_little_beyond_the_last_pass_and_grow_again() -> None:
    cost = PassCost()
    assert cost.reach == WIDTHS[-1]
    assert cost.best_width([[]]) == 1
    reached = []
    while cost.reach < WIDTHS[-1]:
        reached.append(cost.reach)
        cost.best_width([[0.99] * (cost.reach - 1)])
    assert reached == [2, 4, 8, 16, 32]
