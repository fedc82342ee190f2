"""The web side as files: no text becomes markup, every node is explained and translated."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.web.node_schemas import ROOT, inputs_of

WEB = ROOT / "web"
SCRIPTS = sorted(WEB.glob("*.js"))
LANGUAGES = ("en", "zh")
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|createContextualFragment"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_no_script_parses_text_as_markup_or_code(script: Path) -> None:
    assert not MARKUP.findall(script.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_attributes_that_run_code_or_fetch_are_set_from_nothing_foreign(script: Path) -> None:
    """`src` and `href` come from our own address functions; listeners are functions, never attributes."""
    text = script.read_text(encoding="utf-8")
    for name, value in re.findall(r"\b(src|href): ([^,}]+)", text):
        assert value.startswith(("pictureUrl(", "new URL(")), f"{name}: {value}"
    assert not re.findall(r"[\"'`]on[a-z]+[\"'`]|\son[a-z]+=", text)
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_import_only_neighbours_and_comfyuis_public_modules(script: Path) -> None:
    for module in re.findall(r'from "([^"]+)"', script.read_text(encoding="utf-8")):
        assert module in ("../../scripts/app.js", "../../scripts/api.js") or (WEB / module).is_file(), module


def test_nothing_is_drawn_on_the_canvas() -> None:
    text = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    assert not re.findall(r"onDraw\w+|getContext|onMouseDown", text)
    assert "addDOMWidget" in text


def words(language: str) -> dict[str, str]:
    main = json.loads((ROOT / "locales" / language / "main.json").read_text(encoding="utf-8"))
    return dict(main["rationalRewards"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_the_scripts_say_is_there(language: str) -> None:
    text = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    said = set(re.findall(r'say\("(\w+)"', text)) | {
        "passed",
        "failed",
        "iteration",
        "iterationBest",
        "added",
        "removed",
        "reworded",
        "kept",
    }
    assert len(said) > 25
    assert said <= set(words(language))


def test_both_languages_fill_the_same_places() -> None:
    english, chinese = (words(language) for language in LANGUAGES)
    places = re.compile(r"\{\w+\}")
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert sorted(places.findall(sentence)) == sorted(places.findall(chinese[key])), key


def test_every_reason_for_which_a_loop_ends_has_its_words() -> None:
    from rationalrewards_core.loop.refine import StopReason

    assert {f"stop_{reason.value}" for reason in StopReason} <= set(words("en"))


def foreign() -> dict[str, dict[str, str]]:
    """What the page says in Chinese for what the server says in English."""
    main = json.loads((ROOT / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))
    return dict(main["rationalRewardsForeign"])


def test_the_dimensions_and_reasons_of_the_server_have_their_chinese_words() -> None:
    from rationalrewards_core.replies.parsing import Reason
    from tests.own_rubrics import shipped_rubric

    titles = {
        dimension.title
        for rubric in (shipped_rubric("edit"), shipped_rubric("generation"))
        for dimension in rubric.dimensions
    }
    assert titles == set(foreign()["titles"])
    assert {reason.value for reason in Reason} <= set(foreign()["reasons"])


NOTE = re.compile(
    r"(The (rewriting|prompt|judge|critique|image)|Every dimension|Below|Put back|Shortened|Left out|Should)\b.*[.}]"
)


def notes_of(file: Path) -> set[str]:
    """Sentences in a source file that are told of a rewording, with {} for what is filled in; no docstrings, no tooltips."""
    tree = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    silent = {id(node.value) for node in tree if isinstance(node, ast.Expr)}
    silent |= {
        id(node.value) for node in tree if isinstance(node, ast.keyword) and node.arg in ("tooltip", "description")
    }
    texts = set()
    for node in tree:
        if id(node) in silent or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts.add("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts))
    return {text for text in texts if NOTE.fullmatch(text)}


def test_every_sentence_about_a_rewording_has_its_chinese_words() -> None:
    files = [*(ROOT / "rationalrewards_core" / "rewording").glob("*.py"), ROOT / "nodes" / "prompt_refine.py"]
    templates = {re.sub(r"\{\w+\}", "{}", english) for english in foreign()["sentences"]}
    assert len(templates) >= 15
    assert set().union(*map(notes_of, files)) == templates


def node_defs(language: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_input_and_output_is_translated(language: str, schemas: dict[str, Any]) -> None:
    known = node_defs(language)
    assert known.keys() == schemas.keys()
    for node_id, schema in schemas.items():
        translated = known[node_id]
        assert translated["display_name"]
        assert translated["description"]
        assert translated["inputs"].keys() == {name.replace(".", "_") for name in inputs_of(schema)}, node_id
        assert len(translated["outputs"]) == len(schema.outputs), node_id
        for entry in [*translated["inputs"].values(), *translated["outputs"].values()]:
            assert entry["name"]
            assert entry["tooltip"]


def test_the_english_translation_is_the_schema(schemas: dict[str, Any]) -> None:
    """It is there for other languages to fall back on, and must not say anything else."""
    known = node_defs("en")
    for node_id, schema in schemas.items():
        assert known[node_id]["display_name"] == schema.display_name
        assert known[node_id]["description"] == schema.description
        for name, entry in reversed(inputs_of(schema).items()):
            if "." not in name:
                assert known[node_id]["inputs"][name]["tooltip"] == entry.tooltip, f"{node_id}.{name}"
        for index, output in enumerate(schema.outputs):
            assert known[node_id]["outputs"][str(index)] == {"name": output.id, "tooltip": output.tooltip}


@pytest.mark.parametrize("page", ["{}.md", "{}/zh.md"])
def test_every_node_has_a_help_page_that_names_all_of_it(page: str, schemas: dict[str, Any]) -> None:
    for node_id, schema in schemas.items():
        text = (WEB / "docs" / page.format(node_id)).read_text(encoding="utf-8")
        title = node_defs("zh" if "zh" in page else "en")[node_id]["display_name"]
        assert text.startswith(f"# {title}\n")
        for name in [*(name.split(".")[-1] for name in inputs_of(schema)), *(output.id for output in schema.outputs)]:
            assert f"`{name}`" in text, f"{page.format(node_id)} does not name {name}"
        for entry in schema.inputs:
            if "zh" not in page:
                assert " ".join(entry.tooltip.split()) in text, f"{node_id}.{entry.id}"


def test_no_help_page_is_of_a_node_that_is_gone(schemas: dict[str, Any]) -> None:
    assert {file.name.removesuffix(".md") for file in (WEB / "docs").iterdir()} == set(schemas)
