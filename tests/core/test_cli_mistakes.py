"""The command line: serve, wrong use, and the real process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core import __version__
from rationalrewards_core.__main__ import main
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.serving import server
from rationalrewards_core.serving.server import ServeConfig
from tests.core.commands import Script, scripted_judge, wrong

ROOT = Path(__file__).resolve().parents[2]
Text = Callable[..., str]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Script:
    return scripted_judge(monkeypatch)


@pytest.fixture
def image(tmp_path: Path, picture: Image.Image) -> str:
    path = tmp_path / "picture.png"
    picture.save(path)
    return str(path)


class TestServe:
    def test_the_options_arrive(self, judge: Script, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        judge([])
        seen: list[ServeConfig] = []

        def served(scorer: Scorer, config: ServeConfig, on_ready: Callable[[str], None]) -> None:
            seen.append(config)
            on_ready("http://127.0.0.1:8123")

        monkeypatch.setattr(server, "serve", served)
        monkeypatch.setenv("SECRET", " a-long-token\n")
        assert main(["serve", "--port", "8123", "--token-env", "SECRET", "--max-waiting", "7"]) == 0
        config = seen[0]
        assert (config.host, config.port, config.token, config.max_waiting) == ("127.0.0.1", 8123, "a-long-token", 7)
        shown = capsys.readouterr().out
        assert "http://127.0.0.1:8123" in shown
        assert "a-long-token" not in shown

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--token-env", "RR_NOT_SET"], "RR_NOT_SET is not set"),
            (["--port", "70000"], "port must be between 0 and 65535"),
            (["--host", "203.0.113.7"], "Cannot listen on 203.0.113.7:8288"),
            (["--max-waiting", "0"], "max_waiting must be at least 1"),
            (["--backend", "local:/no/such/folder"], "There is no checkpoint folder '/no/such/folder'"),
            (["--backend", "gpt"], "Unknown engine 'gpt'"),
            (["--max-tokens", "0", "--backend", "server:judge"], "max_tokens must be between"),
        ],
    )
    def test_what_cannot_work_is_told_before_it_says_serving(
        self, arguments: list[str], sentence: str, capsys: Any, request: pytest.FixtureRequest
    ) -> None:
        if "--backend" not in arguments:
            request.getfixturevalue("judge")([])
        assert sentence in wrong(["serve", *arguments], capsys)


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["critique", "missing.png", "-p", "a"], "The image 'missing.png' does not exist."),
            (["critique", "TEXT", "-p", "a"], "is not a readable PNG, JPEG or WEBP file."),
            (["critique", "IMAGE", "-p", "  "], "The request is empty; say what the image should show."),
            (["critique", "IMAGE", "-p", "\udcff"], "half of a character"),
            (["critique", "IMAGE", "-p", "a", "--source", "gone.png"], "The image 'gone.png' does not exist."),
            (["critique", "IMAGE"], "the following arguments are required: -p/--prompt"),
            (["critique", "IMAGE", "-p", "a", "--backend", "gpt"], "use miniature, local:FOLDER_OR_ID, gguf:FILE or server:NAME."),
            (["critique", "IMAGE", "-p", "a", "--backend", "local:"], "Unknown engine 'local:'"),
            (["critique", "IMAGE", "-p", "a", "--backend", "local:/gone"], "There is no checkpoint folder '/gone'."),
            (["critique", "IMAGE", "-p", "a", "--backend", "local:./gone"], "There is no checkpoint folder './gone'."),
            (["critique", "IMAGE", "-p", "a", "--backend", "server:x", "--config", "gone.toml"], "no server 'x' in gone.toml"),
            (["critique", "IMAGE", "-p", "a", "--backend", "server:x", "--max-tokens", "0"], "max_tokens must be between"),
            (["critique", "IMAGE", "-p", "a", "--backend", "local:.", "--batch", "0"], "batch_size must be at least 1"),
            (["critique", "IMAGE", "-p", "a", "--backend", "local:.", "--max-pixels", "9"], "max_pixels must be at least"),
            (["critique", "IMAGE", "-p", "a", "--precision", "int3"], "invalid choice: 'int3'"),
            (["score", "IMAGE", "-p", "a", "--threshold", "3"], "--threshold is a reward between 0 and 1, not 3."),
            (["refine", "--out", "OUT"], "refine needs --prompt, or --resume"),
            (["refine", "-p", "a", "--out", "OUT", "--threshold", "3"], "threshold must be between 0 and 1"),
            (["judge"], "invalid choice: 'judge'"),
        ],
    )  # fmt: skip
    def test_is_status_2_and_says_what_is_wrong(
        self, arguments: list[str], sentence: str, image: str, tmp_path: Path, capsys: Any
    ) -> None:
        (tmp_path / "notes.png").write_text("no image")
        places = {"IMAGE": image, "TEXT": str(tmp_path / "notes.png"), "OUT": str(tmp_path / "out")}
        assert sentence in wrong([places.get(word, word) for word in arguments], capsys)

    def test_missing_miniature_weights_say_how_to_get_them(
        self, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        monkeypatch.setattr("rationalrewards_core.miniature.WEIGHTS", tmp_path)
        assert "weights are missing" in wrong(["critique", image, "-p", "a"], capsys)

    def test_a_file_that_cannot_be_written_is_one_sentence(self, judge: Script, tmp_path: Path, capsys: Any) -> None:
        judge([])
        (tmp_path / "taken").write_text("")
        arguments = [
            "refine",
            "-p",
            "a",
            "--out",
            str(tmp_path / "taken"),
            "--generator",
            "command:echo {prompt} {out}",
        ]
        assert "taken" in wrong(arguments, capsys, 1)

    def test_no_command_shows_the_help(self, capsys: Any) -> None:
        assert main([]) == 2
        assert "COMMAND" in capsys.readouterr().out

    @pytest.mark.parametrize("command", ["demo", "critique", "score", "compare", "refine", "serve", "rubric"])
    def test_every_command_has_help(self, command: str, capsys: Any) -> None:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert f"usage: rationalrewards {command}" in capsys.readouterr().out


def test_a_real_process() -> None:
    command = [sys.executable, "-m", "rationalrewards_core"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rationalrewards {__version__}\n", "")


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rationalrewards_core", "rubric", "--toml"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
