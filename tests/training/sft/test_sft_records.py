"""Chat-format JSONL: what is read, and that every mistake names its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.errors import ConfigError
from training.sft.records import ChatFile, chat_record


def row(**changes: Any) -> dict[str, Any]:
    user = [{"type": "text", "text": "Image "}, {"type": "image", "image": "images/a.png"}]
    return {
        "messages": [
            {"role": "system", "content": "Judge."},
            {"role": "user", "content": user},
            {"role": "assistant", "content": [{"type": "text", "text": "# Summary: fine"}]},
        ],
        "images": ["images/a.png"],
        "request_id": "r1",
        **changes,
    }


def with_messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return row(messages=list(messages), images=[])


USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi"}


def test_a_line_is_read(tmp_path: Path) -> None:
    record = chat_record(row(), tmp_path, "train.jsonl:1")
    assert [turn.role for turn in record.turns] == ["system", "user"]
    assert record.turns[1].parts == ("Image ", tmp_path / "images/a.png")
    assert (record.answer, record.request_id) == ("# Summary: fine", "r1")


def test_images_are_loaded_as_rgb(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGBA", (4, 6), (9, 8, 7, 255)).save(tmp_path / "images/a.png")
    messages = chat_record(row(), tmp_path, "x").messages()
    assert messages[1].images[0].mode == "RGB"
    assert messages[1].images[0].size == (4, 6)


def test_sharegpt_markers_place_the_listed_images(tmp_path: Path) -> None:
    table = row(messages=[{"role": "user", "content": "a <image> b<image>"}, ANSWER], images=["1.png", "2.png"])
    assert chat_record(table, tmp_path, "x").turns[0].parts == ("a ", tmp_path / "1.png", " b", tmp_path / "2.png")


def test_a_marker_in_user_text_places_nothing(tmp_path: Path) -> None:
    """Without listed images a text is a text; in a list of parts it always is."""
    assert chat_record(with_messages({"role": "user", "content": "draw <image>"}, ANSWER), tmp_path, "x").images == ()
    parts = [{"type": "text", "text": "draw <image> "}, {"type": "image", "image": "images/a.png"}]
    table = row(messages=[{"role": "user", "content": parts}, ANSWER])
    assert chat_record(table, tmp_path, "x").turns[0].parts[0] == "draw <image> "


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "'messages' must be a list"),
        (with_messages(ANSWER), "'messages' must be a list"),
        (row(images="a.png"), "'images' must be a list"),
        (row(images=["images/a.png", "images/b.png"]), "2 images are listed and 1 are placed"),
        (row(images=[]) | {"messages": [{"role": "user", "content": [{"type": "image"}]}, ANSWER]}, "more images than"),
        (with_messages(USER, {"role": "user", "content": "x"}), "last message must be the assistant's"),
        (with_messages(USER, ANSWER, USER, ANSWER), "one user message"),
        (with_messages(USER, {"role": "assistant", "content": " \n"}), "answer is empty"),
        (with_messages(USER, {"role": "assistant", "content": "a\ud800"}), "half of a character"),
        (with_messages({"role": "user", "content": "\udfff"}, ANSWER), "half of a character"),
        (with_messages({"role": "tool", "content": "x"}, ANSWER), "role must be"),
        (with_messages({"role": "user", "content": 3}, ANSWER), "content must be"),
        (with_messages({"role": "user", "content": [{"type": "video"}]}, ANSWER), "part must be a text or an image"),
        (
            with_messages({"role": "user", "content": [{"type": "image", "image": "../../etc/passwd"}]}, ANSWER),
            "must be a path inside",
        ),
        (with_messages({"role": "user", "content": [{"type": "image", "image": "/x.png"}]}, ANSWER), "inside"),
    ],
)
def test_mistakes_name_the_line(table: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        chat_record(table, tmp_path, "train.jsonl:7")
    assert str(raised.value).startswith("train.jsonl:7: ")


class TestChatFile:
    def test_lines_are_found_by_position(self, tmp_path: Path) -> None:
        path = tmp_path / "train.jsonl"
        lines = [json.dumps(row(request_id=name), ensure_ascii=False) for name in ("ä", "b", "ç")]
        path.write_text(lines[0] + "\n\n" + "\n".join(lines[1:]), encoding="utf-8")
        file = ChatFile(path)
        assert [file[i].request_id for i in (2, 0, 1)] == ["ç", "ä", "b"]
        assert file[1].origin == f"{path}:3"
        assert len(file) == 3

    def test_a_broken_line_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "train.jsonl"
        path.write_text(json.dumps(row()) + '\n{"messages": [\n')
        with pytest.raises(ConfigError, match=r"train\.jsonl:2: not a line of JSON"):
            ChatFile(path)[1]

    def test_missing_and_empty_files(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="parrot export"):
            ChatFile(tmp_path / "train.jsonl")
        (tmp_path / "train.jsonl").write_text("\n")
        with pytest.raises(ConfigError, match="no examples"):
            ChatFile(tmp_path / "train.jsonl")
