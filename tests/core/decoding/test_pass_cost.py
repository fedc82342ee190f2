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
