"""Changing a built-in rubric by a piece of TOML: `with_dimensions`."""

from __future__ import annotations

import pytest

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import with_dimensions

MOOD = """
[[dimensions]]
key = "mood"
title = "Mood"
optional = true
[dimensions.anchors]
4 = "As asked."
"""


def test_nothing_changes_nothing(generation: Rubric) -> None:
    assert with_dimensions(generation, "# only a comment\n", "dimensions") == generation


def test_a_new_key_is_added_last(generation: Rubric) -> None:
    rubric = with_dimensions(generation, MOOD, "dimensions")
    assert [d.key for d in rubric.dimensions] == [*(d.key for d in generation.dimensions), "mood"]
    assert rubric.dimension("mood").optional
    assert rubric.dimension("mood").anchors == ((4.0, "As asked."),)


def test_a_known_key_changes_only_what_is_named(generation: Rubric) -> None:
    text = '[[dimensions]]\nkey = "text_rendering"\ntitle = "Lettering"\nweight = 2\n'
    rubric = with_dimensions(generation, text, "dimensions")
    before, after = generation.dimension("text_rendering"), rubric.dimension("text_rendering")
    assert (after.title, after.weight) == ("Lettering", 2.0)
    assert (after.question, after.anchors, after.optional) == (before.question, before.anchors, before.optional)
    assert rubric.dimensions[:2] == generation.dimensions[:2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[dimensions", "not valid TOML"),
        ("name = 'x'", "unknown key 'name'"),
        ("dimensions = 3", "must be \\[\\[dimensions\\]\\]"),
        ("dimensions = [3]", "must be a table"),
        ("[[dimensions]]\nkey = 'mood'", "needs 'title'"),
        ("[[dimensions]]\ntitle = 'Mood'", "needs 'key'"),
        ("[[dimensions]]\nkey = ['a']\ntitle = 'Mood'", "needs 'key'"),
        ("[[dimensions]]\nkey = 'mood'\ntitle = 'Score'", "heading of the reply"),
        ("[[dimensions]]\nkey = 'mood'\ntitle = 'Mood'\nminimum = 3", "unknown key 'minimum'"),
        ("[[dimensions]]\nkey = 'text_rendering'\nweight = 'heavy'", "weight must be a number"),
        ("[[dimensions]]\nkey = 'mood'\ntitle = 'Text Rendering'", "two dimensions"),
        ("[[dimensions]]\nkey = 'mood'\ntitle = 'Mood'\n[dimensions.anchors]\n9 = 'x'", "outside the scale"),
    ],
)
def test_every_mistake_is_one_sentence_that_names_its_place(generation: Rubric, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        with_dimensions(generation, text, "dimensions")
    assert str(caught.value).startswith("dimensions")
