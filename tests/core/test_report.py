"""The report is one self-contained page, and text in it is text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.loop.refine_loop import LoopEnd, RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.report import Figure, ReportRow, write_report
from rationalrewards_core.report.parts import Line, line_chart, word_diff
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Text = Callable[..., str]
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> & "quotes"'


def ended(script: list[str], text: str, sources: tuple[Image.Image, ...] = ()) -> LoopEnd:
    scorer = Scorer(ScriptedBackend(script), settings=ScorerSettings(guided=False, ask_again=0))
    loop = RefineLoop(scorer, lambda request, seed: Image.new("RGB", (16, 16), (seed % 256, 90, 90)))
    return asyncio.run(loop.run(UserRequest(text, sources)))


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_shows_images_words_scores_and_the_diff(reply_text: Text, tmp_path: Path) -> None:
    end = ended([reply_text(2.0, refined="a black cat on a mat"), reply_text(4.0, 4.0)], "a cat on a mat")
    write_report(
        tmp_path / "deep" / "report.html",
        [ReportRow(end.state, end.reason, generation_rubric(), "oracle 0.5")],
        title="Title",
        lead="Lead",
        figures=[Figure("0.42", "reward", "note")],
        lines=[Line("loop", [0.3, 0.8], "#123456")],
    )
    page = page_of(tmp_path / "deep" / "report.html")
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 4, "before, after, and both in the strip"
    assert all((a["src"] or "").startswith("data:image/png;base64,") and a["alt"] for a in images)
    for shown in (
        "Title",
        "0.42",
        "Most of it is there.",
        "Text Faithfulness",
        "N/A",
        "The threshold is reached.",
        "oracle 0.5",
    ):
        assert shown in page.text, shown
    assert ("ins", {}) in page.tags
    assert any(tag == "polyline" for tag, _ in page.tags)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(reply_text: Text, tmp_path: Path) -> None:
    end = ended([reply_text(2.0, refined=HOSTILE, analysis=HOSTILE), reply_text(2.0)] * 2, HOSTILE)
    write_report(
        tmp_path / "r.html", [ReportRow(end.state, end.reason, generation_rubric())], title=HOSTILE, lead=HOSTILE
    )
    page = page_of(tmp_path / "r.html")
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "link", "base"} == set()
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    sources = [value or "" for _, a in page.tags for name, value in a.items() if name in ("src", "href")]
    assert all(value.startswith("data:") for value in sources)
    style = (tmp_path / "r.html").read_text()
    assert not re.search(r"url\(|@import|https?://", style.split("</style>")[0])
    assert HOSTILE in page.text


def test_unscored_steps_say_why(tmp_path: Path) -> None:
    end = ended(["I cannot judge this."] * 4, "a cat")
    write_report(tmp_path / "r.html", [ReportRow(end.state, end.reason, generation_rubric())], title="t", lead="l")
    text = page_of(tmp_path / "r.html").text
    assert "Unscored (no_judgement)" in text
    assert "0.00" not in text


def test_edit_reports_show_the_source(tmp_path: Path, picture: Image.Image) -> None:
    end = ended(["nothing"] * 4, "make it blue", (picture,))
    write_report(tmp_path / "r.html", [ReportRow(end.state, end.reason, edit_rubric())], title="t", lead="l")
    assert ("source") in page_of(tmp_path / "r.html").text


def test_word_diff() -> None:
    assert word_diff("a red cat", "a red cat") == "a red cat"
    assert word_diff("a cat sits", "a black cat sits") == "a <ins>black</ins> cat sits"
    assert word_diff("a cat", "a dog") == "a <del>cat</del> <ins>dog</ins>"
    assert "<b>" not in word_diff("<b>", "<i>")


def test_charts_of_nothing_are_empty() -> None:
    assert line_chart([], "x", "y") == ""
    assert line_chart([Line("a", [], "red")], "x", "y") == ""
    assert "nan" not in line_chart([Line("a", [0.5], "red")], "x", "y")
