"""`rationalrewards servers`: what is written for each kind, and that the rest of the user's file stays as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rationalrewards_core.__main__ import main
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.server_entries import add_entry, remove_entry, server_entry
from rationalrewards_core.servers import load_servers
from tests.core import gguf_files
from tests.core.commands import wrong

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HAND_WRITTEN = """# my servers
[servers.judge]   # the big one
url = "http://10.0.0.1:8000/v1"
api_key_env = "JUDGE_KEY"

[servers.judge.template]
enable_thinking = false

[servers."two words"]
url = "http://127.0.0.1:1/v1" # old
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(HAND_WRITTEN)
    return path


@pytest.fixture
def gguf(tmp_path: Path) -> tuple[Path, Path]:
    return gguf_files.model(tmp_path / 'judge Q8 "0".gguf'), gguf_files.tower(tmp_path / "mmproj.gguf")


def test_an_entry_is_read_back_as_it_was_meant(file: Path, gguf: tuple[Path, Path]) -> None:
    entries = {
        "v": server_entry("vllm", "org/judge", program=sys.executable),
        "s g": server_entry("sglang", "org/judge", program=sys.executable, share=0.5),
        "l": server_entry("llama.cpp", str(gguf[0]), mmproj=str(gguf[1]), program=sys.executable, slots=3),
    }
    for name, entry in entries.items():
        add_entry(file, name, entry)
    assert file.read_text().startswith(HAND_WRITTEN)
    servers = load_servers(file)
    assert set(servers) == {"judge", "two words", "v", "s g", "l"}
    for name, entry in entries.items():
        assert servers[name].managed
        assert list(servers[name].command) == entry["command"]
    assert servers["l"].command[2] == str(gguf[0])
    assert servers["l"].concurrency == 3
    assert "24576" in servers["l"].command
    assert servers["l"].processor == str(gguf[1])
    assert servers["v"].environment == {"VLLM_API_KEY": "{key}"}
    assert "{key}" in servers["s g"].command
    for name in entries:
        remove_entry(file, name)
    assert file.read_text().strip() == HAND_WRITTEN.strip()


def test_the_tower_beside_a_gguf_model_is_taken(tmp_path: Path) -> None:
    model = gguf_files.model(tmp_path / "Judge-Q8_0.gguf")
    with pytest.raises(ConfigError, match=r"has no picture tower beside it.*--mmproj FILE"):
        server_entry("llama.cpp", str(model), program=sys.executable)
    tower = gguf_files.tower(tmp_path / "mmproj-Judge-F16.gguf")
    command = server_entry("llama.cpp", str(model), program=sys.executable)["command"]
    assert command[command.index("--mmproj") + 1] == str(tower)


def test_files_that_did_not_come_whole_get_no_entry(tmp_path: Path, gguf: tuple[Path, Path]) -> None:
    empty = gguf_files.model(tmp_path / "empty.gguf", tensors={"blk.0.ffn_up.weight": (2, bytes(64))})
    with pytest.raises(ConfigError, match=r"empty\.gguf is damaged: .*; download it again"):
        server_entry("llama.cpp", str(empty), mmproj=str(gguf[1]), program=sys.executable)


@pytest.mark.parametrize("name", ["judge", "two words"])
def test_removing_cuts_out_one_server_with_its_tables(file: Path, name: str) -> None:
    remove_entry(file, name)
    assert set(load_servers(file)) == {"judge", "two words"} - {name}
    assert "# my servers" in file.read_text()


def test_a_file_written_otherwise_is_left_alone(file: Path) -> None:
    file.write_text('servers = { a = { url = "http://127.0.0.1:1/v1" } }\n')
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="edit it by hand"):
        remove_entry(file, "a")
    with pytest.raises(ConfigError, match="edit it by hand"):
        add_entry(file, "b", server_entry("vllm", "m", program=sys.executable))
    assert file.read_bytes() == before


def test_a_local_checkpoints_picture_sizes_are_its_own(tmp_path: Path) -> None:
    size = {"shortest_edge": 2304, "longest_edge": 2304}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size, "patch_size": 4, "merge_size": 2}))
    entry = server_entry("vllm", str(tmp_path), program=sys.executable)
    assert entry["processor"] == str(tmp_path)
    assert "8192" in entry["command"]
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 4096}}))
    for kind in ("vllm", "sglang"):  # both refuse to begin with a longer context than the model's own
        assert "4096" in server_entry(kind, str(tmp_path), program=sys.executable)["command"]  # type: ignore[arg-type]
    assert json.loads(entry["command"][-1]) == {"size": size}
    entry = server_entry("vllm", "org/judge", program=sys.executable)
    assert json.loads(entry["command"][-1]) == {"size": {"longest_edge": 802_816, "shortest_edge": 65_536}}
    assert "processor" not in entry


def test_the_commands(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(file)]
    added = ["servers", "add", "own", "vllm", "org/judge", "--program", sys.executable, *config]
    assert main([*added, "--dry-run"]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert set(load_servers(file)) == {"judge", "two words"}
    assert main(added) == 0
    assert "rationalrewards doctor server:own" in capsys.readouterr().out
    assert shown["servers"]["own"]["command"] == list(load_servers(file)["own"].command)
    assert main(["servers", "list", *config]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == "judge: http://10.0.0.1:8000/v1"
    assert listed[1].startswith(f"own: {sys.executable} serve org/judge --host 127.0.0.1 --port '{{port}}'")
    assert main(["servers", "list", "--json", *config]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["judge", "own", "two words"]
    assert main(["servers", "remove", "own", *config]) == 0
    assert set(load_servers(file)) == {"judge", "two words"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "judge", "vllm", "m", "--program", sys.executable], "has a server 'judge' already"),
        (["add", "x/y", "vllm", "m", "--program", sys.executable], "A server's name is up to 64 letters"),
        (
            ["add", "x", "vllm", "m", "--program", "/no/vllm"],
            "There is no program '/no/vllm' here; install vllm, or name it",
        ),
        (["add", "x", "llama.cpp", "m.gguf", "--program", "/no"], "without it: --engine gguf:FILE"),
        (["add", "x", "llama.cpp", "m.gguf", "--program", sys.executable], "There is no file 'm.gguf'."),
        (
            ["add", "x", "llama.cpp", "m.gguf", "--program", sys.executable, "--mmproj", "n"],
            "There is no file 'm.gguf'",
        ),
        (["add", "x", "vllm", "m", "--program", sys.executable, "--mmproj", "n"], "--mmproj goes with llama.cpp"),
        (["add", "x", "vllm", "m", "--program", sys.executable, "--memory-share", "2"], "between 0.1 and 1"),
        (["remove", "gone"], "There is no server 'gone'"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], sentence: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file.read_bytes()
    assert sentence in wrong(["servers", *arguments, "--config", str(file)], capsys)
    assert file.read_bytes() == before
