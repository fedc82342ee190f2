"""Pick Best, Judge Two Images, Critique to Text and Custom Rubric."""

from __future__ import annotations

import asyncio
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from tests.nodes.comfy_stub import ExecutionBlocker, Pack

PAIR = """# Detailed Judgement
1. Text Faithfulness:
## Justification: <b>A</b> shows it.
## Score A: {a}
## Score B: {b}
## Winner: {winner}
2. Physical and Visual Quality:
## Justification: Both are clean.
## Score A: 3.0
## Score B: 3.0
## Winner: It's a tie
3. Text Rendering:
## Justification: No text.
## Score A: N/A
## Score B: N/A
## Winner: N/A
# Summary: Decided."""


@pytest.fixture
def critiques(pack: Pack, scorer: Any, images: Any) -> Any:
    node = pack.module("nodes.rational_critique").RationalCritique
    judge = scorer((2.0, 2.0, None), "unreadable", (4.0, 3.0, 4.0))
    return asyncio.run(node.execute(judge, images(3), "a cat"))[0]


def test_pick_best_by_critique(pack: Pack, critiques: Any, images: Any) -> None:
    batch = images(3)
    image, index, reward = pack.module("nodes.pick_best").PickBest.execute([batch], [critiques]).args
    assert image.equal(batch[2:3])
    assert (index, reward) == (2, pytest.approx(8 / 9))


def test_pick_best_by_rewards_and_from_lists_of_batches(pack: Pack, images: Any) -> None:
    node = pack.module("nodes.pick_best").PickBest
    small, large = images(2), images(1, side=16)
    image, index, reward = node.execute([small, large], rewards=[0.1, math.nan, 0.7]).args
    assert image.equal(large)
    assert (index, reward) == (2, 0.7)
    assert node.execute([small], rewards=[0.5, 0.5])[1] == 0, "the first of equals"


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_pick_best_takes_no_broken_number_for_a_reward(pack: Pack, images: Any, broken: float) -> None:
    node = pack.module("nodes.pick_best").PickBest
    assert node.execute([images(3)], rewards=[broken, 0.1, broken])[1:] == (1, 0.1)
    blocked = node.execute([images(2)], rewards=[broken, broken])
    assert all(isinstance(value, ExecutionBlocker) for value in blocked.args)


def test_pick_best_says_what_is_wrong(pack: Pack, critiques: Any, images: Any) -> None:
    node, error = pack.module("nodes.pick_best").PickBest, pack.core("errors").ConfigError
    with pytest.raises(error, match="either critique or rewards"):
        node.execute([images(1)])
    with pytest.raises(error, match="either critique or rewards"):
        node.execute([images(3)], [critiques], [1.0])
    with pytest.raises(error, match="2 images and 3 rewards"):
        node.execute([images(2)], [critiques])
    blocked = node.execute([images(1)], rewards=[math.nan])
    assert all(isinstance(value, ExecutionBlocker) for value in blocked.args)


@pytest.fixture
def compare(pack: Pack) -> Any:
    node = pack.module("nodes.compare_images").CompareImages
    return lambda scorer, a, b, method="pointwise", **more: asyncio.run(
        node.execute(scorer, a, b, "a cat", method, **more)
    )


def test_pointwise(compare: Any, scorer: Any, images: Any) -> None:
    a, b = images(2)[:1], images(2)[1:]
    winner, better, report, margin, agree = compare(scorer((2.0, 4.0, None), (4.0, 4.0, None)), a, b).args
    assert (winner, margin, agree) == ("B", pytest.approx(-1 / 3), True)
    assert better.equal(b)
    assert "**Image B is better**" in report


def test_pairwise_in_both_orders(compare: Any, scorer: Any, images: Any) -> None:
    a, b = images(2)[:1], images(2)[1:]
    forward = PAIR.format(a="4.0", b="2.0", winner="Image A")
    backward = PAIR.format(a="2.0", b="4.0", winner="Image B")
    judge = scorer(forward, backward)
    winner, better, report, margin, agree = compare(judge, a, b, "pairwise").args
    assert (winner, agree) == ("A", True)
    assert better.equal(a)
    assert margin == pytest.approx(1 / 3)
    assert "&lt;b&gt;A&lt;/b&gt;" in report
    assert judge.calls[0]["method"] == "pairwise"
    swayed = compare(scorer(forward, forward), a, b, "pairwise")
    assert (swayed[0], swayed[4]) == ("TIE", False)
    assert "two orders disagree" in swayed[2]


def test_batches_are_not_compared(pack: Pack, compare: Any, scorer: Any, images: Any) -> None:
    with pytest.raises(pack.core("errors").RequestError, match="Image B is a batch of 2"):
        compare(scorer(), images(1), images(2))


def test_critique_to_text(pack: Pack, critiques: Any) -> None:
    node = pack.module("nodes.critique_to_text").CritiqueToText
    assert "## Image 3 of 3" in node.execute(critiques, -1, "markdown")[0]
    assert "Image 1 of 3" not in node.execute(critiques, 2, "plain")[0]
    assert node.execute(critiques, 1, "scores only")[0].startswith("reward unscored")
    assert len(json.loads(node.execute(critiques, -1, "json")[0])["outcomes"]) == 3
    assert json.loads(node.execute(critiques, 0, "json")[0])[0]["judgements"][0]["score"] == 2.0
    with pytest.raises(pack.core("errors").ConfigError, match="index is 3, and there are 3"):
        node.execute(critiques, 3, "markdown")


