"""Figures by hand, and the reference's scoring bugs, none of which is ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from rationalrewards_core.comparison import Verdict, agreed, parse_comparison
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from training.data.benchmarks import label_of
from training.data.importers.intake import Skip
from training.evaluate.gate import gate_row
from training.rewards.figures import (
    accuracy,
    calibration,
    coverage,
    difference,
    dimension_agreement,
    failures,
    group_accuracy,
    logistic_slope,
    order_flips,
    retest_spread,
)
from training.rewards.opinions import Opinion, opinion_from_json
from training.rewards.ties import PROTOCOLS, credit, protocol

A, B, TIE = Verdict.A, Verdict.B, Verdict.TIE


def opinion(label: Verdict, verdict: Verdict | None, key: str = "k", **fields: Any) -> Opinion:
    fields.setdefault("request_id", key)
    fields.setdefault("reason", "" if verdict is not None else "truncated")
    return Opinion(key=key, label=label, verdict=verdict, **fields)


def numbered(*pairs: tuple[Verdict, Verdict | None]) -> list[Opinion]:
    return [opinion(label, verdict, str(i)) for i, (label, verdict) in enumerate(pairs)]


EVERYTHING = numbered((A, A), (B, B), (A, B), (A, TIE), (TIE, TIE), (TIE, A), (B, None), (TIE, None))
"""Right twice, wrong once, undecided once; a tie said and not said; failed on a decided pair and on a tie."""


class TestTieProtocols:
    @pytest.mark.parametrize(
        ("name", "value", "counted", "failed"),
        [
            ("forced", 2 / 5, 5, 1),
            ("half", 2.5 / 5, 5, 1),
            ("decided", 2 / 4, 4, 1),
            ("three-class", 3 / 8, 8, 2),
        ],
    )
    def test_each_by_hand(self, name: str, value: float, counted: int, failed: int) -> None:
        share = accuracy(EVERYTHING, PROTOCOLS[name])
        assert share.value == pytest.approx(value)
        assert (share.counted, share.failures, share.left_out) == (counted, failed, 8 - counted)

    def test_failures_stay_in_every_denominator(self) -> None:
        """The reference dropped them: a judge that failed on what it found hard looked better."""
        honest = numbered((A, A), (B, B), (A, None), (B, None))
        for rule in PROTOCOLS.values():
            share = accuracy(honest, rule)
            assert (share.value, share.counted, share.failures) == (0.5, 4, 2)
        assert failures(honest) == {"truncated": 2}

    def test_a_margin_makes_ties_of_close_rewards(self) -> None:
        close = opinion(A, A, rewards=(0.62, 0.60))
        assert credit(close, PROTOCOLS["forced"]) == 1.0
        assert credit(close, PROTOCOLS["forced"], margin=0.05) == 0.0
        assert credit(close, PROTOCOLS["decided"], margin=0.05) is None
        assert coverage([close], margin=0.05) == 0.0

    def test_a_failure_has_no_margin(self) -> None:
        assert credit(opinion(A, None), PROTOCOLS["decided"], margin=0.5) == 0.0

    def test_unknown_protocols_are_said(self) -> None:
        with pytest.raises(ConfigError, match="there are forced, half, decided, three-class"):
            protocol("strict")


class TestIntervals:
    def test_they_hold_the_value_and_narrow_with_more_pairs(self) -> None:
        few = numbered(*([(A, A), (A, B)] * 10))
        many = numbered(*([(A, A), (A, B)] * 200))
        wide, narrow = (accuracy(opinions, PROTOCOLS["forced"]) for opinions in (few, many))
        assert wide.low < 0.5 < wide.high
        assert narrow.high - narrow.low < 0.4 * (wide.high - wide.low)
        # The binomial interval of 400 pairs is 0.5 -+ 1.96 * 0.025.
        assert narrow.low == pytest.approx(0.451, abs=0.012)

    def test_pairs_of_one_request_are_drawn_together(self) -> None:
        apart = numbered(*([(A, A)] * 20 + [(A, B)] * 20))
        together = [opinion(o.label, o.verdict, o.key, request_id=str(i // 10)) for i, o in enumerate(apart)]
        alone, grouped = (accuracy(opinions, PROTOCOLS["forced"]) for opinions in (apart, together))
        assert grouped.value == alone.value == 0.5
        assert grouped.high - grouped.low > 2 * (alone.high - alone.low)

    def test_differences_are_paired(self) -> None:
        """Two judges that are right on the same half differ by nothing, with certainty; unpaired it would be wide."""
        first = numbered(*([(A, A), (A, B)] * 50))
        same = difference(first, first, PROTOCOLS["forced"])
        assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
        better = numbered(*([(A, A), (A, A)] * 5 + [(A, A), (A, B)] * 45))
        gap = difference(better, first, PROTOCOLS["forced"])
        assert gap.value == pytest.approx(0.05)
        assert 0.0 < gap.low < 0.05 < gap.high

    def test_other_pairs_cannot_be_compared(self) -> None:
        with pytest.raises(ValueError, match="same pairs"):
            difference(numbered((A, A)), [opinion(A, A, "other")], PROTOCOLS["forced"])

    def test_nothing_counted_is_no_number(self) -> None:
        assert math.isnan(accuracy(numbered((TIE, A)), PROTOCOLS["forced"]).value)


class TestBehaviour:
    def test_order_flips(self) -> None:
        both = [
            opinion(A, A, "1", forward=A, backward=A),
            opinion(A, TIE, "2", forward=A, backward=B),
            opinion(A, TIE, "3", forward=A, backward=TIE),
            opinion(A, A, "4"),
        ]
        assert order_flips(both) == (pytest.approx(2 / 3), 3)

    def test_groups_are_right_as_a_whole(self) -> None:
        pairs = [
            opinion(A, A, "1", request_id="r"),
            opinion(A, B, "2", request_id="r"),
            opinion(B, B, "3", request_id="s"),
        ]
        assert group_accuracy(pairs, PROTOCOLS["forced"]) == (0.5, 2)

    def test_retest_spread_by_hand(self) -> None:
        first = [opinion(A, A, "1", rewards=(0.5, 0.2)), opinion(A, A, "2", rewards=(0.5, 0.2))]
        second = [opinion(A, A, "1", rewards=(0.7, 0.2)), opinion(A, None, "2")]
        spread, same = retest_spread([first, second])
        assert spread == pytest.approx(math.sqrt(0.02) / 2)  # std of (0.5, 0.7) is sqrt(0.02); of (0.2, 0.2) it is 0
        assert same == 0.5

    def test_dimensions_against_ratings_and_preference(self) -> None:
        scores = {"text_faithfulness": (3.0, 2.0), "physical_quality": (2.0, 2.0), "text_rendering": (None, None)}
        pairs = [
            opinion(A, A, "1", scores=scores, ratings={"text_faithfulness": (1.0, 3.0)}),
            opinion(A, A, "2", scores=scores, ratings={"text_faithfulness": (3.0, 1.0)}),
            opinion(B, None, "3", ratings={"text_faithfulness": (3.0, 1.0)}),
        ]
        found = dimension_agreement(pairs)
        assert found["text_faithfulness"] == (pytest.approx(1 / 3), 3, "ratings")
        assert found["physical_quality"] == (0.0, 1, "preference"), "only the failed pair counts: elsewhere it was tied"
        assert found["text_rendering"] == (0.0, 1, "preference"), "only the failed pair counts: elsewhere it was N/A"

    def test_opinions_survive_the_disk(self) -> None:
        told = opinion(
            A, B, rewards=(0.1, 0.2), forward=B, backward=A, scores={"x": (None, 2.0)}, ratings={"x": (1.0, 2.0)}
        )
        assert opinion_from_json(told.to_json()) == told
        assert opinion_from_json(opinion(A, None).to_json()) == opinion(A, None)

    @pytest.mark.parametrize("rewards", [[0.1], [0.1, 0.2, 0.3], ["0.1", "0.2"], [10**400, 0.1], [float("nan"), 0.1]])
    def test_rewards_are_two_numbers(self, rewards: list[Any]) -> None:
        with pytest.raises(ValueError, match="not two finite numbers"):
            opinion_from_json({**opinion(A, B).to_json(), "rewards": rewards})


class TestCalibration:
    def opinions(self, slope: float, count: int = 4000) -> list[Opinion]:
        rng = np.random.default_rng(3)
        gaps = rng.uniform(-1, 1, count)
        wins = rng.random(count) < 1 / (1 + np.exp(-slope * gaps))
        return [
            opinion(A if win else B, A if gap > 0 else B, str(i), rewards=(0.5 + gap / 2, 0.5 - gap / 2))
            for i, (gap, win) in enumerate(zip(gaps, wins, strict=True))
        ]

    def test_an_honest_judge_has_no_error(self) -> None:
        found = calibration(self.opinions(4.0))
        assert found is not None
        assert found.slope == pytest.approx(4.0, abs=0.3)
        assert found.error < 0.025
        assert found.pairs == 4000

    def test_a_judge_that_guesses_knows_it(self) -> None:
        found = calibration(self.opinions(0.0))
        assert found is not None
        assert found.slope < 0.2
        assert found.brier == pytest.approx(0.25, abs=0.01)

    def test_a_bent_scale_is_found(self) -> None:
        """Confidence that does not follow the reward's gap: right 95 % of the time near, 55 % far."""
        rng = np.random.default_rng(5)
        gaps = rng.uniform(0.01, 1, 3000)
        right = rng.random(3000) < np.where(gaps < 0.5, 0.95, 0.55)
        pairs = [
            opinion(A if r else B, A, str(i), rewards=(g, 0.0))
            for i, (g, r) in enumerate(zip(gaps, right, strict=True))
        ]
        found = calibration(pairs)
        assert found is not None
        assert found.error > 0.1

    def test_too_few_pairs_say_nothing(self) -> None:
        assert calibration(self.opinions(1.0, 19)) is None

    def test_slope_by_hand(self) -> None:
        # Three of four pairs with a gap of 1 are won: sigmoid(k) = 3/4, so k = ln 3.
        assert logistic_slope(np.ones(4), np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(math.log(3), abs=1e-6)


class TestGate:
    def opinions(self, rewards: Sequence[tuple[float, float]]) -> list[Opinion]:
        return [opinion(A, A if a > b else B, str(i), rewards=(a, b)) for i, (a, b) in enumerate(rewards)]

    def test_the_same_order_passes_and_a_worse_judge_does_not(self) -> None:
        rng = np.random.default_rng(0)
        first = [tuple(pair) for pair in rng.random((200, 2)).tolist()]
        close = [(a**2, b**2) for a, b in first]
        row = gate_row("int8", self.opinions(close), self.opinions(first))
        assert row.passed
        assert (row.correlation, row.difference.value, row.candidates) == (pytest.approx(1.0), 0.0, 400)
        broken = [tuple(pair) for pair in rng.random((200, 2)).tolist()]
        assert not gate_row("nf4", self.opinions(broken), self.opinions(first)).passed

    def test_failures_do_not_help(self) -> None:
        first = self.opinions([(0.9, 0.1), (0.8, 0.3), (0.7, 0.2)])
        lost = [*first[:2], opinion(A, None, "2")]
        row = gate_row("nf4", lost, first)
        assert row.difference.value == pytest.approx(-1 / 3)
        assert not row.passed

    def test_rewards_that_do_not_vary_do_not_pass(self) -> None:
        flat = self.opinions([(0.5, 0.4)] * 3)
        same = [opinion(A, A, str(i), rewards=(0.5, 0.5)) for i in range(3)]
        assert not gate_row("nf4", same, flat).passed


def comparison_reply(rows: Sequence[tuple[str, str, str]]) -> str:
    lines = ["# Detailed Judgement"]
    for number, (title, a, b) in enumerate(rows, 1):
        lines += [f"{number}. {title}:", "## Justification: seen", f"## Score A: {a}", f"## Score B: {b}"]
    return "\n".join([*lines, "# Summary: done"])


class TestBugsOfTheReference:
    """What the released evaluation code does wrong (its figures depend on it), each with ours beside it."""

    def test_not_applicable_is_not_2_5(self) -> None:
        """There N/A became 2.5 in the sum: here B's poor text rendering would beat an image that needs no text."""
        rubric = generation_rubric()
        rows = [("Text Faithfulness", "3.0", "3.0"), ("Physical and Visual Quality", "3.0", "2.9")]
        found = parse_comparison(comparison_reply([*rows, ("Text Rendering", "N/A", "3.5")]), rubric)
        assert 3.0 + 3.0 + 2.5 < 3.0 + 2.9 + 3.5, "the reference's sums, which prefer B"
        assert found.verdict is A

    def test_physical_quality_is_read_under_its_own_heading(self) -> None:
        """There its marker was another title, so it was 2.5 for both and text faithfulness took the last score."""
        rows = [
            ("Text Faithfulness", "3.0", "3.0"),
            ("Physical and Visual Quality", "4.0", "1.0"),
            ("Text Rendering", "N/A", "N/A"),
        ]
        found = parse_comparison(comparison_reply(rows), generation_rubric())
        scores = {j.key: (j.score_a, j.score_b) for j in found.judgements}
        assert scores["physical_quality"] == (4.0, 1.0)
        assert scores["text_faithfulness"] == (3.0, 3.0)
        assert found.verdict is A

    def test_image_faithfulness_counts_for_edits(self) -> None:
        rows = [("Text Faithfulness", "3.0", "3.0"), ("Image Faithfulness", "4.0", "1.0")]
        rows += [("Physical and Visual Quality", "3.0", "3.0"), ("Text Rendering", "N/A", "N/A")]
        assert parse_comparison(comparison_reply(rows), edit_rubric()).verdict is A

    def test_both_orders_are_asked_and_a_place_is_no_preference(self) -> None:
        """There A and B were shown once: a judge that always prefers the first image was right half the time."""
        rows = [(title, "4.0", "1.0") for title in ("Text Faithfulness", "Physical and Visual Quality")]
        first = parse_comparison(comparison_reply([*rows, ("Text Rendering", "N/A", "N/A")]), generation_rubric())
        both = agreed(first, first, generation_rubric())
        assert both.verdict is TIE
        assert both.orders_agree is False

    @pytest.mark.parametrize(
        ("word", "verdict"),
        [("A", A), ("b", B), ("A>B", A), ("B > A", B), ("A<B", B), ("A=B", TIE), ("tie", TIE)],
    )
    def test_label_forms_are_read(self, word: str, verdict: Verdict) -> None:
        """There `A>B` was UNKNOWN, and the pair was skipped."""
        assert label_of(word) is verdict

    @pytest.mark.parametrize("word", ["", None, "C>A", "A>>B", "both", float("nan")])
    def test_an_unknown_label_is_counted_and_never_a_tie(self, word: Any) -> None:
        with pytest.raises(Skip, match="unknown label"):
            label_of(word)
