"""What a workflow may name: the lists, and everything that is not in them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack

VISION = {"model_type": "qwen3_vl", "vision_config": {}}
LORA = {"peft_type": "LORA"}


@pytest.fixture
def folder(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's models folder, of this test alone."""
    paths = sys.modules["folder_paths"]
    monkeypatch.setattr(paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(paths, "folder_names_and_paths", {})
    return tmp_path / "models"


@pytest.fixture
def models(pack: Pack) -> Any:
    return pack.module("nodes.models.folders")


def checkpoint(folder: Path, config: Any = VISION) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def adapter(folder: Path, config: Any = LORA) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def names(listed: Any) -> list[str]:
    return [one.name for one in listed]


def test_checkpoints_of_all_three_folders_are_listed_and_found(folder: Path, models: Any) -> None:
    judge = checkpoint(folder / "LLM" / "judge")
    deep = checkpoint(folder / "text_encoders" / "qwen" / "vl")
    own = checkpoint(folder / "rationalrewards" / "mine")
    assert names(models.checkpoints()) == ["LLM/judge", "rationalrewards/mine", "text_encoders/qwen/vl"]
    assert models.find_checkpoint("LLM/judge") == judge
    assert models.find_checkpoint("text_encoders/qwen/vl") == deep
    assert models.find_checkpoint("rationalrewards/mine") == own


def test_the_shipped_judge_is_a_checkpoint_for_adapters(folder: Path, models: Any) -> None:
    assert models.is_checkpoint(models.find_checkpoint(models.SHIPPED))
    assert names(models.checkpoints()) == [], "it stands behind what the user has, and hides no advice to get a judge"


def test_folders_of_extra_model_paths_are_looked_into(
    folder: Path, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = checkpoint(tmp_path / "disk" / "judge")
    paths = sys.modules["folder_paths"]
    monkeypatch.setitem(paths.folder_names_and_paths, "LLM", ([str(tmp_path / "disk")], set()))
    monkeypatch.setattr(paths, "get_folder_paths", lambda kind: paths.folder_names_and_paths[kind][0])
    assert models.find_checkpoint("LLM/judge") == elsewhere


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", "[" * 100_000, {"model_type": "llama", "vision_config": {}}, {"model_type": "qwen3"}],
    ids=["empty", "cut", "list", "deep", "other family", "no vision"],
)
def test_what_is_no_judge_is_not_listed(folder: Path, models: Any, config: Any) -> None:
    checkpoint(folder / "LLM" / "other", config)
    assert models.checkpoints() == []


def test_a_folder_without_weights_is_not_listed(folder: Path, models: Any) -> None:
    (checkpoint(folder / "LLM" / "judge") / "model.safetensors").unlink()
    assert models.checkpoints() == []


@pytest.mark.parametrize(
    "name",
    [
        "LLM/../../secret",
        "../LLM/judge",
        "/LLM/judge",
        "~/judge",
        "C:/judge",
        "LLM\\judge",
        "https://example.org/judge",
        "LLM/judge\n",
        "x" * 10_000,
        None,
        7,
        ["LLM/judge"],
        {"path": "LLM/judge"},
    ],
)
def test_addresses_and_paths_are_refused(folder: Path, models: Any, pack: Pack, name: Any) -> None:
    checkpoint(folder / "LLM" / "judge")
    checkpoint(folder.parent / "secret")
    with pytest.raises(pack.core("errors").ConfigError, match="not an address or a path"):
        models.find_checkpoint(name)


@pytest.mark.parametrize("name", ["TIGER-Lab/RationalRewards-8B-T2I", "LLM/other", "judge", ""])
def test_a_missing_checkpoint_says_what_to_get_and_where_to_put_it(
    folder: Path, models: Any, pack: Pack, name: str
) -> None:
    checkpoint(folder / "LLM" / "judge")
    with pytest.raises(
        pack.core("errors").ConfigError, match=r"TIGER-Lab/RationalRewards-8B-T2I .* models/LLM/<name>/"
    ):
        models.find_checkpoint(name)


def test_the_placeholder_is_refused_with_the_same_advice(folder: Path, models: Any, pack: Pack) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match=r"no checkpoint yet\. Download TIGER-Lab"):
        models.find_checkpoint(models.NO_CHECKPOINT)


def test_a_link_out_of_the_model_folders_is_not_followed(folder: Path, models: Any, pack: Pack) -> None:
    outside = checkpoint(folder.parent / "outside")
    inside = checkpoint(folder / "text_encoders" / "judge")
    (folder / "LLM").mkdir()
    (folder / "LLM" / "out").symlink_to(outside, target_is_directory=True)
    (folder / "LLM" / "in").symlink_to(inside, target_is_directory=True)
    assert names(models.checkpoints()) == ["LLM/in", "text_encoders/judge"]
    with pytest.raises(pack.core("errors").ConfigError):
        models.find_checkpoint("LLM/out")


def test_a_model_folder_may_itself_be_a_link(folder: Path, models: Any) -> None:
    checkpoint(folder.parent / "disk" / "judge")
    folder.mkdir()
    (folder / "LLM").symlink_to(folder.parent / "disk", target_is_directory=True)
    assert names(models.checkpoints()) == ["LLM/judge"]


def test_gguf_models_with_their_tower_are_listed_and_found(folder: Path, models: Any, pack: Pack) -> None:
    for name in ("LLM/judge/J-Q4_K_M.gguf", "LLM/judge/mmproj-J.gguf", "LLM/text-only.gguf", "rationalrewards/a.gguf"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "rationalrewards" / "mmproj.gguf").write_bytes(b"")
    assert names(models.gguf_models()) == ["LLM/judge/J-Q4_K_M.gguf", "rationalrewards/a.gguf"]
    assert models.find_gguf("LLM/judge/J-Q4_K_M.gguf") == folder / "LLM" / "judge" / "J-Q4_K_M.gguf"
    (folder / "outside").mkdir()
    (folder / "outside" / "x.gguf").write_bytes(b"")
    (folder / "LLM" / "judge" / "linked.gguf").symlink_to(folder / "outside" / "x.gguf")
    assert "LLM/judge/linked.gguf" not in names(models.gguf_models())
    error = pack.core("errors").ConfigError
    for wrong in ("../x.gguf", "/etc/x.gguf", "LLM/text-only.gguf", "LLM/judge/linked.gguf", models.NO_GGUF, 7, None):
        with pytest.raises(error):
            models.find_gguf(wrong)


def test_a_changed_gguf_file_is_a_changed_input(folder: Path, pack: Pack) -> None:
    node = pack.module("nodes.load_scorer").LoadScorer
    for name in ("J.gguf", "mmproj-J.gguf"):
        (folder / "LLM").mkdir(parents=True, exist_ok=True)
        (folder / "LLM" / name).write_bytes(b"one")
    choice = {"engine": "gguf", "model": "LLM/J.gguf"}
    before = node.fingerprint_inputs(engine=choice, rubric="automatic")
    (folder / "LLM" / "mmproj-J.gguf").write_bytes(b"another")
    assert node.fingerprint_inputs(engine=choice, rubric="automatic") != before


def test_only_lora_adapters_are_listed(folder: Path, models: Any, pack: Pack) -> None:
    mine = adapter(folder / "rationalrewards" / "mine")
    adapter(folder / "loras" / "theirs")
    adapter(folder / "loras" / "prefix", {"peft_type": "PREFIX_TUNING"})
    (folder / "loras" / "style.safetensors").write_bytes(b"an image model's LoRA")
    assert names(models.adapters()) == ["loras/theirs", "rationalrewards/mine"]
    assert models.find_adapter("rationalrewards/mine") == mine
    assert models.find_adapter("none") is None
    with pytest.raises(pack.core("errors").ConfigError, match="no adapter"):
        models.find_adapter("loras/prefix")


def test_rubric_files_are_listed_and_links_out_are_not(folder: Path, models: Any, pack: Pack) -> None:
    rubrics = folder / "rationalrewards" / "rubrics"
    rubrics.mkdir(parents=True)
    (rubrics / "mine.toml").write_text("name = 'mine'")
    (folder.parent / "secret.toml").write_text("key = 'secret'")
    (rubrics / "link.toml").symlink_to(folder.parent / "secret.toml")
    assert "mine.toml" in names(models.rubric_files())
    assert "link.toml" not in names(models.rubric_files())
    assert models.find_rubric("mine.toml") == rubrics / "mine.toml"
    with pytest.raises(pack.core("errors").ConfigError, match="not an address or a path"):
        models.find_rubric("../secret.toml")


def test_a_stamp_changes_with_the_weights(folder: Path, models: Any) -> None:
    judge = checkpoint(folder / "LLM" / "judge")
    before = models.stamp(judge)
    assert models.stamp(judge) == before
    (judge / "model.safetensors").write_bytes(b"other weights")
    assert models.stamp(judge) != before


def test_the_lists_of_the_node_show_what_is_there(folder: Path, pack: Pack) -> None:
    local = pack.module("nodes.engines.local")
    lists = {entry.id: entry.options for entry in local.option().inputs if entry.options}
    assert lists["checkpoint"] == [pack.module("nodes.models.folders").NO_CHECKPOINT, "miniature"]
    checkpoint(folder / "LLM" / "judge")
    adapter(folder / "loras" / "style")
    lists = {entry.id: entry.options for entry in local.option().inputs if entry.options}
    assert lists["checkpoint"] == ["LLM/judge", "miniature"]
    assert lists["adapter"] == ["none", "loras/style"]


def test_changed_files_are_changed_inputs(folder: Path, pack: Pack) -> None:
    node = pack.module("nodes.load_scorer").LoadScorer
    judge = checkpoint(folder / "LLM" / "judge")
    choice = {"engine": "local", "checkpoint": "LLM/judge"}
    before = node.fingerprint_inputs(engine=choice, rubric="automatic")
    (judge / "model.safetensors").write_bytes(b"other weights")
    assert node.fingerprint_inputs(engine=choice, rubric="automatic") != before
    assert node.fingerprint_inputs(engine={"engine": "local", "checkpoint": "../x"}, rubric="automatic") == "missing"
    assert node.fingerprint_inputs(engine="nonsense", rubric="automatic") == ""
    checks = [node.fingerprint_inputs(engine=choice, rubric="automatic", check=True) for _ in range(2)]
    assert checks[0] != checks[1], "a check is made at every run"


def test_a_config_file_that_cannot_be_reached_names_no_server(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is made while ComfyUI starts: an error there would take the whole pack along."""
    server = pack.module("nodes.engines.server")
    for path in (
        tmp_path / "none.toml",
        tmp_path / ("x" * 300) / "config.toml",
    ):  # the second is no name for this system
        monkeypatch.setattr(server, "default_config_path", lambda path=path: path)
        assert server.server_names() == []


def test_a_changed_server_is_a_changed_input(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, node = pack.module("nodes.engines.server"), pack.module("nodes.load_scorer").LoadScorer
    config = tmp_path / "config.toml"
    monkeypatch.setattr(server, "default_config_path", lambda: config)
    choice = {"engine": "server", "server": "judge"}
    seen = []
    for address in ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"):
        config.write_text(f'[servers.judge]\nurl = "{address}"\napi_key = "secret"\n')
        seen.append(node.fingerprint_inputs(engine=choice, rubric="automatic"))
    assert seen[0] != seen[1]
    assert "secret" not in "".join(seen)
    assert server.server_names() == ["judge"]
    config.write_text("no toml [")
    assert server.server_names() == []


def test_a_workflow_can_start_nothing_but_what_the_config_file_names(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own command, address or environment is no part of what is read of a choice."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    config = tmp_path / "rationalrewards" / "config.toml"
    config.parent.mkdir()
    config.write_text('[servers.own]\ncommand = ["theirs", "{port}"]\n')
    choices = pack.module("nodes.engines")
    hostile = {
        "command": ["touch", str(tmp_path / "here"), "{port}"],
        "environment": {"LD_PRELOAD": "x"},
        "url": "http://x/v1",
    }
    engine = choices.chosen_engine({"engine": "server", "server": "own", **hostile})
    assert engine.config.command == ("theirs", "{port}")
    assert not engine.config.environment
    error = pack.core("errors").ConfigError
    for name in ("touch {port}", "own; touch x", "../own", ["touch", "{port}"], {"command": ["touch"]}):
        with pytest.raises(error):
            choices.chosen_engine({"engine": "server", "server": name, **hostile})
