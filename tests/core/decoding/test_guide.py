"""The grammar's part: what `accept` takes is what `allowed` says, and no special token ever stands in a reply."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")


from rationalrewards_core.backends.decoding.guide import GrammarCompiler
from rationalrewards_core.backends.special_tokens import special_ids
from tests.core.decoding.random_checkpoint import STOP, VOCABULARY, random_checkpoint


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(random_checkpoint(0).tokeniser, VOCABULARY, [STOP])


def ids(text: str) -> list[int]:
    return list(random_checkpoint(0).tokeniser(text, add_special_tokens=False)["input_ids"])


def allowed_ids(guide: Any) -> set[int]:
    return set(guide.allowed().nonzero().flatten().tolist())


def test_accept_and_allowed_agree_at_every_step(compiler: GrammarCompiler) -> None:
    grammar = 'root ::= "Score: " [1-4] "." [0-9]'
    for token in ids("Score: 3.5"):
        prefix = compiler.guide(grammar)
        before = ids("Score: 3.5")[: ids("Score: 3.5").index(token)]
        assert all(prefix.accept(t) for t in before)
        allowed = allowed_ids(prefix)
        assert token in allowed
        for other in range(0, VOCABULARY, 7):
            fresh = compiler.guide(grammar)
            assert all(fresh.accept(t) for t in before)
            assert fresh.accept(other) == (other in allowed)


def test_a_refused_token_moves_nothing(compiler: GrammarCompiler) -> None:
    guide = compiler.guide('root ::= "ab"')
    before = allowed_ids(guide)
    assert not guide.accept(ids("z")[0])
    assert not guide.accept(STOP)
    assert allowed_ids(guide) == before
    assert not guide.ended


def test_the_end_is_taken_only_where_the_grammar_ends(compiler: GrammarCompiler) -> None:
    guide = compiler.guide('root ::= "a" "b"?')
    assert not guide.accept(STOP)
    assert guide.accept(ids("a")[0])
    assert STOP in allowed_ids(guide)
    assert guide.accept(STOP)
    assert guide.ended


def test_special_tokens_are_never_text(compiler: GrammarCompiler) -> None:
    """Their spelling fits a free line, and decoding would drop them from it."""
    guide = compiler.guide(r"root ::= [^\n]*")
    special = set(special_ids(random_checkpoint(0).tokeniser, [STOP]))
    assert len(special) >= 6
    assert not special & allowed_ids(guide)
    assert not any(guide.accept(token) for token in special)


def test_guides_of_one_grammar_do_not_share_where_they_stand(compiler: GrammarCompiler) -> None:
    first, second = compiler.guide('root ::= "ab"'), compiler.guide('root ::= "ab"')
    assert first.accept(ids("a")[0])
    assert allowed_ids(first) != allowed_ids(second)