def test_custom_rubric(pack: Pack) -> None:
    module = pack.module("nodes.custom_rubric")
    rubric = module.CustomRubric.execute("edit", "image_faithfulness=2", module.EXAMPLE, " mine ")[0]
    assert (rubric.name, rubric.kind, rubric.dimension("image_faithfulness").weight) == ("mine", "edit", 2.0)
    assert len(rubric.dimensions) == 4, "the example is commented out"
    uncommented = "\n".join(line.removeprefix("# ") for line in module.EXAMPLE.splitlines())
    own = module.CustomRubric.execute("generation", "mood=3", uncommented, "")[0]
    assert (own.name, own.dimension("mood").weight, own.dimension("mood").title) == ("custom", 3.0, "Mood")


def test_custom_rubric_of_a_scorers_own(pack: Pack, scorer: Any) -> None:
    node = pack.module("nodes.custom_rubric").CustomRubric
    assert len(node.execute("edit", "image_faithfulness=2", "", "x", scorer=scorer())[0].dimensions) == 4
    generation = pack.core("rubric_file").generation_rubric()
    only = SimpleNamespace(rubric_for=lambda request: generation)
    with pytest.raises(pack.core("errors").ConfigError, match="choose generation as the base"):
        node.execute("edit", "", "", "x", scorer=only)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"base": "http://evil"}, "base must be one of"),
        ({"base": "../../etc/passwd"}, "base must be one of"),
        ({"weights": "mood=1"}, "no dimension 'mood'"),
        ({"dimensions": "key ="}, "not valid TOML"),
        ({"dimensions": "x" * 60_000}, "60000 characters"),
        ({"dimensions": "[[dimensions]]\nkey='a b'\ntitle='A'"}, "must be an identifier"),
    ],
)
def test_custom_rubric_mistakes(pack: Pack, typed: dict[str, str], said: str) -> None:
    node = pack.module("nodes.custom_rubric").CustomRubric
    with pytest.raises(pack.core("errors").ConfigError, match=said):
        node.execute(**{"base": "generation", "weights": "", "dimensions": "", "name": "x", **typed})


WRITTEN = "\n".join(
    f"{n}. {title} (weight {6 - n})\nQuestion: Is it there?\n4: Yes.\n3: Nearly.\n2: Hardly.\n1: No."
    for n, title in enumerate(("Red Umbrella", "Three Cats"), 1)
)


def test_write_rubric_shows_what_the_model_wrote(pack: Pack, scorer: Any) -> None:
    node = pack.module("nodes.write_rubric").WriteRubric
    judge = scorer(WRITTEN)
    out = asyncio.run(node.execute(judge, "three cats under a red umbrella"))
    rubric, toml = out[0], out[1]
    assert [(d.title, d.weight) for d in rubric.dimensions] == [("Red Umbrella", 5.0), ("Three Cats", 4.0)]
    assert judge.calls[0]["request"].text == "three cats under a red umbrella"
    assert pack.core("rubric_file").parse_rubric(toml, "text") == rubric


def test_write_rubric_asks_nothing_for_a_text(pack: Pack, scorer: Any) -> None:
    node = pack.module("nodes.write_rubric").WriteRubric
    toml = asyncio.run(node.execute(scorer(WRITTEN), "cats"))[1].replace("weight = 5.0", "weight = 1.5")
    judge = scorer()
    edited = asyncio.run(node.execute(judge, "cats", toml))[0]
    assert [d.weight for d in edited.dimensions] == [1.5, 4.0]
    assert not judge.calls
    errors = pack.core("errors")
    for text, message in ((MARKUP, "text is not valid TOML"), ("x" * 60_000, "60000 characters")):
        with pytest.raises(errors.ConfigError, match=message):
            asyncio.run(node.execute(judge, "cats", text))


def test_write_rubric_stops_at_what_is_no_rubric(pack: Pack, scorer: Any) -> None:
    node = pack.module("nodes.write_rubric").WriteRubric
    with pytest.raises(pack.core("errors").CritiqueParseError, match="is no rubric"):
        asyncio.run(node.execute(scorer("I would rather not."), "cats"))
    with pytest.raises(pack.core("errors").RequestError, match="request is empty"):
        asyncio.run(node.execute(scorer(), " "))


MARKUP = "<img src=x onerror=alert(1)> {braces} # Summary:"


def test_judge_two_images_by_a_judge_that_compares(pack: Pack, scorer: Any, images: Any) -> None:
    """The report and the margin come from its votes; another method is refused by name."""
    node = pack.module("nodes.compare_images").CompareImages
    profile = pack.core("rubric_file").load_rubric("skyjm-gen")
    judge = scorer("It is <b>sharper</b>. \\boxed{B}", "No cat. \\boxed{A}")
    judge.rubric_for = lambda request: profile
    pair = images(2)
    winner, _, report, margin, orders = asyncio.run(node.execute(judge, pair[:1], pair[1:], "a cat", "pairwise")).args
    assert (winner, margin, orders) == ("B", -1.0, True)
    assert "| Preference | 0.0 | 1.0 |" in report
    with pytest.raises(pack.core("errors").ConfigError, match="choose the method pairwise"):
        asyncio.run(node.execute(judge, pair[:1], pair[1:], "a cat", "pointwise"))
