"""The run directory: a run is never continued with another configuration, and its checkpoint is never torn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from rationalrewards_core.errors import ConfigError, StorageError
from rationalrewards_core.file_lock import FileLock
from training.run import RunDir
from training.run_settings import changed_settings


@dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = 10
    lr: float = 1e-3
    channels: tuple[int, ...] = (8, 16)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise OSError("disk full")


@contextmanager
def opened(path: Path, config: Any = None, **options: Any) -> Iterator[RunDir]:
    run = RunDir(path, config or Config(), **options)
    try:
        yield run
    finally:
        run.close()


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_the_configuration_is_kept_where_a_person_can_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "run") as run:
        assert json.loads((tmp_path / "a" / "run" / "config.json").read_text()) == {
            "steps": 10, "lr": 0.001, "channels": [8, 16],
        }  # fmt: skip
        assert run.samples.is_dir()


class TestConfiguration:
    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"steps": 11}, "steps was 10, is 11"),
            ({"lr": 1e-4}, "lr was 0.001, is 0.0001"),
            ({"channels": (8, 16, 16), "steps": 9}, r"channels was \[8, 16\], is \[8, 16, 16\]; steps was 10, is 9"),
        ],
    )
    def test_another_one_is_refused_by_the_key_that_differs(
        self, change: dict[str, Any], sentence: str, tmp_path: Path
    ) -> None:
        with opened(tmp_path) as run:
            run.save_state({"step": 3})
        before = (tmp_path / "config.json").read_text()
        with pytest.raises(
            ConfigError, match=f"with another configuration: {sentence}; choose another --run or delete"
        ):
            RunDir(tmp_path, replace(Config(), **change))
        assert (tmp_path / "config.json").read_text() == before
        with opened(tmp_path) as run:
            assert run.load_state() == {"step": 3}

    def test_a_field_that_is_new_is_another_one(self, tmp_path: Path) -> None:
        @dataclass(frozen=True, kw_only=True)
        class Grown(Config):
            warmup: int = 5

        with opened(tmp_path) as run:
            run.save_state({"step": 3})
        with pytest.raises(ConfigError, match="warmup was absent, is 5"):
            RunDir(tmp_path, Grown())

    def test_groups_of_settings_are_named(self) -> None:
        before, now = {"run": {"seed": 1, "epochs": 2}, "x": 1}, {"run": {"seed": 2, "epochs": 2}, "x": 1}
        assert changed_settings(before, now) == ["run.seed was 1, is 2"]

    def test_a_first_try_that_saved_nothing_locks_nothing(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            run.log(0, examples=5)
        with opened(tmp_path, replace(Config(), steps=11)):
            assert json.loads((tmp_path / "config.json").read_text())["steps"] == 11
        (tmp_path / "pool.safetensors").write_bytes(b"")
        with pytest.raises(ConfigError, match="steps was 11, is 10"):
            RunDir(tmp_path, Config(), saved_files=("pool.safetensors",))

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
    def test_a_damaged_one_is_one_sentence(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"config\.json is (not a readable JSON file|no table of settings)"):
            RunDir(tmp_path, Config())
        FileLock(tmp_path / "metrics.jsonl.lock", wait=False, busy="the refused run kept its lock").close()


class TestState:
    def test_there_is_none_at_the_start(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            assert run.load_state() is None

    def test_the_newest_one_is_kept_and_the_one_before(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            for step in (1, 2, 3):
                run.save_state({"weights": torch.arange(float(step)), "step": step})
        with opened(tmp_path) as run:
            state = run.load_state()
        assert state is not None
        assert state["step"] == 3
        assert torch.equal(state["weights"], torch.arange(3.0))
        assert torch.load(tmp_path / "state.previous.pt", weights_only=True)["step"] == 2
        names = ["config.json", "metrics.jsonl", "samples", "state.previous.pt", "state.pt"]
        assert sorted(os.listdir(tmp_path)) == names

    def test_a_crash_while_writing_leaves_the_old_one(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            run.save_state({"step": 1})
            with pytest.raises(StorageError, match="disk full"):
                run.save_state({"step": 2, "more": Unpicklable()})
            assert run.load_state() == {"step": 1}
            run.save_state({"step": 3})
            assert run.load_state() == {"step": 3}
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize("renames", [0, 1])
    def test_a_kill_between_its_renames_leaves_one(
        self, renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename, seen = os.replace, 0

        def killed(source: Path, target: Path) -> None:
            nonlocal seen
            if seen == renames:
                raise KeyboardInterrupt
            seen += 1
            rename(source, target)

        with opened(tmp_path) as run:
            run.save_state({"step": 1})
            monkeypatch.setattr("rationalrewards_core.storage.os.replace", killed)
            with pytest.raises(KeyboardInterrupt):
                run.save_state({"step": 2})
            monkeypatch.undo()
            assert run.load_state() == {"step": 1}

    def test_a_full_disk_is_one_sentence(self, tmp_path: Path) -> None:
        code = (
            "import resource, sys, torch\nfrom pathlib import Path\nfrom dataclasses import dataclass\n"
            "from rationalrewards_core.errors import StorageError\nfrom training.run import RunDir\n"
            "@dataclass\nclass Config:\n    steps: int = 1\n"
            "run = RunDir(Path(sys.argv[1]), Config())\nrun.save_state({'step': 1})\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
            "try:\n    run.save_state({'step': 2, 'weights': torch.zeros(100_000)})\n"
            "except StorageError as error:\n    print(error)\n"
            "print(run.load_state())\n"
        )
        root = Path(__file__).parents[2]
        command = [sys.executable, "-c", code, str(tmp_path)]
        said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
        assert said[-1] == "{'step': 1}"
        assert len(said) == 2
        assert "state.pt" in said[0]
        assert said[0].endswith(".")
        assert sorted(os.listdir(tmp_path)) == ["config.json", "metrics.jsonl", "samples", "state.pt"]

    @pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99, "zeros", "text"])
    def test_a_damaged_one_is_said_and_the_one_before_is_used(
        self, keep: int | float | str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with opened(tmp_path) as run:
            run.save_state({"step": 1, "weights": torch.ones(3)})
            run.save_state({"step": 2, "weights": torch.ones(500)})
        state = tmp_path / "state.pt"
        whole = state.read_bytes()
        if isinstance(keep, str):
            state.write_bytes(bytes(len(whole)) if keep == "zeros" else b"hello\nworld")
        else:
            state.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
        with opened(tmp_path) as run:
            found = run.load_state()
            assert found is not None
            assert found["step"] == 1
            (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
            assert "state.pt is damaged" in record.getMessage()
            assert "\n" not in record.getMessage()
            run.save_state({"step": 2})
            assert torch.load(tmp_path / "state.previous.pt", weights_only=True)["step"] == 1, "the whole one stays"
        (tmp_path / "state.previous.pt").write_bytes(b"")
        state.write_bytes(b"")
        with (
            opened(tmp_path) as run,
            pytest.raises(ConfigError, match=r"state\.pt is damaged.*delete it to begin anew"),
        ):
            run.load_state()

    def test_a_checkpoint_cannot_run_code(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            torch.save({"step": Path("x")}, tmp_path / "state.pt")
            with pytest.raises(ConfigError, match=r"state\.pt is damaged, or no checkpoint \([Ww]eights.only"):
                run.load_state()


class TestMetrics:
    def test_they_are_appended_across_processes(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            run.log(50, loss=1.5, note="a")
        with opened(tmp_path) as run:
            run.log(100, loss=0.25)
            run.log(150, loss=float("nan"))
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [50, 100, 150]
        assert (lines[0]["loss"], lines[0]["note"], lines[1]["loss"]) == (1.5, "a", 0.25)
        assert all(line["seconds"] >= 0 for line in lines)

    def test_those_after_the_checkpoint_are_forgotten(self, tmp_path: Path) -> None:
        with opened(tmp_path) as run:
            for step in (0, 50, 100, 150):
                run.log(step)
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 200, "lo')
        with opened(tmp_path) as run:
            run.forget_after(100)
            run.log(150)
            assert steps_of(tmp_path) == [0, 50, 100, 150]
            run.forget_after(-1)
            assert steps_of(tmp_path) == []


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(ConfigError, match=f"Another process is training in {tmp_path}; wait until it has ended"):
            RunDir(tmp_path, Config())
        reader = RunDir(tmp_path, Config(), writes=False)
        assert reader.load_state() is None
    RunDir(tmp_path, Config()).close()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match=r"run cannot be used: .*; there is a file where a folder should be"):
        RunDir(tmp_path / "run", Config())


def test_what_is_free_may_change_and_is_written_down(tmp_path: Path) -> None:
    with closing(RunDir(tmp_path, Config(), free=["steps"])) as run:
        run.save_state({"step": 10})
    with closing(RunDir(tmp_path, replace(Config(), steps=20), free=["steps"])) as run:
        assert run.load_state() == {"step": 10}
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20
    with pytest.raises(ConfigError, match=r"lr was 0\.001, is 0\.1;"):
        RunDir(tmp_path, replace(Config(), steps=30, lr=0.1), free=["steps"])
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20
