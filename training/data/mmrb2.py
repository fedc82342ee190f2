"""Multimodal RewardBench 2 in both of its forms: flat Parquet rows, and the nested JSON that its repository builds.

    {"pairs": [{"id": "...", "prompt_content": [["text", "..."], ["image", "input_images/1.jpg"]],
                "response_a": {"model_name": "...", "response_content": [["image", "images/1.jpg"]]},
                "response_b": {...}, "chosen": "A"}]}

Its documents call two of the keys `pair_id` and `model`; its files and programs say `id` and `model_name`. Pairs whose
responses hold words are left out: they are about text and images together, which a judge of images cannot see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rationalrewards_core.errors import ConfigError

from .cells import images_of, label_of
from .importers.intake import Intake, Row, Skip, models_of, text
from .labelled_pairs import LabelledPair
from .pairs import PreferencePair

FLAT: Final = (
    "pair_id", "prompt_text", "prompt_images", "response_a_images", "response_b_images", "chosen", "response_a_model",
    "response_b_model",
)  # fmt: skip
"""Columns of the Parquet form."""
NESTED: Final = "pairs"
"""The one key of the JSON form."""
PAIR_KEYS: Final = ("id", "prompt_content", "response_a", "response_b", "chosen")
RESPONSE_KEYS: Final = ("model_name", "response_content")
PLACEHOLDER: Final = re.compile(r"<image_\d+>")
"""Where an image stands in a flat text."""


def mmrb2_pairs(rows: Iterator[Row], intake: Intake) -> Iterator[LabelledPair]:
    """One pair per row, whichever form it is in; rows that give none are counted."""
    return intake.each(flat_rows(rows), lambda row: _pair(row, intake))


def flat_rows(rows: Iterator[Row]) -> Iterator[Row]:
    """Nested tables as flat rows; flat rows as they are. ConfigError for a nested table of another schema."""
    for row in rows:
        if NESTED not in row:
            yield row
            continue
        if not isinstance(row[NESTED], list):
            raise ConfigError("This file is not mmrb2: its `pairs` is no list.")
        for pair in row[NESTED]:
            yield _flat(pair)


def _flat(pair: Any) -> dict[str, Any]:
    _check(pair, PAIR_KEYS, "a pair")
    row: dict[str, Any] = {"pair_id": pair["id"], "chosen": pair["chosen"]}
    row["prompt_text"], row["prompt_images"] = _content(pair["prompt_content"], "prompt_content")
    for side in ("response_a", "response_b"):
        _check(pair[side], RESPONSE_KEYS, f"{side} of {pair['id']!r}")
        row[f"{side}_model"] = pair[side]["model_name"]
        row[f"{side}_text"], row[f"{side}_images"] = _content(pair[side]["response_content"], f"{side} content")
    return row


def _check(table: Any, keys: tuple[str, ...], what: str) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"This file is not mmrb2: {what} is no object.")
    missing = [key for key in keys if key not in table]
    if missing == ["prompt_content"]:
        raise ConfigError("This file of mmrb2 has responses only; build the benchmark first, as its README says.")
    if missing:
        has = ", ".join(sorted(map(str, table))[:12]) or "nothing"
        raise ConfigError(f"This file is not mmrb2: {what} lacks {missing[0]!r} (it has {has}).")


def _content(parts: Any, what: str) -> tuple[str, list[str]]:
    """`[["text", ...], ["image", ...], ...]` as (text, image paths)."""
    words: list[str] = []
    images: list[str] = []
    for part in parts if isinstance(parts, list) else [None]:
        if not isinstance(part, list) or len(part) != 2 or part[0] not in ("text", "image"):
            raise ConfigError(f'This file is not mmrb2: {what} must be a list of ["text", ...] and ["image", ...].')
        (words if part[0] == "text" else images).append(str(part[1]))
    return "\n".join(words), images


def _pair(row: Row, intake: Intake) -> LabelledPair:
    sides = [images_of(row[f"response_{side}_images"]) for side in "ab"]
    if any(len(images) != 1 for images in sides):
        raise Skip("not one image in each response")
    if any(PLACEHOLDER.sub("", str(row.get(f"response_{side}_text") or "")).strip() for side in "ab"):
        raise Skip("words in a response")
    return LabelledPair(
        PreferencePair(
            request=text(row, "prompt_text"),
            sources=tuple(intake.image(image) for image in images_of(row["prompt_images"])),
            first=intake.image(sides[0][0]),
            second=intake.image(sides[1][0]),
            preference=label_of(row["chosen"]),
            models=models_of(row, "response_a_model", "response_b_model"),
            row=str(row["pair_id"]),
            origin="MMRB2",
            licence="CC-BY-NC-4.0",
        ),
        "test",
    )
