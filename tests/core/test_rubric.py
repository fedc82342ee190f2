"""Rubrics from TOML: what a user may write, and one clear sentence for every mistake."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import guidelines, reply_format
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import RESERVED, Dimension, Layout, PairwiseWording, Rubric, Scale, Wording
from rationalrewards_core.rubric_file import (
    checkpoint_rubric,
    edit_rubric,
    generation_rubric,
    load_rubric,
    parse_rubric,
    rubric_to_toml,
)
from tests.own_rubrics import shipped_rubric

OWN = """
name = "posters"
kind = "generation"
[scale]
minimum = 0
maximum = 10
decimals = 0
[layout]
score_first = true
refinement = false
[wording]
introduction = "Judge {count} things from {minimum} to {maximum}; {other} braces stay."
[[dimensions]]
key = "mood"
title = "Mood & Colour"
question = "Does it feel right?"
weight = 3
[dimensions.anchors]
0 = "dull"
"10.0" = " glowing "
5 = "fine"
[[dimensions]]
key = "words"
title = "Words"
optional = true
"""


def mistake(text: str) -> str:
    """The sentence a rubric file is refused with."""
    with pytest.raises(ConfigError) as caught:
        parse_rubric(text, "own.toml")
    said = str(caught.value)
    assert said.startswith("own.toml"), said
    assert said.endswith("."), said
    assert "\n" not in said
    assert not re.search(r"<class|object at|Traceback|dataclass|None", said), said
    return said


def changed(old: str, new: str) -> str:
    assert OWN.count(old) == 1, old
    return OWN.replace(old, new)


class TestOwnRubric:
    def test_is_read_as_it_was_written(self) -> None:
        rubric = parse_rubric(OWN, "own.toml")
        assert (rubric.name, rubric.kind) == ("posters", "generation")
        assert rubric.scale == Scale(minimum=0, maximum=10, decimals=0)
        assert rubric.layout == Layout(score_first=True, refinement=False)
        mood, words = rubric.dimensions
        assert mood.anchors == ((10.0, "glowing"), (5.0, "fine"), (0.0, "dull"))
        assert (mood.weight, mood.optional) == (3.0, False)
        assert (words.weight, words.optional, words.anchors) == (1.0, True, ())
        assert rubric.wording.request_label == Wording().request_label, "what is left out has its default"

    def test_shapes_prompt_and_reward(self) -> None:
        rubric = parse_rubric(OWN, "own.toml")
        text = guidelines(rubric)
        assert "Judge 2 things from 0 to 10; {other} braces stay." in text
        assert "   - 10: glowing\n   - 5: fine\n   - 0: dull" in text
        assert reply_format(rubric).index("Score: <a number from 0 to 10>") < reply_format(rubric).index(
            "Justification"
        )
        assert "Refined Request" not in text
        judged = (Judgement(key="mood", justification="", score=5), Judgement(key="words", justification="", score=10))
        assert reward(Critique(rubric="posters", judgements=judged), rubric) == pytest.approx((3 * 0.5 + 1.0) / 4)

    def test_is_loaded_by_path_with_or_without_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "own.toml"
        for prefix in ("", "\ufeff"):
            path.write_text(prefix + OWN, encoding="utf-8")
            assert load_rubric(path) == load_rubric(str(path)) == parse_rubric(OWN, "own.toml")

    def test_built_in_names_win_over_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "edit").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        assert load_rubric("edit") == edit_rubric()
        assert load_rubric("./edit").name == "posters"

    def test_a_checkpoint_may_carry_its_own(self, tmp_path: Path) -> None:
        assert checkpoint_rubric(tmp_path, "generation") is None
        (tmp_path / "rubric_generation.toml").write_text(OWN)
        assert checkpoint_rubric(tmp_path, "generation") == parse_rubric(OWN, "own.toml")
        assert checkpoint_rubric(tmp_path, "edit") is None

    def test_built_in_rubrics_have_the_papers_dimensions(self) -> None:
        assert [d.key for d in shipped_rubric("generation").dimensions] == [
            *("text_faithfulness", "physical_quality", "text_rendering"),
        ]
        assert [d.key for d in shipped_rubric("edit").dimensions] == [
            *("text_faithfulness", "image_faithfulness", "physical_quality", "text_rendering"),
        ]
        for rubric in (shipped_rubric("generation"), shipped_rubric("edit")):
            assert [d.key for d in rubric.dimensions if d.optional] == ["text_rendering"]
            assert all([level for level, _ in d.anchors] == [4.0, 3.0, 2.0, 1.0] for d in rubric.dimensions)


class TestWeights:
    def test_some_are_replaced(self) -> None:
        rubric = generation_rubric().with_weights({"text_rendering": 0.5})
        assert [d.weight for d in rubric.dimensions] == [1.0, 1.0, 0.5]
        assert [d.weight for d in generation_rubric().dimensions] == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize(
        ("weights", "said"),
        [
            ({"txt": 1.0}, "no dimension 'txt'; it has text_faithfulness, physical_quality, text_rendering"),
            ({"text_rendering": -1.0}, "weight of 'text_rendering' must be between 0 and 1000, not -1.0"),
            ({"text_rendering": float("nan")}, "weight of 'text_rendering' must be between 0 and 1000, not nan"),
            ({"text_rendering": float("inf")}, "weight of 'text_rendering' must be between 0 and 1000, not inf"),
            ({"text_faithfulness": 0.0, "physical_quality": 0.0}, "a positive weight on a dimension that is not opt"),
        ],
    )
    def test_mistakes(self, weights: dict[str, float], said: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(said)):
            generation_rubric().with_weights(weights)


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "the file needs 'name'"),
            (changed('name = "posters"', ""), "the file needs 'name', a text in quotes"),
            (changed('name = "posters"', "name = 7"), "the file needs 'name', a text in quotes"),
            (changed('kind = "generation"', ""), "the file needs 'kind'"),
            (changed('kind = "generation"', 'kind = "video"'), "kind must be 'generation' or 'edit', not 'video'"),
            (changed("[scale]", "[scales]"), "unknown key 'scales' in the file; known keys are dimensions, kind"),
            (changed("decimals = 0", "digits = 0"), "unknown key 'digits' in scale; known keys are decimals, maximum"),
            (changed("weight = 3", "wieght = 3"), "unknown key 'wieght' in dimensions[1]"),
            (changed("refinement = false", "refinment = false"), "unknown key 'refinment' in layout"),
            (changed("introduction", "intro"), "unknown key 'intro' in wording"),
            (changed("minimum = 0", "minimum = 10"), "scale.minimum (10.0) must be below scale.maximum (10.0)"),
            (changed("minimum = 0", "minimum = 0.5"), "scale.minimum and scale.maximum must be whole numbers"),
            (changed("minimum = 0", "minimum = -101"), "whole numbers from -100 to 100"),
            (changed("minimum = 0", "minimum = nan"), "scale.minimum (nan) must be below"),
            (changed("maximum = 10", "maximum = inf"), "whole numbers from -100 to 100"),
            (changed("maximum = 10", 'maximum = "10"'), "scale.maximum must be a number, not '10'"),
            (changed("maximum = 10", "maximum = true"), "scale.maximum must be a number, not True"),
            (changed("decimals = 0", "decimals = 3"), "scale.decimals must be 0, 1 or 2"),
            (changed("decimals = 0", "decimals = 1.0"), "scale.decimals must be a whole number, not 1.0"),
            (changed("score_first = true", "score_first = 1"), "layout.score_first must be true or false, not 1"),
            (changed("score_first = true", 'score_first = "yes"'), "layout.score_first must be true or false"),
            (changed('"Does it feel right?"', "7"), "dimensions[1].question must be a text in quotes, not 7"),
            (changed("optional = true", 'optional = "true"'), "dimensions[2].optional must be true or false"),
            (changed("weight = 3", "weight = -0.5"), "dimensions.weight of 'mood' must be between 0 and 1000"),
            (changed("weight = 3", "weight = nan"), "dimensions.weight of 'mood' must be between 0 and 1000"),
            (changed("weight = 3", "weight = 0"), "a positive weight on a dimension that is not optional"),
            (changed("weight = 3", "optional = true"), "at least one dimension that is not optional"),
            (changed('key = "mood"', ""), "dimensions[1] needs 'key', a text in quotes"),
            (changed('title = "Words"', ""), "dimensions[2] needs 'title'"),
            (changed('key = "mood"', 'key = "the mood"'), "dimensions.key 'the mood' must be an identifier"),
            (changed('key = "words"', 'key = "mood"'), "two dimensions with key 'mood'"),
            (changed('title = "Words"', 'title = "MOOD and colour"'), "two dimensions with title 'mood and colour'"),
            (changed("5 =", "11 ="), "dimensions.anchors of 'mood': 11 is outside the scale"),
            (changed("5 =", "five ="), "dimensions[1].anchors has a key that is not a number"),
            (changed("5 =", "10 ="), "dimensions[1].anchors names a score twice"),
            (changed('5 = "fine"', "5 = 5"), "dimensions[1].anchors must map scores to sentences"),
            (changed("optional = true", 'anchors = ["good"]'), "dimensions[2].anchors must map scores to sentences"),
            (changed("decimals = 0", "decimals = 0\ndecimals = 1"), "is not valid TOML"),
            (changed("[wording]", "[scale]"), "is not valid TOML"),
            (changed("[scale]", "[scale"), "is not valid TOML"),
            ("x = " + "[" * 10_000, "is not valid TOML"),
            ('name = "a"\nkind = "edit"\nscale = 4\ndimensions = []', "scale must be a table"),
            ('name = "a"\nkind = "edit"\ndimensions = []', "no dimensions; add at least one [[dimensions]] table"),
            ('name = "a"\nkind = "edit"\ndimensions = [4]', "dimensions[1] must be a table ([[dimensions]])"),
            (
                'name = "a"\nkind = "edit"\n[dimensions]\nkey = "x"',
                "needs 'dimensions', a list of [[dimensions]] tables",
            ),
        ],
    )
    def test_is_named(self, text: str, said: str) -> None:
        assert said in mistake(text)

    @pytest.mark.parametrize(
        "title",
        [
            *(
                "",
                " ",
                "Mood:",
                "# Mood",
                "**Mood**",
                "`Mood`",
                "Mood：",
                "1. Mood",
                "-",
                "Mood.",
                "Mood ",
                "Mood\tswing",
            ),
            *("Mood\nswing", "Mood\u2028swing", "?", "🎨", "M" * 81, "\u200b"),
        ],
    )
    def test_a_title_must_be_recognisable_as_a_heading(self, title: str) -> None:
        with pytest.raises(ConfigError, match=r"^dimensions\.title .* must .*\.$"):
            Dimension(key="mood", title=title)

    @pytest.mark.parametrize(
        "title",
        [
            *("Summary", "SCORE", "score a", "Winner", "Justification", "Detailed Judgment", "User Request  Analysis"),
            *("Refined Request", "Ｓｃｏｒｅ", "refinement comments"),
        ],
    )
    def test_a_title_must_not_be_a_heading_of_the_reply(self, title: str) -> None:
        with pytest.raises(ConfigError, match="is a heading of the reply itself; choose another"):
            Dimension(key="mood", title=title)

    def test_every_heading_of_the_reply_is_reserved(self) -> None:
        found = set(re.findall(r"^(?:#+) ([A-Z][^:\n]*)", reply_format(generation_rubric()), re.MULTILINE))
        assert {" ".join(name.casefold().replace("judgement", "judgment").split()) for name in found} <= RESERVED

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        not_text = tmp_path / "latin.toml"
        not_text.write_bytes(OWN.encode() + 'note = "é"'.encode("latin-1"))
        for source in (tmp_path / "missing.toml", tmp_path, not_text, "no\0file", "generation2"):
            with pytest.raises(ConfigError) as caught:
                load_rubric(source)
            said = str(caught.value)
            assert said.startswith(f"Rubric {str(source)!r} is neither built in (generation, edit, ")
            assert ") nor a readable" in said
            assert said.endswith(".")

    def test_the_file_is_named_in_mistakes_of_its_content(self, tmp_path: Path) -> None:
        path = tmp_path / "own.toml"
        path.write_text(changed("weight = 3", "wieght = 3"))
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load_rubric(path)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@st.composite
def dimensions(draw: st.DrawFn, number: int, scale: Scale) -> Dimension:
    levels = draw(st.lists(st.floats(scale.minimum, scale.maximum, width=16), max_size=4, unique=True))
    return Dimension(
        key=f"{draw(st.sampled_from(['key', 'größe', '鍵']))}_{number}",
        title=draw(st.sampled_from(["Mood", 'The "real" \\ thing', "3D 形", "Größe & Farbe", "A=B"])) + f" {number}",
        question=draw(texts),
        anchors=tuple((level, draw(texts).strip()) for level in sorted(levels, reverse=True)),
        optional=number > 1 and draw(st.booleans()),
        weight=draw(st.floats(0, 1000).filter(lambda weight: number > 1 or weight > 0)),
    )


@st.composite
def rubrics(draw: st.DrawFn) -> Rubric:
    low = draw(st.integers(0, 98))
    scale = Scale(minimum=low, maximum=draw(st.integers(low + 1, 100)), decimals=draw(st.sampled_from([0, 1, 2])))
    return Rubric(
        name=draw(texts),
        kind=draw(st.sampled_from(["generation", "edit"])),
        dimensions=tuple(draw(dimensions(number, scale)) for number in range(1, draw(st.integers(1, 4)) + 1)),
        scale=scale,
        layout=draw(st.builds(Layout, *(), **dict.fromkeys(("analysis", "score_first", "guidelines"), st.booleans()))),
        wording=draw(st.builds(Wording, system=texts, request_label=texts, methodology=texts, output=texts)),
        pairwise=draw(st.builds(PairwiseWording, system=texts, first_label=texts)),
    )


class TestRoundTrip:
    @settings(max_examples=150, deadline=None)
    @given(rubrics())
    def test_a_written_rubric_is_read_back(self, rubric: Rubric) -> None:
        assert parse_rubric(rubric_to_toml(rubric), "own.toml") == rubric

    @pytest.mark.parametrize("rubric", [generation_rubric(), edit_rubric()], ids=["generation", "edit"])
    def test_built_in(self, rubric: Rubric, tmp_path: Path) -> None:
        path = tmp_path / "own.toml"
        path.write_text(rubric_to_toml(rubric), encoding="utf-8")
        assert load_rubric(path) == rubric
        assert load_rubric(path) != replace(rubric, name="other")

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(OWN.splitlines()), max_size=25).map("\n".join))
    def test_shuffled_lines_are_a_rubric_or_a_sentence(self, text: str) -> None:
        try:
            rubric = parse_rubric(text, "own.toml")
        except ConfigError as error:
            assert str(error).startswith("own.toml")
        else:
            assert parse_rubric(rubric_to_toml(rubric), "own.toml") == rubric
