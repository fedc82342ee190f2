"""Numbers that JSON and TOML can write and a float cannot hold: a failure of what holds them, never a traceback."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from rationalrewards_core.backends.openai_wire import token_choices
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.jsonl import DamagedLine, read_lines
from rationalrewards_core.numerals import finite_number
from rationalrewards_core.rubric import Scale
from rationalrewards_core.rubric_file import generation_rubric, load_rubric, rubric_to_toml

ENDLESS = 10**400


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (-0.5, -0.5), (ENDLESS, None), (-ENDLESS, None), (math.inf, None), (math.nan, None), (True, None),
     ("3", None), (None, None), ([3], None)],
)  # fmt: skip
def test_a_finite_number_is_one(value: Any, number: float | None) -> None:
    assert finite_number(value) == number


def test_a_line_of_ours_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"x": 1}}\n{{"x": {ENDLESS}}}\n')
    with pytest.raises(DamagedLine, match="line 2 is no record"):
        list(read_lines(file, lambda row: float(row["x"])))


@pytest.mark.parametrize("logprob", [-ENDLESS, ENDLESS, -math.inf, True])
def test_a_probability_that_is_none_is_no_choice(logprob: Any) -> None:
    row = {"token": "a", "logprob": logprob, "top_logprobs": [{"token": "b", "logprob": -0.5}]}
    (choice,) = token_choices({"content": [row]})
    assert choice.alternatives == (("b", math.exp(-0.5)),)


@pytest.mark.parametrize("name", ["maximum", "weight"])
def test_a_rubric_says_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rubric.toml"
    file.write_text(re.sub(rf"{name} = [\d.]+", f"{name} = {ENDLESS}", rubric_to_toml(generation_rubric()), count=1))
    with pytest.raises(ConfigError, match=f"{name} is too large a number"):
        load_rubric(file)


def test_a_scale_says_it() -> None:
    with pytest.raises(ConfigError, match="whole numbers from -100 to 100"):
        Scale(minimum=1, maximum=ENDLESS)
