"""Engines by name: what a user types, and which rubric a checkpoint brings."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.cli.parser import build_parser
from rationalrewards_core.engine_kinds import ENGINES, EngineWords, engine_module
from rationalrewards_core.engines import EngineName, EngineOptions, make_backend, make_rubrics, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import rubric_to_toml


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("miniature", "miniature", ""),
        ("local:/models/8B", "local", "/models/8B"),
        ("local:org/name", "local", "org/name"),
        ("local:C:\\models\\8B", "local", "C:\\models\\8B"),
        ("gguf:models/8B-Q4_K_M.gguf", "gguf", "models/8B-Q4_K_M.gguf"),
        ("server:judge", "server", "judge"),
    ],
)
def test_names(text: str, kind: str, target: str) -> None:
    assert EngineName.parse(text) == EngineName(kind, target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "gpt", "Miniature", "miniature:x", "local", "local:", "gguf:", "server:", "http://x/v1", ":judge"]
)
def test_unknown_names_say_what_is_known(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EngineName.parse(text)
    assert str(caught.value) == f"Unknown engine {text!r}; use miniature, local:FOLDER_OR_ID, gguf:FILE or server:NAME."


@pytest.mark.parametrize("target", ["/no/such/folder", "./gone", "../gone", "~/no/such/folder", "C:\\gone"])
def test_a_missing_folder_is_told_at_once(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="There is no checkpoint folder"):
        make_backend(EngineName("local", target), EngineOptions())


def test_the_home_folder_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    backend = make_backend(EngineName("local", "~/models"), EngineOptions(precision="nf4", batch_size=3))
    assert backend.config.model == str(tmp_path / "models")  # type: ignore[attr-defined]
    assert backend.config.precision == "nf4"  # type: ignore[attr-defined]
    assert backend.batch_size == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (EngineOptions(precision="fp8"), "precision must be one of"),
        (EngineOptions(batch_size=0), "batch_size must be at least 1"),
        (EngineOptions(max_pixels=10), "max_pixels must be at least"),
    ],
)
def test_wrong_options_are_named(wrong: EngineOptions, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_backend(EngineName("local", "."), wrong)


def test_a_server_is_given_no_adapter_rather_than_ignoring_it() -> None:
    with pytest.raises(ConfigError, match="server:judge cannot be given an adapter here: load it in that server"):
        make_scorer("server:judge", EngineOptions(adapter="runs/mine/adapter"))


def test_an_adapters_own_rubric_comes_before_its_checkpoints(tmp_path: Path) -> None:
    base = make_rubrics(EngineName("miniature"))
    own = replace(base["generation"], name="my own words")
    (tmp_path / "rubric_generation.toml").write_text(rubric_to_toml(own), encoding="utf-8")
    assert make_rubrics(EngineName("miniature"), adapter=tmp_path) == {**base, "generation": own}


def test_a_server_comes_from_the_named_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[servers.judge]\nurl = "http://127.0.0.1:9/v1"\nconcurrency = 5\n')
    options = EngineOptions(config_file=file)
    assert make_scorer("server:judge", options).backend.concurrency == 5
    with pytest.raises(ConfigError, match=r"no server 'other' in .*config\.toml \(it knows judge\)"):
        make_scorer("server:other", options)


def test_a_servers_judge_is_asked_in_the_rubric_that_lies_beside_its_weights(tmp_path: Path, edit: Rubric) -> None:
    """Its entry names the checkpoint's folder, or a GGUF model's tower, as `servers add` writes it."""
    own = rubric_to_toml(edit).replace(f'name = "{edit.name}"', 'name = "carried"', 1)
    (tmp_path / "rubric_edit.toml").write_text(own, encoding="utf-8")
    (tmp_path / "mmproj.gguf").write_bytes(b"")
    file = tmp_path / "config.toml"
    options = EngineOptions(config_file=file)
    for processor, name in ((tmp_path, "carried"), (tmp_path / "mmproj.gguf", "carried"), ("", edit.name)):
        file.write_text(f'[servers.judge]\nurl = "http://127.0.0.1:9/v1"\nprocessor = "{processor}"\n')
        assert make_scorer("server:judge", options).rubrics["edit"].name == name
        assert make_scorer("server:judge", options, rubric="edit").rubrics["edit"] == edit


def test_a_checkpoints_own_rubric_is_used_unless_another_is_asked_for(tmp_path: Path, generation: Rubric, edit: Rubric) -> None:  # fmt: skip
    name = EngineName("local", str(tmp_path))
    assert make_rubrics(name) == {}
    own = rubric_to_toml(edit).replace(f'name = "{edit.name}"', 'name = "carried"', 1)
    (tmp_path / "rubric_edit.toml").write_text(own, encoding="utf-8")
    assert {kind: rubric.name for kind, rubric in make_rubrics(name).items()} == {"edit": "carried"}
    assert make_rubrics(name, "generation") == {"generation": generation}
    scorer = make_scorer(f"local:{tmp_path}")
    assert (scorer.rubrics["edit"].name, scorer.rubrics["generation"]) == ("carried", generation)


def test_a_checkpoint_with_a_broken_rubric_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rubric_generation.toml").write_text("name = ")
    with pytest.raises(ConfigError, match=r"rubric_generation\.toml is not valid TOML"):
        make_scorer(f"local:{tmp_path}")


def test_every_engine_has_a_module_that_is_an_engine() -> None:
    for kind, words in ENGINES.items():
        module = engine_module(kind)
        assert callable(module.backend)
        assert module.scope("adapter") is None
        if kind != "server":  # whose place stands in the config file
            assert isinstance(module.rubric_folder("x", EngineOptions()), Path)
        assert words.help[0].islower()
    with pytest.raises(KeyError):
        engine_module("errors")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that the code does not have: one row, and a module of its name."""
    module = types.ModuleType("rationalrewards_core.engine_kinds.mirror")
    module.backend = lambda target, options: ScriptedBackend([], identity=target)  # type: ignore[attr-defined]
    module.rubric_folder = lambda target, options: None  # type: ignore[attr-defined]
    module.scope = lambda adapter: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(ENGINES, "mirror", EngineWords("ON_THE_WALL", "says who is fairest"))  # type: ignore[arg-type]


@pytest.mark.usefixtures("mirror")
def test_a_new_engine_is_a_row_and_a_module() -> None:
    assert make_scorer("mirror:golden").backend.identity == "golden"
    assert "mirror:ON_THE_WALL   says who is fairest" in build_parser().format_help()
    with pytest.raises(ConfigError, match="server:NAME or mirror:ON_THE_WALL"):
        EngineName.parse("mirror")


@pytest.mark.usefixtures("mirror")
def test_a_new_engine_is_a_judge_of_training_too() -> None:
    pytest.importorskip("torch")
    from training.nft.config import RewardsConfig
    from training.nft.rewards import make_judge

    judge = make_judge("mirror:golden", RewardsConfig())
    assert judge.backend.identity == "golden"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"mirror:ON_THE_WALL, reward-server:URL, .* or scalar:NAME"):
        make_judge("gpt", RewardsConfig())
