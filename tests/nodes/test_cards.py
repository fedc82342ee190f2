"""Cards, temp pictures, and critiques as Markdown: whatever a model wrote is text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.nodes.comfy_stub import Pack

HOSTILE = (
    "<img src=x onerror=alert(1)> ![pixel](http://evil/x.png) [a](javascript:b) **bold** `code` | cell\n# head\n1. one"
)


@pytest.fixture
def critiques(pack: Pack) -> Callable[..., Any]:
    """Critiques of (faithfulness, quality, text) scores; None is an unscored image."""

    def make(*scores: tuple[float, float, float | None] | None, said: str = "evidence") -> Any:
        core = pack.core("critique")
        keys = ("text_faithfulness", "physical_quality", "text_rendering")
        outcomes = [
            core.Unscored(reason="truncated", message=f"The reply was cut off: {said}")
            if row is None
            else core.Critique(
                rubric="generation",
                judgements=tuple(
                    core.Judgement(key=k, justification=said, score=s) for k, s in zip(keys, row, strict=True)
                ),
                summary=said,
                refinement=core.Refinement(comments=said, request=said),
            )
            for row in scores
        ]
        return pack.module("nodes.sockets").Critiques(
            request=pack.core("messages").UserRequest("a cat"),
            rubric=pack.core("rubric_file").generation_rubric(),
            outcomes=tuple(outcomes),
            notes=("Judged at fewer pixels.",),
        )

    return make


def test_a_card_says_everything(pack: Pack, critiques: Callable[..., Any]) -> None:
    image = {"filename": "a.png", "subfolder": "", "type": "temp"}
    cards = pack.module("nodes.show.cards").critique_cards(
        critiques((4.0, 2.5, None), None), [image, None], {"physical_quality": 3.0}, 0.5
    )
    scored, unscored = cards
    assert scored["reward"] == pytest.approx(0.75)
    assert scored["passed"] is False, "physical quality is below its minimum"
    assert scored["unscored"] is None
    assert scored["image"] == image
    assert scored["scale"] == {"minimum": 1.0, "maximum": 4.0}
    assert scored["request"] == "a cat"
    assert [(d["key"], d["score"], d["minimum"]) for d in scored["dimensions"]] == [
        ("text_faithfulness", 4.0, None),
        ("physical_quality", 2.5, 3.0),
        ("text_rendering", None, None),
    ]
    assert scored["refinement"] == {"comments": "evidence", "request": "evidence"}
    assert unscored["reward"] is None
    assert unscored["passed"] is False
    assert unscored["unscored"]["reason"] == "truncated"
    assert unscored["dimensions"] == []
    assert set(unscored) == set(scored)
    json.dumps(cards, allow_nan=False)


def test_a_card_without_a_threshold_passes_nothing_and_fails_nothing(pack: Pack, critiques: Callable[..., Any]) -> None:
    cards = pack.module("nodes.show.cards").critique_cards(critiques((4.0, 4.0, 4.0), None))
    assert [card["passed"] for card in cards] == [None, None]
    assert [card["image"] for card in cards] == [None, None]


def test_temp_pictures_are_named_by_content(pack: Pack) -> None:
    import folder_paths

    save = pack.module("nodes.show.previews").save_temp_image
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first, again, other = save(red, "loop"), save(red.copy(), "loop"), save(blue, "loop")
    assert first == again
    assert first["filename"] != other["filename"]
    assert (first["subfolder"], first["type"]) == ("", "temp")
    folder = Path(folder_paths.get_temp_directory())
    with Image.open(folder / first["filename"]) as written:
        assert written.format == "WEBP"
        assert written.convert("RGB").tobytes() == red.tobytes()
    assert not list(folder.glob("*.part"))


def test_noise_and_long_pictures_are_kept_to_the_last_bit(pack: Pack) -> None:
    import folder_paths

    noise = Image.frombytes("RGB", (64, 48), bytes(range(256)) * 36)
    strip = Image.new("RGB", (16_400, 2), "teal")
    for picture in (noise, strip):
        saved = pack.module("nodes.show.previews").save_temp_image(picture)["filename"]
        with Image.open(Path(folder_paths.get_temp_directory()) / saved) as written:
            assert written.convert("RGB").tobytes() == picture.tobytes()


def test_pictures_are_saved_beside_the_judging(pack: Pack) -> None:
    """The encoder has threads of its own, and the same picture is written once, whoever asks."""
    import folder_paths

    previews = pack.module("nodes.show.previews")
    first, second = (picture.result() for picture in previews.start_saving([Image.new("RGB", (9, 9), "navy")] * 2))
    assert first == second == previews.save_temp_image(Image.new("RGB", (9, 9), "navy"))
    assert (Path(folder_paths.get_temp_directory()) / first["filename"]).is_file()


def test_a_prefix_cannot_leave_the_folder(pack: Pack) -> None:
    name = pack.module("nodes.show.previews").save_temp_image(Image.new("RGB", (2, 2)), "../../etc/x y\\z" + "a" * 300)[
        "filename"
    ]
    assert "/" not in name
    assert "\\" not in name
    assert ".." not in name
    assert len(name) < 100


def test_a_write_that_breaks_leaves_nothing(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    def broken(self: Any, file: Any, **options: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", broken)
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)  # ComfyUI has one once a picture was kept, as other tests do
    before = sorted(folder.iterdir())
    with pytest.raises(KeyboardInterrupt):
        pack.module("nodes.show.previews").save_temp_image(Image.new("RGB", (3, 3), "green"), "x")
    assert sorted(folder.iterdir()) == before


def test_markdown_shows_hostile_text_as_text(pack: Pack, critiques: Callable[..., Any]) -> None:
    text = pack.module("nodes.show.markdown").markdown(critiques((4.0, 2.5, None), None, said=HOSTILE))
    assert "<img" not in text
    assert "](" not in text.replace("\\](", "")
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "\n# head" not in text
    assert "\\# head" in text
    assert "1\\. one" in text
    assert "## Image 1 of 2" in text
    assert "| Text Rendering | N/A |" in text
    assert "**Unscored** (truncated)" in text
    assert text.endswith("Judged at fewer pixels.")


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab1 \t\n<>&#*_-+=.()[]!`~|\\\\:/\"'{}", max_size=40))
def test_any_text_is_only_text_to_a_markdown_reader(pack: Pack, said: str) -> None:
    reader = (
        pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    )
    shown = reader.render(pack.module("nodes.show.markdown").as_text(said))
    assert not re.sub(r"</?p>|<br />", "", shown).count("<"), shown
    assert html.unescape(re.sub(r"<[^>]*>", "", shown)).split() == said.split()


def test_plain_and_scores_only(pack: Pack, critiques: Callable[..., Any]) -> None:
    written = pack.module("nodes.show.markdown")
    two = critiques((4.0, 2.5, None), None)
    assert written.scores_only(two) == (
        "reward 0.750, text_faithfulness 4.0, physical_quality 2.5, text_rendering N/A\nreward unscored (truncated)"
    )
    plain = written.plain(two, [0])
    assert "Reward 0.750\n" in plain
    assert "Text Rendering: N/A. evidence." in plain
    assert "Refined request: evidence" in plain


def test_word_diff(pack: Pack) -> None:
    diff = pack.module("nodes.show.markdown").word_diff
    assert diff("a red cat", "a blue cat, sharp") == "a ~~red~~ **blue** cat, **sharp**"
    assert diff("a cat", "a cat") == "a cat"
    assert diff("", "<b>x</b>") == "**&lt;b&gt;x&lt;/b&gt;**"


def test_word_diff_of_endless_repetition(pack: Pack) -> None:
    """The test hangs if every word is compared with every other."""
    text = pack.module("nodes.show.markdown").word_diff("very " * 9_000 + "red", "very " * 9_500 + "blue")
    assert text.endswith("blue**")
