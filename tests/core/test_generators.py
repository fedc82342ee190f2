"""Generators by name: one argument per prompt whatever it holds, and one sentence per failure."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.generators import make_generator

COPY = "import shutil, sys; shutil.copy('drawn.png', sys.argv[1]); open('asked', 'w').write(__import__('json').dumps(sys.argv[2:]))"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Image.Image) -> Path:
    monkeypatch.chdir(tmp_path)
    picture.save("drawn.png")
    return tmp_path


def command(code: str, arguments: str = "{out} {prompt} {seed}") -> str:
    return f"command:{shlex.quote(sys.executable)} -IS -c {shlex.quote(code)} {arguments}"


@pytest.mark.parametrize(
    "prompt",
    [
        "two words",
        "$(touch hacked) `touch hacked`; touch hacked & | > hacked",
        'it\'s "quoted" \\ and\nbroken',
        "--help",
        "{seed} {out} {prompt}",
        "熊 🐻",
        "*",
        "",
    ],
)
def test_the_prompt_is_one_argument_and_no_shell_sees_it(prompt: str, picture: Image.Image) -> None:
    image = make_generator(command(COPY))(prompt, 42)
    assert image.tobytes() == picture.tobytes()
    assert json.loads(Path("asked").read_text()) == [prompt, "42"]
    assert {path.name for path in Path().iterdir()} == {"drawn.png", "asked"}


def test_slots_may_be_parts_of_arguments() -> None:
    make_generator(command(COPY, "{out} '--text={prompt}' --seed={seed}"))("a b", 1)
    assert json.loads(Path("asked").read_text()) == ["--text=a b", "--seed=1"]


def test_a_program_that_asks_back_is_not_waited_for() -> None:
    kept, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)
    try:
        os.write(writing, b"what the user types\n")
        with pytest.raises(BackendError, match="EOFError"):
            make_generator(command("input()"))("a", 1)
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, reading, writing):
            os.close(descriptor)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import sys; sys.exit('first\\nno memory')", "failed: it ended with status 1 and said: no memory$"),
        ("import sys; print('on stdout'); sys.exit(3)", "failed: it ended with status 3 and said: on stdout$"),
        ("import sys; sys.exit(2)", "failed: it ended with status 2$"),
        ("import sys; sys.stderr.buffer.write(b'\\xff\\xfe'); sys.exit(1)", "failed: it ended with status 1 and said"),
        ("print('all fine')", "failed: it wrote no image to {out}$"),
        ("import sys; open(sys.argv[1], 'w').write('no image')", "failed: .*is not a readable PNG, JPEG or WEBP file"),
        ("import os; os.kill(os.getpid(), 9)", "failed: it ended with status -9$"),
    ],
)
def test_a_failure_is_typed_and_says_why(code: str, sentence: str) -> None:
    with pytest.raises(BackendError, match=f"^The generator command {sentence}") as caught:
        make_generator(command(code))("a", 1)
    assert caught.value.reason == "generator_failed"


@pytest.mark.parametrize("prompt", ["a\0b", "a" * 10_000_000], ids=["NUL", "too long"])
def test_a_prompt_no_program_can_be_given_is_a_failure_too(prompt: str) -> None:
    with pytest.raises(BackendError, match=r"^The generator command failed: ") as caught:
        make_generator(command(COPY))(prompt, 1)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("dalle", "Unknown generator 'dalle'; use miniature, diffusers:FOLDER_OR_ID or command:"),
        ("command:", "Unknown generator"),
        ("diffusers:", "Unknown generator"),
        ("miniature:large", "Unknown generator"),
        ("command:draw {out}", "needs {prompt} among its arguments"),
        ("command:draw {prompt}", "needs {out} among its arguments"),
        ("command:draw '{prompt} {out}", "cannot be read (No closing quotation)"),
        ("command:no-such-program {prompt} {out}", "program 'no-such-program' was not found"),
        ("command:./drawn.png {prompt} {out}", "program './drawn.png' was not found, or is not executable"),
        ("command:{prompt} {out}", "program '{prompt}' was not found"),
    ],
)
def test_what_cannot_work_is_told_before_the_first_image(name: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_generator(name)
    assert sentence in str(caught.value)
