"""Fine-tuning on the miniature: the engine's tokens, the answer's loss, exact resume, adapters that the engine loads."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import torch

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import scorer_folder
from tests.training.sft.runs import assert_same, rewards, small, weights
from training.sft import trainer as trainer_module
from training.sft.encoding import IGNORED, Encoder
from training.sft.loss import AnswerLoss
from training.sft.records import ChatFile
from training.sft.trainer import SftTrainer
from training.sft.weights import load_trainee

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision="fp32", device="cpu"))


class TestEncoding:
    def test_the_student_learns_on_the_tokens_that_the_engine_sends(self, checkpoint: Any, export: Path) -> None:
        encoder, file = Encoder(checkpoint), ChatFile(export / "train.jsonl")
        decoder = Decoder(checkpoint)
        for index in (0, 2):  # a generation and an edit
            record = file[index]
            prompt = decoder.row(record.messages(), Sampling(max_tokens=1)).prompt
            assert prompt is not None
            encoded = encoder(record)
            batch = encoder.collate([encoded])
            assert encoded.ids[: encoded.prompt].tolist() == list(prompt.ids)
            assert encoded.pixels is not None
            assert torch.equal(encoded.pixels, torch.cat([picture.patches for picture in prompt.pictures]))
            kinds = [int(token == prompt.image_token) for token in prompt.ids]
            assert batch.inputs["mm_token_type_ids"][0, : encoded.prompt].tolist() == kinds

    def test_only_the_answer_and_its_end_are_learned(self, checkpoint: Any, export: Path) -> None:
        encoder, file = Encoder(checkpoint), ChatFile(export / "train.jsonl")
        batch = encoder.collate([encoder(file[i]) for i in range(3)])
        for row in range(3):
            learned = batch.labels[row][batch.labels[row] != IGNORED].tolist()
            assert checkpoint.tokeniser.decode(learned) == file[row].answer + "<|im_end|>"
        assert not (batch.labels[batch.inputs["attention_mask"] == 0] != IGNORED).any()

    def test_lengths_are_known_without_reading_images(self, checkpoint: Any, export: Path) -> None:
        encoder, file = Encoder(checkpoint), ChatFile(export / "train.jsonl")
        assert [encoder.length(file[i]) for i in range(6)] == [len(encoder(file[i]).ids) for i in range(6)]

    def test_the_loss_is_the_stock_models_with_prompts_masked(self, checkpoint: Any, export: Path) -> None:
        encoder, file = Encoder(checkpoint), ChatFile(export / "train.jsonl")
        batch = encoder.collate([encoder(file[i]) for i in range(3)])
        with torch.no_grad():
            found = AnswerLoss(checkpoint.model)(batch.inputs, batch.labels) / batch.answer_tokens
            stock = checkpoint.model(**batch.inputs, labels=batch.labels).loss
        assert float(found) == pytest.approx(float(stock), rel=1e-4)

    def test_a_checkpoint_that_would_never_stop_is_refused(
        self, checkpoint: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint.model.generation_config, "eos_token_id", [5])
        with pytest.raises(ConfigError, match="would never stop"):
            Encoder(checkpoint)


class TestRun:
    def test_micro_batches_add_up_to_the_batch(self, export: Path, tmp_path: Path) -> None:
        """Encoded in this process or in a worker."""
        for size, workers in ((1, 0), (4, 1)):
            config = small(export, micro_batch=size, workers=workers, lora_dropout=0.0, max_steps=2)
            SftTrainer(config, tmp_path / str(size)).train()
        one, four = (weights(tmp_path / name / "adapter") for name in ("1", "4"))
        for name in one:
            torch.testing.assert_close(one[name], four[name], atol=2e-4, rtol=1e-3)

    def test_it_stops_when_development_stands_still(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        accuracies = iter([0.9, 0.5, 0.75, 0.75, 0.25])  # the first is the base's, which is no student to keep
        share = trainer_module.dev_accuracy([])

        def told(opinions: Any) -> Any:
            return replace(share, value=next(accuracies))

        monkeypatch.setattr(trainer_module, "dev_accuracy", told)
        config = small(export, max_steps=12, evaluate_every=1, patience=2, dev_pairs=1, save_every=50)
        with caplog.at_level("INFO", "rationalrewards.training"):
            folder = SftTrainer(config, tmp_path).train()
        assert "0.900 before training, 0.750 at best (step 2): NO BETTER than the base" in caplog.text
        assert re.search(r"steps: 1 of 12, about \d+ \w+ left", caplog.text)
        note = json.loads((folder / "training.json").read_text())
        assert note["step"] == 2
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        assert (state["progress"]["step"], state["progress"]["best_step"]) == (4, 2)
        assert_same(weights(folder), weights(tmp_path / "best"))

    def test_examples_that_do_not_fit_are_left_out_and_counted(self, export: Path, tmp_path: Path) -> None:
        lengths = SftTrainer(small(export), tmp_path / "all").examples.lengths
        limit = sorted(lengths)[-4]
        trainer = SftTrainer(small(export, max_length=limit), tmp_path / "some")
        assert trainer.examples.too_long
        assert sorted(trainer.examples.too_long + trainer.examples.lengths) == sorted(lengths)
        assert max(trainer.examples.lengths) <= limit

    def test_lines_that_hold_no_example_are_left_out_counted_and_named(
        self, export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The others are trained on as if the broken ones were not there."""
        shutil.copytree(export, tmp_path / "export")
        file = tmp_path / "export" / "train.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        missing = lines[0].replace("images/", "images/none-")
        file.write_text("\n".join([lines[0], '{"messages": [', *lines[1:], "[1]", missing]) + "\n", encoding="utf-8")
        trainer = SftTrainer(small(tmp_path / "export"), tmp_path / "run")
        trainer.run.close()
        assert trainer.examples.lengths == SftTrainer(small(export), tmp_path / "sound").examples.lengths
        assert "3 of 21 examples are left out: 3 that cannot be read (first " in caplog.text
        assert "train.jsonl:2: not a line of JSON" in caplog.text
        file.write_text('{"messages": [\n')
        with pytest.raises(ConfigError, match=r"1 of 1 examples are left out.*train\.jsonl:1.* There are 0 examples"):
            SftTrainer(small(tmp_path / "export"), tmp_path / "none")

    @pytest.mark.parametrize("mark", ["<|im_end|>", "<|image_pad|>"])
    @pytest.mark.parametrize("role", ["user", "assistant"])
    def test_a_mark_of_the_chat_in_a_text_leaves_its_example_out(
        self, role: str, mark: str, export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It would end the answer in its middle, or stand for a picture that is not there."""
        shutil.copytree(export, tmp_path / "export")
        file = tmp_path / "export" / "train.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        table = json.loads(lines[3])
        content = next(message["content"] for message in table["messages"] if message["role"] == role)
        part = next(part for part in content if part["type"] == "text")
        part["text"] += f" {mark} and more"
        file.write_text("\n".join([*lines[:3], json.dumps(table), *lines[4:]]) + "\n", encoding="utf-8")
        trainer = SftTrainer(small(tmp_path / "export"), tmp_path / "run")
        trainer.run.close()
        assert len(trainer.examples) == len(lines) - 1
        assert f"train.jsonl:4: a text holds {mark}, which would be read as a mark" in caplog.text

    def test_if_none_is_left_it_says_why_and_what_to_do(self, export: Path, tmp_path: Path) -> None:
        said = (
            r"18 of 18 examples have \d+ to \d+ tokens, more than max_length \(50\), and 0 are left.*--rubric miniature"
        )
        with pytest.raises(ConfigError, match=said) as raised:
            SftTrainer(small(export, max_length=50), tmp_path)
        assert "lower batch" not in str(raised.value), "no batch is small enough for nothing"

    def test_quantised_weights_learn_through_an_adapter(self, export: Path, tmp_path: Path) -> None:
        pytest.importorskip("bitsandbytes")
        config = small(export, precision="nf4", max_steps=2, lr=5e-3, checkpointing=True, autocast=False)
        trainer = SftTrainer(config, tmp_path)
        before = {name: p.detach().clone() for name, p in trainer.trainee.trainable.items()}
        frozen = {n: p.detach().clone() for n, p in trainer.trainee.model.named_parameters() if not p.requires_grad}
        trainer.train()
        after = trainer.trainee.trainable
        assert any(not torch.equal(before[name], after[name]) for name in before)
        now = dict(trainer.trainee.model.named_parameters())
        assert all(torch.equal(value, now[name]) for name, value in frozen.items())

    def test_recomputed_activations_change_nothing(self, export: Path, tmp_path: Path) -> None:
        for name, checkpointing in (("kept", False), ("again", True)):
            SftTrainer(small(export, max_steps=2, checkpointing=checkpointing), tmp_path / name).train()
        kept, again = (weights(tmp_path / name / "adapter") for name in ("kept", "again"))
        for name in kept:
            torch.testing.assert_close(kept[name], again[name], atol=1e-6, rtol=1e-5)

    def test_full_fine_tuning_leaves_the_tower_and_writes_a_checkpoint(self, export: Path, tmp_path: Path) -> None:
        folder = SftTrainer(small(export, method="full", max_steps=2), tmp_path).train()
        base, tuned = (weights(path, "model.safetensors") for path in (scorer_folder(), folder))
        changed = {name for name in base if not torch.equal(base[name].float(), tuned[name].float())}
        assert base.keys() == tuned.keys()
        assert changed
        assert not any("visual" in name for name in changed)
        assert len(rewards(export, model=str(folder))) == 8

    def test_tower_and_projector_train_when_told(self, export: Path) -> None:
        names = load_trainee(small(export, train_projector=True, train_tower=True), "cpu").trainable
        assert {"blocks", "merger", "deepstack_merger_list"} <= {n.split(".")[2] for n in names if "visual" in n}

    def test_a_loss_that_is_no_number_ends_the_run(self, export: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="The loss is nan at step"):
            SftTrainer(small(export, lr=1e30, clip=1e30, max_steps=6), tmp_path).train()
