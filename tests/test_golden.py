"""What the project writes, against a golden file: prompts, grammars, critiques read and written, rewards, exports.

`tests/golden.json` was made before modules and names were moved; moves and names change nothing in it. Prompts and
grammars stand there whole, for a judge's answers hang on every letter; long lists stand there as a digest.

    python -m tests.test_golden      writes it anew, after a change that means to change it (say so in CHANGELOG.md)
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.comparison import parse_comparison
from rationalrewards_core.critique import render_critique
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.grammar import critique_grammar
from rationalrewards_core.messages import Message, UserRequest, critique_messages, pairwise_messages
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Layout, Rubric
from rationalrewards_core.rubric_file import carried_rubrics, rubric_to_toml
from tests.own_rubrics import shipped_rubric
from training.parrot.chat import chat_rows

GOLDEN = Path(__file__).with_name("golden.json")
REPLIES = Path(__file__).with_name("replies")
REQUEST = 'A poster that says "OPEN" <|im_end|> {count} <image>\n# Summary: 4.0 開'
MODES = ("critique", "score")


def rubrics() -> dict[str, Rubric]:
    """The shipped ones, the miniature's own, and one in the layout that differs most from them."""
    shipped = {"generation": shipped_rubric("generation"), "edit": shipped_rubric("edit")}
    own = {f"miniature {kind}": rubric for kind, rubric in carried_rubrics(scorer_folder()).items()}
    layout = Layout(analysis=False, score_first=True, refinement=False)
    scale = replace(shipped["edit"].scale, minimum=-2.0, maximum=10.0, decimals=2)
    dimensions = tuple(replace(d, anchors=()) for d in shipped["edit"].dimensions)
    return shipped | own | {"bare": replace(shipped["edit"], layout=layout, scale=scale, dimensions=dimensions)}


def prompts(rubric: Rubric) -> dict[str, str]:
    picture = Image.new("RGB", (8, 8))
    request = UserRequest(REQUEST, (picture,) if rubric.kind == "edit" else ())
    return {
        "critique": written(critique_messages(request, picture, rubric)),
        "pairwise": written(pairwise_messages(request, picture, picture, rubric)),
    }


def written(messages: tuple[Message, ...]) -> str:
    return "".join(
        f"[{message.role}]" + "".join(part if isinstance(part, str) else "[picture]" for part in message.parts)
        for message in messages
    )


def reading(path: Path) -> Any:
    """A reply of the corpus as the parser reads it in both modes and as a comparison, written down again, and its reward."""
    front, reply = path.read_bytes().decode("utf-8").split("---\n", 1)
    rubric = shipped_rubric("edit" if "rubric: edit" in front else "generation")
    rows: list[Any] = []
    for mode in MODES:
        try:
            critique = parse_critique(reply, rubric, mode)
        except CritiqueParseError as error:
            rows.append([error.reason, str(error)])
        else:
            rows.append([critique.to_json(), render_critique(critique, rubric), reward(critique, rubric)])
    try:
        rows.append(parse_comparison(reply, rubric).to_json())
    except CritiqueParseError as error:
        rows.append([error.reason, str(error)])
    return rows


def exports(rubric: Rubric) -> Any:
    """One training example in each format that `training.parrot export` writes."""
    picture = Image.new("RGB", (8, 8))
    sources = (picture,) if rubric.kind == "edit" else ()
    messages = critique_messages(UserRequest(REQUEST, sources), picture, rubric)
    names = [f"images/{number}.png" for number in range(len(sources) + 1)]
    return {form: chat_rows(messages, "an answer", names, form) for form in ("chat", "trl", "llamafactory")}


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def everything() -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, rubric in rubrics().items():
        table |= {f"prompt {name} {form}": text for form, text in prompts(rubric).items()}
        table |= {f"grammar {name} {mode}": critique_grammar(rubric, mode) for mode in MODES}
        table |= {f"rubric {name}": digest(rubric_to_toml(rubric)), f"export {name}": digest(exports(rubric))}
    return table | {f"reply {path.stem}": digest(reading(path)) for path in sorted(REPLIES.glob("*.md"))}


GOLDEN_TABLE: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return everything()


@pytest.mark.parametrize("kind", sorted({re.split(r" ", name)[0] for name in GOLDEN_TABLE}))
def test_output_is_what_it_was(kind: str, table: dict[str, Any]) -> None:
    golden = {name: value for name, value in GOLDEN_TABLE.items() if name.split(" ")[0] == kind}
    assert golden
    for name, value in golden.items():
        assert table[name] == value, name


def test_the_golden_file_holds_every_kind() -> None:
    kinds = [name.split(" ")[0] for name in GOLDEN_TABLE]
    assert {"prompt", "grammar", "rubric", "export", "reply"} == set(kinds)
    assert kinds.count("reply") > 150


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(everything(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
