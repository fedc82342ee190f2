"""The adapter that a run leaves: loaded by the engine, merged, continued, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file, save_file

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.rubric_file import rubric_to_toml
from tests.training.sft.runs import rewards, small, weights
from training.lab.miniature.student import rubrics
from training.sft.artefacts import adapter_base, merge
from training.sft.trainer import SftTrainer
from training.sft.weights import load_trainee

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def trained(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps at a learning rate that shows."""
    path = tmp_path_factory.mktemp("run") / "run"
    assert SftTrainer(small(export, lr=5e-3, evaluate_every=2, dev_pairs=4), path).train() == path / "adapter"
    return path


class TestAdapter:
    def test_the_engine_loads_it_and_its_scores_change(self, export: Path, tmp_path: Path) -> None:
        """The shipped judge is sure of itself: only a hard push moves what it writes."""
        pushed = SftTrainer(small(export, lr=5e-2, max_steps=6), tmp_path / "run").train()
        plain, adapted = rewards(export), rewards(export, adapter=str(pushed))
        assert max(abs(a - b) for a, b in zip(plain, adapted, strict=True)) > 1e-3

    def test_it_is_a_peft_folder_on_the_language_model_alone(self, trained: Path) -> None:
        names = list(weights(trained / "adapter"))
        assert names
        assert all("language_model" in name for name in names)
        assert adapter_base(trained / "adapter") == str(scorer_folder())
        assert "--adapter" in (trained / "adapter" / "README.md").read_text()

    def test_the_run_directory_tells_what_happened(self, trained: Path) -> None:
        lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
        assert lines[0]["examples"] == 18
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
        assert [line["step"] for line in lines if "pair_accuracy" in line] == [0, 2, 4]
        note = json.loads((trained / "adapter" / "training.json").read_text())
        assert note["config"]["lora_rank"] == 4
        assert [row["step"] for row in note["development"]] == [0, 2], "as of the best step"

    def test_merged_it_judges_as_beside_its_base(self, trained: Path, export: Path, tmp_path: Path) -> None:
        merge(str(scorer_folder()), trained / "adapter", tmp_path / "merged")
        assert (tmp_path / "merged" / "rubric_edit.toml").is_file()
        beside = rewards(export, adapter=str(trained / "adapter"))
        assert rewards(export, model=str(tmp_path / "merged")) == pytest.approx(beside, abs=0.06)  # rounded to bf16
        with pytest.raises(ConfigError, match="is not empty"):
            merge(str(scorer_folder()), trained / "adapter", tmp_path / "merged")

    def test_it_carries_the_rubric_it_was_taught_in_and_so_does_the_merged_folder(
        self, export: Path, tmp_path: Path
    ) -> None:
        """The export was made with a rubric of the user's own: the base's would ask in other words."""
        own = replace(rubrics()["generation"], name="my own words")
        copy = shutil.copytree(export, tmp_path / "export")
        (copy / "rubric_generation.toml").write_text(rubric_to_toml(own), encoding="utf-8")
        adapter = SftTrainer(small(copy, max_steps=1), tmp_path / "run").train()
        beside = make_scorer("miniature", EngineOptions(adapter=str(adapter)))
        assert beside.rubric_for(UserRequest("a red circle")) == own
        merge(str(scorer_folder()), adapter, tmp_path / "merged")
        merged = make_scorer(f"local:{tmp_path / 'merged'}")
        assert merged.rubric_for(UserRequest("a red circle")) == own
        assert make_scorer("miniature").rubric_for(UserRequest("a red circle")) != own

    def test_a_run_begins_where_an_earlier_adapter_ends(self, trained: Path, export: Path, tmp_path: Path) -> None:
        begun = load_trainee(small(export, adapter=str(trained / "adapter")), "cpu")
        earlier = weights(trained / "adapter")
        assert len(begun.trainable) == len(earlier) > 0
        for name, parameter in begun.trainable.items():
            assert torch.equal(parameter.detach(), earlier[f"base_model.model.{name.replace('.default.', '.')}"])
        again = SftTrainer(small(export, adapter=str(trained / "adapter"), max_steps=1), tmp_path / "run").train()
        assert weights(again).keys() == earlier.keys()

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"lora_rank": 8}, "set lora_rank=4"),
            ({"train_projector": True}, "adapts other layers"),
            ({"adapter": "/no/such"}, "is no readable LoRA adapter folder"),
        ],
    )
    def test_an_adapter_of_another_form_is_refused(
        self, changes: dict[str, Any], said: str, trained: Path, export: Path
    ) -> None:
        with pytest.raises(ConfigError, match=said):
            load_trainee(small(export, **{"adapter": str(trained / "adapter"), **changes}), "cpu")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda weight: weight * float("nan"), "holds values that are no numbers"),
            (lambda weight: weight[:, :-1].contiguous(), "of a model of other sizes"),
        ],
    )
    def test_a_damaged_adapter_is_no_beginning(
        self, change: Callable[[torch.Tensor], torch.Tensor], said: str, trained: Path, export: Path, tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(trained / "adapter", tmp_path / "adapter"))
        file = folder / "adapter_model.safetensors"
        first, *others = load_file(file).items()
        save_file({first[0]: change(first[1]), **dict(others)}, file)
        with pytest.raises(ConfigError, match=said):
            load_trainee(small(export, adapter=str(folder)), "cpu")

    def test_what_is_no_adapter_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not a LoRA adapter folder"):
            adapter_base(tmp_path)
