"""Documents that can drift: commands, options, files and figures named in them must be real."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rationalrewards_core.cli.parser import build_parser

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "training/LOG.md",
    "docs/architecture.md",
    "docs/comfyui.md",
    "docs/command-line.md",
    "docs/http.md",
    "docs/miniature.md",
    "docs/python.md",
    "docs/rubrics.md",
    "docs/parrot.md",
    "docs/training-your-own.md",
    "docs/nft.md",
    "docs/judges.md",
    "docs/servers.md",
]
CARDS = ["scorer", "generator"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
USER_PAGES = "\n".join(
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", *(f"docs/{page}.md" for page in ("comfyui", "command-line", "http", "python", "rubrics")))
)
"""What a newcomer reads: the front door and the pages it leads to first."""
JUDGES = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(program: str, document: str = README) -> list[str]:
    lines = [line for block in code_blocks(document, "bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(program + " ")]


@pytest.mark.parametrize("line", commands("rationalrewards", USER_PAGES))
def test_every_command_of_the_readme_is_understood(line: str) -> None:
    words = shlex.split(line.split(" > ")[0], comments=True)
    parsed = build_parser().parse_args(words[1:])
    assert parsed.command == words[1]


@pytest.mark.parametrize("line", commands("rationalrewards", JUDGES))
def test_every_command_of_the_page_on_judges_is_understood(line: str) -> None:
    assert build_parser().parse_args(shlex.split(line)[1:]).command in (
        "doctor",
        "servers",
        "rubric",
        "rubric write",
        "score",
    )


def test_the_page_on_judges_marks_every_row_measured_or_not() -> None:
    table = next(block for block in JUDGES.split("\n\n") if block.startswith("| your card |"))
    rows = table.splitlines()
    assert len(rows) > 5
    for row in rows[2:]:  # the heads and the line below
        assert re.match(r"(yes|no|on an? )\b", row.split("|")[6].strip()), row


UNMEASURED = (
    "Ollama", "LM Studio", "TensorRT", "TGI", "LMDeploy", "TabbyAPI", "mistral.rs", "OpenVINO", "KoboldCpp", "SGLang",
)  # fmt: skip
SERVERS = ROOT / "docs" / "servers.md"
"""The one page that names SGLang, and says that only its request class was tried."""


@pytest.mark.parametrize("name", UNMEASURED)
def test_nothing_is_said_of_a_server_that_was_not_measured(name: str) -> None:
    pages = {ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("web/docs/**/*.md")}
    naming = {page for page in pages if name in page.read_text(encoding="utf-8")}
    assert naming == ({SERVERS} if name == "SGLang" else set())
    assert "SGLang's server needs a graphics card and was not run" in " ".join(SERVERS.read_text("utf-8").split())


def test_the_pages_show_every_command() -> None:
    shown = {shlex.split(line, comments=True)[1] for line in commands("rationalrewards", USER_PAGES)}
    mentioned = set(re.findall(r"`(?:\S*/)?rationalrewards (\w+)", USER_PAGES))
    subcommands = {"critique", "score", "compare", "refine", "rubric", "serve", "servers", "doctor"}
    assert subcommands <= shown | mentioned


@pytest.mark.parametrize("line", commands("make"))
def test_every_make_target_of_the_readme_exists(line: str) -> None:
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_python_of_the_pages_is_python() -> None:
    blocks = code_blocks(USER_PAGES, "python")
    assert len(blocks) >= 3
    for block in blocks:
        compile(block, "python", "exec")
        for names in re.findall(r"from rationalrewards_core import (.+)", block):
            import rationalrewards_core

            assert all(hasattr(rationalrewards_core, name.strip()) for name in names.split(","))


@pytest.mark.model
@pytest.mark.parametrize("block", code_blocks(USER_PAGES, "python"))
def test_the_python_of_the_pages_runs(block: str, tmp_path: Path) -> None:
    """Literally, in a process of its own, beside a picture of what it asks for."""
    if "picture.png" not in block:
        pytest.skip("a fragment")
    pytest.importorskip("diffusers")
    from rationalrewards_core.miniature import generator_folder
    from rationalrewards_core.miniature.generator import MiniatureGenerator

    request = re.findall(r'"(a large [^"]+)"', block)[0]
    MiniatureGenerator.load(generator_folder()).generate(request, 3).save(tmp_path / "picture.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert re.match(r"[01]\.\d+ ", process.stdout), process.stdout


def test_the_first_python_is_three_lines() -> None:
    first = [line for line in code_blocks(README, "python")[0].splitlines() if line.strip()]
    assert len(first) == 3
    assert "asyncio" not in code_blocks(README, "python")[0]


def test_the_front_door_is_short_and_leads_somewhere() -> None:
    assert len(README.splitlines()) <= 120
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 20
    for link in links:
        assert "://" in link or (ROOT / link).exists(), link


def test_moving_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "images").glob("*.webp"):
        assert picture.stat().st_size < 3_000_000


def test_the_configuration_of_the_pages_is_read() -> None:
    (block,) = code_blocks(USER_PAGES, "toml")
    assert tomllib.loads(block)["servers"]["judge"]["url"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:rationalrewards_core|nodes|web|workflows|training|tests|benchmarks|docs)/[\w./*-]*)`", text
    )
    assert named or document not in ("README.md", "CONTRIBUTING.md")
    for name in named:
        assert list(ROOT.glob(name.rstrip("/"))), f"{document} names {name}, which does not exist"


@pytest.mark.parametrize("name", CARDS)
def test_model_cards_quote_the_shipped_figures(name: str) -> None:
    """Every number in a table row that begins with a figure's name is the one in `evaluation.json`."""
    folder = ROOT / "rationalrewards_core" / "miniature" / "weights" / name
    rows = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    quoted = 0
    for line in card.splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if cells[0] in rows[0]:
            expected = [f"{row[cells[0]]:.3f}" for row in rows if cells[0] in row]
            assert cells[1:] == expected, cells[0]
            quoted += 1
    assert quoted >= 3, "the card quotes no figures"


def test_the_version_is_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    import rationalrewards_core

    assert rationalrewards_core.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
