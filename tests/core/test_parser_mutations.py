"""The parser reads no wrong number in replies that were broken on purpose; the long run is the benchmark's."""

from __future__ import annotations

from benchmarks.broken_replies import MUTATIONS, OPEN
from benchmarks.parser_mutations import mutate


def test_a_broken_reply_is_refused_or_read_as_it_was_meant() -> None:
    outcomes, wrong = mutate(4000, seed=1)
    assert not wrong, wrong[0]
    for mutation in (*MUTATIONS, *OPEN):
        assert outcomes[f"{mutation.__name__} read"] + outcomes[f"{mutation.__name__} refused"] > 150, mutation.__name__
    for readable in ("swapped", "with_foreign_section", "other_number", "in_a_draft", "cut", "as_table", "as_json"):
        assert outcomes[f"{readable} read"] > 10, f"{readable} is refused whatever it says"
