"""Adaptive rubrics: what a model is asked, what it may write, and that nothing but a whole rubric is read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core import UserRequest, load_rubric, make_scorer, write_rubric
from rationalrewards_core.backends.base import Finish, Reply
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Judgement, render_critique
from rationalrewards_core.errors import ConfigError, CritiqueParseError
from rationalrewards_core.messages import critique_messages
from rationalrewards_core.replies.parsing import Reason, parse_critique
from rationalrewards_core.rubric import Rubric, Scale
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric, parse_rubric, rubric_to_toml
from rationalrewards_core.rubric_writing import levels, parse_written, rubric_grammar, writing_messages
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

REQUEST = UserRequest("three cats under a red umbrella")
BLOCK = """{number}. {title} (weight {weight})
Question: Are there exactly three?
4: Three cats.
3: Three cats, one hardly seen.
2: Two or four cats.
1: No cat."""
TITLES = ("Three Cats", "Red Umbrella", "Craft", "Rain", "Colours", "Light", "More")


def reply(count: int = 2, **changes: Any) -> str:
    return "\n".join(
        BLOCK.format(**{"number": n, "title": TITLES[n - 1], "weight": 6 - n if n < 6 else 1, **changes})
        for n in range(1, count + 1)
    )


def written(text: str, base: Rubric | None = None) -> Rubric:
    return parse_written(text, REQUEST, base or generation_rubric())


def test_a_written_rubric_is_an_ordinary_one() -> None:
    rubric = written(reply(3))
    assert [(d.key, d.title, d.weight) for d in rubric.dimensions] == [
        ("three_cats", "Three Cats", 5.0),
        ("red_umbrella", "Red Umbrella", 4.0),
        ("craft", "Craft", 3.0),
    ]
    assert rubric.dimensions[0].anchors[0] == (4.0, "Three cats.")
    assert rubric.name == "for: three cats under a red umbrella"
    assert parse_rubric(rubric_to_toml(rubric), "text") == rubric
    prompt = critique_messages(REQUEST, Image.new("RGB", (8, 8)), rubric)[-1].text
    assert "1. **Three Cats**: Are there exactly three?\n   - 4: Three cats." in prompt
    judgements = tuple(Judgement(key=d.key, justification="Seen.", score=3.0) for d in rubric.dimensions)
    text = render_critique(Critique(rubric=rubric.name, judgements=judgements, summary="Fine."), rubric)
    assert parse_critique(text, rubric, "score").scores == {"three_cats": 3.0, "red_umbrella": 3.0, "craft": 3.0}


@pytest.mark.parametrize(
    "dressed",
    [
        "```\n{}\n```",
        "<think>1. Cats (weight 9)</think>\n{}",
        "\n\n{}\n\n",
    ],
)
def test_dress_makes_no_difference(dressed: str) -> None:
    assert written(dressed.format(reply())) == written(reply())
    assert written(reply().replace("1. Three Cats (weight 5)", "**1. Three Cats (weight 5)**")) == written(reply())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("I cannot do that.", "was due"),
        (reply(1), "has 1 dimensions, not 2 to 6"),
        (reply(7), "has 7 dimensions"),
        (reply(weight=9), "is 9, not 1 to 5"),
        (reply(title="Same"), "two dimensions with key"),
        (reply(title="Summary"), "heading of the reply itself"),
        (reply(title="A: B"), "without '#', ':'"),
        (reply().replace("Question: ", "Q: "), "needs a line 'Question:'"),
        (reply().replace("3: Three cats, one hardly seen.\n", ""), "needs a line '3:'"),
        (reply().replace("1: No cat.", "1: "), "needs a line '1:'"),
        (reply().removesuffix("1: No cat."), "needs a line '1:'"),
        (reply() + "\nThat is all.", "'3. Title (weight 3)' was due"),
        (reply().replace("2. Red", "4. Red"), "'2. Title (weight 3)' was due"),
        ("<think>" + reply(), "inside its <think> block"),
    ],
)
def test_what_is_no_whole_rubric_is_refused(text: str, message: str) -> None:
    with pytest.raises(CritiqueParseError) as caught:
        written(text)
    assert message in str(caught.value)
    assert caught.value.raw == text


@pytest.mark.parametrize("scale", [Scale(), Scale(minimum=0, maximum=10), Scale(minimum=-1, maximum=1, decimals=0)])
def test_what_the_grammar_allows_is_what_is_read(scale: Scale) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    from transformers import AutoTokenizer

    from rationalrewards_core.miniature import scorer_folder

    tokeniser = AutoTokenizer.from_pretrained(scorer_folder())
    described = xgrammar.TokenizerInfo.from_huggingface(tokeniser)
    compiled = xgrammar.GrammarCompiler(described).compile_grammar(rubric_grammar(scale))

    def accepts(text: str) -> bool:
        matcher = xgrammar.GrammarMatcher(compiled)
        return bool(matcher.accept_string(text)) and bool(matcher.accept_token(tokeniser.eos_token_id))

    def block(number: int, title: str = "Three Cats") -> str:
        lines = [f"{number}. {title} (weight 5)", 'Question: Are "they" there?', *(f"{n}: So." for n in levels(scale))]
        return "\n".join(lines)

    titles = ("Three Cats", "猫", "Größe der-Uhr", "Кот", "e", "f")
    for count in range(1, 7):
        text = "\n".join(block(n, titles[n - 1]) for n in range(1, count + 1))
        assert accepts(text) is (count >= 2)
        if count >= 2:
            assert len(parse_written(text, REQUEST, replace_scale(scale)).dimensions) == count
    two = block(1) + "\n" + block(2, "Light")
    for wrong in ("", "Sure!\n" + two, two + "\n", two.replace("(weight 5)", "(weight 7)"), two.replace("So.", "")):
        assert not accepts(wrong)


def replace_scale(scale: Scale) -> Rubric:
    from dataclasses import replace

    plain = tuple(replace(d, anchors=()) for d in generation_rubric().dimensions)
    return replace(generation_rubric(), scale=scale, dimensions=plain)


def test_the_request_is_asked_as_it_is_and_a_source_is_shown() -> None:
    request = UserRequest("paint it {red} <image>", (Image.new("RGB", (8, 8), "blue"),))
    system, user = writing_messages(request, edit_rubric())
    assert "write the rubric" in system.text
    assert len(user.images) == 1
    assert "Request: paint it {red} <\u2060image>\n" in user.text
    assert "4: <what" in user.text


def ask(replies: list[Any], **settings: Any) -> tuple[Scorer, ScriptedBackend]:
    backend = ScriptedBackend(replies)
    return Scorer(backend, settings=ScorerSettings(**settings)), backend


def test_it_is_guided_and_asked_again_once() -> None:
    scorer, backend = ask(["no", reply()])
    rubric = asyncio.run(write_rubric(scorer, REQUEST))
    assert len(rubric.dimensions) == 2
    grammars = [sampling.grammar for _, sampling in backend.calls]
    assert grammars == [rubric_grammar(Scale())] * 2
    assert backend.calls[1][1].temperature > 0
    assert scorer.failures.total() == 1


def test_a_reply_that_was_cut_off_is_no_rubric() -> None:
    scorer, _ = ask([Reply(text=reply(), finish=Finish.LENGTH, model="m")], ask_again=0)
    with pytest.raises(CritiqueParseError) as caught:
        asyncio.run(write_rubric(scorer, REQUEST))
    assert caught.value.reason == Reason.TRUNCATED.value


def test_the_miniature_and_profiles_write_none() -> None:
    with pytest.raises(ConfigError, match="its own dimensions only"):
        asyncio.run(write_rubric(make_scorer("miniature"), UserRequest("a red circle")))
    scorer, _ = ask([reply()])
    with pytest.raises(ConfigError, match="is a judge profile"):
        asyncio.run(write_rubric(scorer, REQUEST, load_rubric("skyjm-gen")))


def test_a_real_engine_is_held_to_the_grammar() -> None:
    """Random weights write no sense, and lines of the form all the same."""
    pytest.importorskip("xgrammar")
    from rationalrewards_core.backends import transformers_local
    from rationalrewards_core.backends.checkpoint import CheckpointConfig
    from rationalrewards_core.miniature import scorer_folder
    from rationalrewards_core.rubric_writing import MAX_TOKENS

    engine = transformers_local.TransformersLocal(CheckpointConfig(model=str(scorer_folder()), device="cpu"))
    scorer = Scorer(engine, settings=ScorerSettings(ask_again=0, max_tokens=MAX_TOKENS))
    try:
        rubric = asyncio.run(write_rubric(scorer, REQUEST))
        assert 2 <= len(rubric.dimensions) <= 6
    except CritiqueParseError as error:
        assert error.raw.startswith("1. ")
        assert " (weight " in error.raw or error.reason == Reason.TRUNCATED.value
    finally:
        engine.unload()


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    from rationalrewards_core import engines
    from rationalrewards_core.__main__ import main

    monkeypatch.setattr(engines, "make_backend", lambda *_: ScriptedBackend([reply(3)]))
    words = ["rubric", "write", "-p", REQUEST.text, "--backend", "local:/x"]
    assert main(words) == 0
    assert load_text(capsys.readouterr().out) == written(reply(3))
    file = tmp_path / "cats.toml"
    assert main([*words, "--out", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "Three Cats (three_cats, weight 5)" in shown
    assert f"--rubric {file}" in shown
    assert load_rubric(file) == written(reply(3))
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dimensions"][2]["key"] == "craft"
    assert main(["rubric", "write", "-p", "a red circle"]) == 2
    assert "writes no rubric" in capsys.readouterr().err
    assert main(["rubric", "generation", "--prompt"]) == 0


def load_text(text: str) -> Rubric:
    return parse_rubric(text, "printed")
