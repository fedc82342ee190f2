"""What the miniature declares that it can judge and draw, as it reads on the command line, over HTTP and in a loop."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.engines import EngineName, EngineOptions, make_scorer, scope_of
from rationalrewards_core.errors import OutOfScopeError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.edits import sample_edit
from rationalrewards_core.miniature.flaws import complete
from rationalrewards_core.miniature.scope import check_drawable, check_judgeable, strange_words
from rationalrewards_core.miniature.truth import PictureContent, judge_edit, judge_generation
from rationalrewards_core.miniature.world import detailed_request, sample_wish, short_request
from rationalrewards_core.serving.server import ServeConfig, make_app
from tests.core.serving import encoded

PHOTO = "a photo of a cat wearing a top hat, cinematic light"
JUDGE = "https://huggingface.co/TIGER-Lab/RationalRewards-8B-T2I"
PICTURE = Image.new("RGB", (48, 48), (120, 120, 120))


def test_everything_that_the_world_and_its_judge_write_is_judged() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        wish, other = sample_wish(rng, omit=0.3), complete(rng, sample_wish(rng))
        edit = sample_edit(rng, other)
        refined = judge_generation(wish, PictureContent(other)).refinement
        edited = judge_edit(edit, other, PictureContent(complete(rng, sample_wish(rng)))).refinement
        assert refined is not None
        assert edited is not None
        for text in (short_request(wish), detailed_request(wish), refined.request):
            check_judgeable(UserRequest(text))
            check_drawable(text)
        for text in (str(edit), edited.request):
            check_judgeable(UserRequest(text, (PICTURE,)))


@pytest.mark.parametrize(
    "text",
    [
        "red circle",
        "Circle, red, large; sharp!",
        "A BLUE square\non the left",
        "a red circle with the word “OK”",
        "triangle",
    ],
)
def test_other_wordings_of_it_are_judged_too(text: str) -> None:
    check_judgeable(UserRequest(text))


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        (PHOTO, "'photo', 'cat', 'wearing', ..."),
        ("a red circle on a photo", "'photo'"),
        ("一个红色的圆", "'一个红色的圆'"),
        ('a circle with the word "AURORA"', "'AURORA'"),
        ("3 red circles", "'3', 'circles'"),
    ],
)
def test_what_it_does_not_know_is_named_with_the_place_of_the_real_judge(text: str, strange: str) -> None:
    with pytest.raises(OutOfScopeError) as caught:
        check_judgeable(UserRequest(text))
    assert f"does not know {strange}; for everything else choose the engine local" in str(caught.value)
    assert str(caught.value).endswith(f"{JUDGE}.")
    assert str(caught.value).count(". ") == 0, "one sentence"


def test_an_edit_is_told_of_the_judge_of_edits_and_a_request_of_nothing_is_refused() -> None:
    with pytest.raises(OutOfScopeError, match=r"make the circle green.*RationalRewards-8B-Edit"):
        check_judgeable(UserRequest("give the cat a hat", (PICTURE,)))
    with pytest.raises(OutOfScopeError, match="The miniature judges only"):
        check_judgeable(UserRequest("a large red one"))


def test_only_the_miniature_as_shipped_declares_a_scope() -> None:
    assert scope_of(EngineName("miniature")) is check_judgeable
    assert scope_of(EngineName("miniature"), "runs/mine") is None
    assert scope_of(EngineName("local", "models/8B")) is None
    assert scope_of(EngineName("server", "judge")) is None


def test_the_generator_draws_only_where_there_is_a_shape() -> None:
    with pytest.raises(
        OutOfScopeError, match=r"draws only circles, squares and triangles.*does not know 'photo', 'cat'"
    ):
        check_drawable("a photo of a cat")
    check_drawable("a photo of a red circle")
    assert strange_words("a photo of a red circle") == ["photo"]


def test_the_command_line_gives_no_number(tmp_path: Path, capsys: Any) -> None:
    PICTURE.save(tmp_path / "cat.png")
    arguments = [str(tmp_path / "cat.png"), "--prompt", PHOTO, "--backend", "miniature", "--json"]
    assert main(["critique", *arguments]) == 3
    shown = capsys.readouterr().out
    assert '"out_of_scope"' in shown
    assert JUDGE in shown
    assert main(["compare", arguments[0], *arguments]) != 0
    assert JUDGE in "".join(capsys.readouterr())


def test_http_answers_with_the_reason_for_one_item_alone() -> None:
    async def asked() -> Any:
        scorer = make_scorer("miniature", EngineOptions(device="cpu"))
        async with TestClient(TestServer(make_app(scorer, ServeConfig()))) as client:
            answer = await client.post("/v1/critique", json={"request": PHOTO, "image": encoded(PICTURE)})
            return answer.status, await answer.json()

    status, answer = asyncio.run(asked())
    assert status == 200
    assert answer["reward"] is None
    assert answer["unscored"]["reason"] == "out_of_scope"
    assert JUDGE in answer["unscored"]["message"]


def test_a_loop_stops_at_once_and_says_why(tmp_path: Path, capsys: Any) -> None:
    PICTURE.save(tmp_path / "cat.png")
    copy = tmp_path / "draw.py"
    copy.write_text("import shutil, sys\nshutil.copy(sys.argv[1], sys.argv[3])\n")
    drawn = f"command:{sys.executable} {copy} {tmp_path}/cat.png {{prompt}} {{out}}"
    asked = [
        "refine",
        "--prompt",
        PHOTO,
        "--backend",
        "miniature",
        "--generator",
        drawn,
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*asked, "--json"]) == 3
    ended = json.loads(capsys.readouterr().out)
    assert (ended["reason"], ended["steps"]) == ("out_of_scope", 1)
    assert "knows nothing of what the prompt asks for" in ended["ending"]
