"""The memo's keys and its file; the scorer's tests cover what it does between questions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Judgement, Refinement, critique_from_json
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.memo import Memo, memo_key
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.rubric_file import generation_rubric
from rationalrewards_core.scorer import Scorer

CRITIQUE = Critique(
    rubric="généric",
    analysis="an\nalysis",
    judgements=(
        Judgement(key="mood", justification="\u2028 dark", score=2.5, expected=2.4, spread=0.3),
        Judgement(key="words", justification="", score=None),
    ),
    summary="「 」",
    refinement=Refinement(comments="c", request='r "quoted"\nand more'),
    raw="# raw",
)


def key(
    *parts: str | Image.Image, identity: str = "judge", sampling: Sampling | None = None, mode: str = "score"
) -> str:
    return memo_key(identity, [Message("user", parts)], sampling or Sampling(), mode)


class TestKey:
    def test_depends_on_everything_that_was_asked(self) -> None:
        red, blue = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (2, 3), "blue")
        keys = [
            *(key("a", red), key("b", red), key("a", blue), key(red, "a"), key("a"), key("a", red, red)),
            *(key("a", Image.new("RGB", (3, 2), "red")), key("a", Image.new("RGBA", (2, 3), (255, 0, 0, 0)))),
            *(key("a", red, identity="other"), key("a", red, mode="critique")),
            *(key("a", red, sampling=Sampling(max_tokens=7)), key("a", red, sampling=Sampling(grammar="root ::= []"))),
            memo_key("judge", [Message("system", ("a", red))], Sampling(), "score"),
        ]
        assert len(set(keys)) == len(keys)
        assert key("a", red.copy()) == key("a", Image.new("RGBA", (2, 3), "red")) == key("a", red)

    def test_text_cannot_pretend_to_be_another_part(self) -> None:
        assert key("a\0text:b") != key("a", "b")
        assert memo_key("judge", [Message("user", ("a",)), Message("assistant", ("b",))], Sampling(), "score") != key(
            "a\0role:assistant\0text:b"
        )


def test_a_rubric_with_another_key_is_another_question(reply_text: Callable[..., str], picture: Image.Image) -> None:
    """Keys are in no prompt, but they name a critique's scores: the old critique has none of the new name."""
    memo, backend = Memo(), ScriptedBackend(lambda messages, sampling: reply_text())
    first = generation_rubric()
    renamed = replace(first, dimensions=(replace(first.dimensions[0], key="fit_to_prompt"), *first.dimensions[1:]))
    request = UserRequest("a red circle")
    for rubric in (first, renamed):
        scorer = Scorer(backend, {"generation": rubric}, memo=memo)
        critique = asyncio.run(scorer.critique(request, picture))
        assert critique.judgements[0].key == rubric.dimensions[0].key
        assert 0.0 <= scorer.reward(critique, request) <= 1.0
    assert memo.hits == 0


class TestFile:
    def test_words_come_back_exactly(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "memo.jsonl"
        Memo(path=path).put("k", CRITIQUE)
        assert Memo(path=path).get("k") == CRITIQUE
        assert critique_from_json(json.loads(json.dumps(CRITIQUE.to_json()))) == CRITIQUE

    def test_a_line_after_a_torn_one_is_not_lost(self, tmp_path: Path) -> None:
        path = tmp_path / "memo.jsonl"
        Memo(path=path).put("first", CRITIQUE)
        with path.open("a") as file:
            file.write('{"key": "half')
        again = Memo(path=path)
        again.put("second", CRITIQUE)
        again.put("third", CRITIQUE)
        found = Memo(path=path)
        assert [found.get(name) for name in ("first", "second", "third", "half")] == [CRITIQUE] * 3 + [None]

    @pytest.mark.parametrize(
        "line", [b"\xff\xfe\x00", b"[]", b"null", b'{"key": 1}', b'{"key": [], "critique": {}}', b"[" * 100_000]
    )
    def test_a_damaged_line_harms_no_other(self, line: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "memo.jsonl"
        good = json.dumps({"key": "k", "critique": CRITIQUE.to_json()}).encode()
        path.write_bytes(line + b"\n" + good + b"\n\n")
        found = Memo(path=path)
        assert (len(found), found.get("k")) == (1, CRITIQUE)
        assert "1 unreadable lines" in caplog.text

    def test_somebodys_file_is_no_memo(self, tmp_path: Path) -> None:
        (tmp_path / "scores.csv").write_bytes(b"image,reward\na.png,0.5\n")
        with pytest.raises(ConfigError, match=r"scores\.csv holds no critiques; choose another file"):
            Memo(path=tmp_path / "scores.csv")

    def test_the_limit_holds_while_reading(self, tmp_path: Path) -> None:
        path = tmp_path / "memo.jsonl"
        memo = Memo(path=path)
        for number in range(5):
            memo.put(str(number), replace(CRITIQUE, summary=str(number)))
        found = Memo(limit=2, path=path)
        assert [found.get(str(number)) is not None for number in range(5)] == [False, False, False, True, True]


@pytest.mark.parametrize("lost", ["rubric", "judgements", "refinement", "raw"])
def test_a_table_with_a_missing_key_is_no_critique(lost: str) -> None:
    table = CRITIQUE.to_json()
    del table[lost]
    with pytest.raises(KeyError, match=lost):
        critique_from_json(table)
    table = CRITIQUE.to_json()
    del table["judgements"][0]["score"]
    with pytest.raises(KeyError, match="score"):
        critique_from_json(table)
