"""The loop writes what guided `generate()` writes: any model, grammar, batch, picture, draft."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")

from rationalrewards_core.backends.base import Finish, Sampling
from rationalrewards_core.backends.decoding import decoder as decoder_module
from rationalrewards_core.backends.decoding.decoder import Decoder, can_record
from rationalrewards_core.backends.decoding.drafts import Draft
from rationalrewards_core.backends.decoding.pass_cost import WIDTHS, PassCost
from rationalrewards_core.backends.decoding.rows import Row
from rationalrewards_core.errors import RequestError
from rationalrewards_core.messages import Message
from tests.core.decoding.random_checkpoint import (
    GROUPS,
    STOP,
    VOCABULARY,
    asked,
    compiled,
    guided_generate,
    picture,
    random_checkpoint,
)

SEEDS = sorted(GROUPS)
TWICE = picture(6)
REQUESTS: dict[str, list[Message]] = {
    "no picture": asked("Say something about a red circle."),
    "square": asked("What is this? ", picture(1), " Say it."),
    "wide": asked(picture(2, 60, 16), "Three words about a wide picture."),
    "tall": asked("Tall: ", picture(3, 16, 40)),
    "edit with two sources": asked("Before: ", picture(4), picture(5, 40, 20), " After: ", picture(7, 20, 32), "."),
    "the same picture twice": asked("First: ", TWICE, " second: ", TWICE, " Which is better?"),
    "longer than a block of the cache": asked(picture(8), "a small green square left of a big blue star, " * 12),
}


class Rigid(PassCost):
    """Passes of one width wherever drafts are that long, whatever they cost."""

    def __init__(self, width: int = WIDTHS[-1]) -> None:
        super().__init__()
        self._width = width

    def best_width(self, chances: Sequence[Sequence[float]]) -> int:
        return min(self._width, super().best_width(chances))

    def relative(self, rows: int, width: int) -> float:
        return 1.0


@dataclass
class FixedDrafts:
    """A draft source that proposes `line[position:]`, and learns nothing from being wrong."""

    line: Sequence[int]
    written: int = 0

    def learn(self, token: int) -> None:
        self.written += 1

    def verified(self, draft: Draft, accepted: int, foresight: Sequence[int]) -> None:
        pass

    def draft(self, most: int) -> Draft:
        tokens = tuple(self.line[self.written : self.written + most])
        return Draft(tokens, (1.0,) * len(tokens))


def _wrong(reply: Sequence[int], rng: random.Random) -> list[int]:
    return [(token + rng.randrange(1, VOCABULARY)) % VOCABULARY for token in [*reply, *[9] * 20]]


def _garbage(reply: Sequence[int], rng: random.Random) -> list[int]:
    """Marks of roles and pictures, ends, and ids that the tokeniser does not have."""
    return [rng.choice([0, 1, STOP, 3, 4, 5, 6, VOCABULARY - 1]) for _ in range(60)]


def _half_right(reply: Sequence[int], rng: random.Random) -> list[int]:
    return [token if rng.random() < 0.7 else rng.randrange(VOCABULARY) for token in [*reply, STOP, *[9] * 20]]


SOURCES: dict[str, Callable[[Sequence[int], random.Random], Sequence[int]] | None] = {
    "our own": None,
    "always wrong": _wrong,
    "garbage": _garbage,
    "half right": _half_right,
    "right, with the end and more": lambda reply, rng: [*reply, STOP, *range(20, 40)],
    "silent": lambda reply, rng: [],
}

literals = st.text(st.sampled_from("ab cé.\n1-"), min_size=1, max_size=4).map(
    lambda text: '"' + text.replace("\n", r"\n") + '"'
)
classes = st.sampled_from(["[a-z]", "[^a]", "[0-9]", r"[^\n]", "[ .]", "[é-ü]"])


def _joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        several.map(" ".join),
        several.map(lambda choices: "(" + " | ".join(choices) + ")"),
        st.tuples(parts, st.sampled_from(["*", "+", "?", "{2,5}"])).map(lambda pair: f"({pair[0]}){pair[1]}"),
    )


grammars = st.none() | st.recursive(literals | classes, _joined, max_leaves=6).map(lambda body: f"root ::= {body}")


def decoder_of(seed: int, width: int = WIDTHS[-1]) -> Decoder:
    decoder = Decoder(random_checkpoint(seed))
    decoder._cost = Rigid(width)
    return decoder


def sourced(row: Row, line: Sequence[int]) -> Row:
    row._drafter = FixedDrafts(line)  # type: ignore[assignment]
    return row


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    names=st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=5),
    grammar=grammars,
    source=st.sampled_from(sorted(SOURCES)),
    width=st.sampled_from(WIDTHS),
    limit=st.integers(1, 18),
    stop=st.sampled_from([(), ("a",), ("é", "1-"), (". ", "b\n")]),
)
@example(0, sorted(REQUESTS)[:5], None, "our own", 16, 18, ())
@example(1, sorted(REQUESTS)[2:], 'root ::= ([a-z]){2,5} "é1-" [0-9]*', "garbage", 8, 16, ("é",))
@example(2, ["square"], 'root ::= "ab c" "."', "right, with the end and more", 16, 18, ())
def test_any_draft_source_leaves_the_text_as_it_is(
    seed: int, names: list[str], grammar: str | None, source: str, width: int, limit: int, stop: tuple[str, ...]
) -> None:
    checkpoint, decoder = random_checkpoint(seed), decoder_of(seed, width)
    mask = None if grammar is None else compiled(seed, grammar)
    rng = random.Random(limit)
    rows, expected = [], []
    for number, name in enumerate(names):
        sampling = Sampling(max_tokens=max(1, limit - number), stop=stop, grammar=grammar)
        reference = guided_generate(checkpoint, REQUESTS[name], sampling, mask)
        row, line = decoder.row(REQUESTS[name], sampling), SOURCES[source]
        rows.append(row if line is None else sourced(row, line(reference[0], rng)))
        expected.append(reference[:3])
    decoder.run(rows)
    assert [(row.ids, row.text(), row.finish) for row in rows] == expected


def written(decoder: Decoder, *names: str, **options: Any) -> list[Row]:
    rows = [decoder.row(REQUESTS[name], Sampling(**{"max_tokens": 12, **options})) for name in names]
    decoder.run(rows)
    return rows


def test_a_draft_that_is_right_saves_passes_and_one_that_is_wrong_costs_none() -> None:
    reply = written(decoder_of(0), "square", max_tokens=40)[0].ids
    assert len(reply) == 40, "this model does not end by itself here"
    passes = {}
    for name, line in {"right": reply, "wrong": _wrong(reply, random.Random(0)), "silent": []}.items():
        decoder = decoder_of(0)
        row = sourced(decoder.row(REQUESTS["square"], Sampling(max_tokens=40)), line)
        decoder.run([row])
        assert row.ids == reply
        passes[name] = decoder.count.passes
        assert decoder.count.tokens == 40
        assert (decoder.count.accepted == 0) == (name != "right")
    assert passes == {"right": 1, "wrong": 39, "silent": 39}


def test_an_end_inside_a_draft_ends_the_row_and_not_its_neighbour() -> None:
    grammar = 'root ::= "ab."'
    decoder = decoder_of(0)
    short = decoder.row(REQUESTS["square"], Sampling(grammar=grammar, max_tokens=12))
    long = decoder.row(REQUESTS["wide"], Sampling(max_tokens=12))
    expected = guided_generate(random_checkpoint(0), REQUESTS["square"], short.sampling, compiled(0, grammar))[0]
    decoder.run([sourced(short, [*expected, STOP, *[20] * 9]), long])
    assert (short.text(), short.finish) == ("ab.", Finish.STOP)
    assert (len(long.ids), long.finish) == (12, Finish.LENGTH)
    assert short.ids == expected


@pytest.mark.parametrize("limit", [1, 2, 5, 9])
def test_the_token_limit_holds_inside_a_draft(limit: int) -> None:
    reply = written(decoder_of(1), "tall")[0].ids
    decoder = decoder_of(1)
    row = sourced(decoder.row(REQUESTS["tall"], Sampling(max_tokens=limit)), reply)
    decoder.run([row])
    assert row.ids == reply[:limit]
    assert row.finish is Finish.LENGTH


def test_the_context_is_the_last_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, decoder = random_checkpoint(0), decoder_of(0)
    length = len(decoder.row(REQUESTS["wide"], Sampling()).prompt or ())
    config = checkpoint.model.config.get_text_config()
    monkeypatch.setattr(config, "max_position_embeddings", length + 20)
    row = written(decoder, "wide", max_tokens=500)[0]
    assert (len(row.ids), row.finish) == (20, Finish.LENGTH)
    monkeypatch.setattr(config, "max_position_embeddings", length + 15)
    with pytest.raises(RequestError, match=f"{length} tokens"):
        decoder.row(REQUESTS["wide"], Sampling())


def test_a_row_cancelled_in_the_middle_leaves_the_others_alone() -> None:
    names = ("square", "no picture", "wide")
    whole = written(decoder_of(2), *names, max_tokens=30)
    decoder, passes = decoder_of(2), []
    rows = [decoder.row(REQUESTS[name], Sampling(max_tokens=30)) for name in names]

    def after_pass() -> None:
        passes.append([len(row.ids) for row in rows])
        rows[1].cancelled = len(passes) >= 3

    decoder.run(rows, after_pass)
    assert [rows[0].ids, rows[2].ids] == [whole[0].ids, whole[2].ids]
    assert len(rows[1].ids) == passes[2][1] < 30
    assert rows[1].finish is None


def test_an_interruption_ends_the_pass_and_leaves_nothing_wrong_behind() -> None:
    decoder, passes = decoder_of(0), []

    def after_pass() -> None:
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt

    rows = [decoder.row(REQUESTS[name], Sampling(max_tokens=30)) for name in ("square", "wide")]
    with pytest.raises(KeyboardInterrupt):
        decoder.run(rows, after_pass)
    assert len(passes) == 3
    fresh = written(decoder_of(0), "square", "wide", max_tokens=30)
    again = written(decoder, "square", "wide", max_tokens=30)
    assert [row.ids for row in again] == [row.ids for row in fresh]
    assert decoder.count.prefix_tokens > 0, "the prompts were still in the cache"


def test_a_second_question_about_a_picture_reads_only_what_is_new() -> None:
    shared = ["A picture: ", picture(9, 32, 24), " of something. "]
    first, second = asked(*shared, "What is it?"), asked(*shared, "Is it any good at all?")
    decoder = decoder_of(1)
    decoder.run([decoder.row(first, Sampling(max_tokens=8))])
    computed: list[int] = []
    text = decoder._text

    def watched(hidden: Any, *rest: Any) -> Any:
        computed.append(hidden.shape[1])
        return text(hidden, *rest)

    decoder._text = watched  # type: ignore[assignment]
    watched.embed, watched.depth = text.embed, text.depth  # type: ignore[attr-defined]
    row = decoder.row(second, Sampling(max_tokens=8))
    decoder.run([row])
    assert decoder.vision.runs == 1
    prompt = row.prompt
    assert prompt is not None
    assert decoder.count.prefix_tokens > prompt.ids.count(prompt.image_token)
    assert computed[0] == len(prompt) - decoder.count.prefix_tokens
    assert row.ids == guided_generate(random_checkpoint(1), second, Sampling(max_tokens=8))[0]


def test_a_kept_prefix_is_never_another_pictures() -> None:
    decoder = decoder_of(0)
    for seed in (10, 11, 10):
        messages = asked("Look: ", picture(seed), " What is it?")
        row = decoder.row(messages, Sampling(max_tokens=8))
        decoder.run([row])
        assert row.ids == guided_generate(random_checkpoint(0), messages, Sampling(max_tokens=8))[0]
    assert decoder.vision.runs == 2


def test_equal_prompts_of_a_batch_are_read_once_and_may_differ_in_their_grammar() -> None:
    decoder = decoder_of(0)
    grammars_of_rows = [None, 'root ::= "ab" [0-9] "."', 'root ::= "cé"']
    rows = [decoder.row(REQUESTS["square"], Sampling(max_tokens=9, grammar=g)) for g in grammars_of_rows]
    decoder.run(rows)
    assert decoder.vision.runs == 1
    for row, grammar in zip(rows, grammars_of_rows, strict=True):
        mask = None if grammar is None else compiled(0, grammar)
        assert row.ids == guided_generate(random_checkpoint(0), REQUESTS["square"], row.sampling, mask)[0]


def test_what_a_loop_says_again_takes_few_passes() -> None:
    """The second critique of a request is drafted from the first, picture by picture."""
    decoder = decoder_of(0)
    written(decoder, "square", max_tokens=40)
    before = replace(decoder.count)
    written(decoder, "square", max_tokens=40)
    assert (decoder.count.tokens - before.tokens) / (decoder.count.passes - before.passes) >= 4


def test_cuda_graphs_are_for_cards_and_not_for_int8() -> None:
    class Linear8bitLt:
        pass

    class Model:
        def __init__(self, *modules: object) -> None:
            self.modules = lambda: modules

    checkpoint = random_checkpoint(0)
    assert not can_record(checkpoint)
    assert Decoder(checkpoint, record=True)._recorded is None
    assert can_record(replace(checkpoint, device="cuda:0"))
    assert not can_record(replace(checkpoint, device="cuda:0", model=Model(object(), Linear8bitLt())))
    assert decoder_module.Decoder.fits(checkpoint)
