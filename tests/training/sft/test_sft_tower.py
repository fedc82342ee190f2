"""What the frozen tower says of a picture is kept: the same loss and gradients, fewer questions, within its memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from torch import Tensor

from tests.training.sft.exports import write_export
from training.sft.config import SftConfig, miniature
from training.sft.encoding import ExampleBatch
from training.sft.tower import TowerMemory
from training.sft.trainer import SftTrainer

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("export"), train=6, dev_pairs=1)


def small(export: Path, **changes: Any) -> SftConfig:
    values = {"export": str(export), "batch": 6, "micro_batch": 6, "evaluate_every": 0, "lora_rank": 4, **changes}
    return replace(miniature(), **values)


class Counted:
    """The tower, with what it was asked."""

    def __init__(self, trainer: SftTrainer) -> None:
        tower = trainer.trainee.model.model.visual
        self._forward, self.images = tower.forward, 0
        tower.forward = self

    def __call__(self, pixels: Tensor, grid_thw: Tensor, **options: Any) -> Any:
        self.images += len(grid_thw)
        return self._forward(pixels, grid_thw=grid_thw, **options)


def learned(trainer: SftTrainer, batch: ExampleBatch) -> tuple[float, list[Tensor]]:
    """The loss of a batch and its gradients."""
    loss = trainer.module(batch.inputs, batch.labels)
    (loss / batch.answer_tokens).backward()
    gradients = [parameter.grad.clone() for parameter in trainer.trained]
    trainer.optimiser.zero_grad(set_to_none=True)
    return float(loss.detach()), gradients


def assert_equal(found: tuple[float, list[Tensor]], wanted: tuple[float, list[Tensor]]) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    for ours, theirs in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gib", [1.0, 1e-9])
def test_loss_and_gradients_are_those_of_the_tower_itself(gib: float, export: Path, tmp_path: Path) -> None:
    trainer = SftTrainer(small(export, tower_memory=0), tmp_path / "run")
    for layer in trainer.trainee.model.modules():
        if hasattr(layer, "lora_B"):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.05)  # so that every matrix has a gradient
    examples = [trainer.examples[i] for i in range(6)]
    assert any(len(example.images) == 2 for example in examples), "an edit has its source image too"
    collate = trainer._encoder().collate
    batch = collate(examples)
    wanted = learned(trainer, batch)
    tower = Counted(trainer)
    memory = TowerMemory(trainer.trainee.model.model.visual, gib)
    with memory.of(batch):
        assert_equal(learned(trainer, batch), wanted)
    asked, fits = tower.images, gib == 1.0
    assert asked == len(batch.images)
    assert all((image in memory) is fits for image in batch.images)
    again = collate([example.unseen() for example in examples]) if fits else batch
    with memory.of(again):
        assert_equal(learned(trainer, again), wanted)
    assert tower.images == (asked if fits else 2 * asked)


def test_a_picture_is_read_and_seen_once_in_a_run(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = SftTrainer(small(export, max_steps=3, epochs=9, tower_memory=0), tmp_path / "run")
    tower = Counted(trainer)
    trainer.tower = trainer.examples.memory = TowerMemory(trainer.trainee.model.model.visual, 1.0)
    trainer.train()
    pictures = {path for index in range(6) for path in trainer.examples[index].images}
    assert tower.images == len(pictures)
    assert all(trainer.examples[index].pixels is None for index in range(6))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({}, True), ({"train_tower": True}, False), ({"epochs": 1.0}, False), ({"tower_memory": 0}, False)],
)
def test_only_a_tower_that_says_the_same_again_is_remembered(
    changes: dict[str, Any], kept: bool, export: Path, tmp_path: Path
) -> None:
    assert (SftTrainer(small(export, **changes), tmp_path / "run").tower is not None) is kept
