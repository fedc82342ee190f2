"""Fine-tuning on the miniature: the engine's tokens, the answer's loss, exact resume, adapters that the engine loads."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file
from torch import Tensor

from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.rubric_file import rubric_to_toml
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.training.sft.exports import write_export
from training.data.labelled_pairs import PairFolder
from training.lab.miniature.student import rubrics
from training.sft import trainer as trainer_module
from training.sft.artefacts import adapter_base, merge
from training.sft.config import SftConfig, miniature
from training.sft.development import Development
from training.sft.encoding import IGNORED, Encoder
from training.sft.estimate import estimate
from training.sft.loss import AnswerLoss, lr_factor
from training.sft.records import ChatFile
from training.sft.trainer import SftTrainer
from training.sft.weights import load_trainee

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("export"), train=18, dev_pairs=4)


def small(export: Path, **changes: Any) -> SftConfig:
    values = {
        "export": str(export), "batch": 4, "micro_batch": 2, "max_steps": 4, "evaluate_every": 0, "save_every": 2,
        "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lr": 1e-3, **changes,
    }  # fmt: skip
    return replace(miniature(), **values)


def weights(folder: Path, name: str = "adapter_model.safetensors") -> dict[str, Tensor]:
    return load_file(folder / name)


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def rewards(pairs: Path, **options: Any) -> list[float]:
    """What the core's own engine says of the development pictures."""
    model = options.pop("model", str(scorer_folder()))
    engine = EngineOptions(precision="fp32", device="cpu", **options)
    scorer = make_scorer(f"local:{model}", engine, settings=ScorerSettings(guided=True))
    folder = PairFolder(pairs)
    cases = [
        Case(folder.request(labelled.pair), candidate)
        for labelled in folder.pairs("dev")
        for candidate in folder.candidates(labelled.pair)
    ]

    async def work() -> list[float]:
        batch = await scorer.score_many(cases, "score")
        await scorer.close()
        assert not batch.reasons
        return [
            scorer.reward(o, c.request, expected=True)
            for o, c in zip(batch.outcomes, cases, strict=True)
            if isinstance(o, Critique)
        ]

    return asyncio.run(work())


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision="fp32", device="cpu"))


@pytest.fixture(scope="module")
def trained(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps at a learning rate that shows."""
    path = tmp_path_factory.mktemp("run") / "run"
    assert SftTrainer(small(export, lr=5e-3, evaluate_every=2, dev_pairs=4), path).train() == path / "adapter"
    return path


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

    def test_what_is_no_adapter_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not a LoRA adapter folder"):
            adapter_base(tmp_path)


class Stopped(Exception):
    """The process was killed."""


def dying_after(calls: int) -> Callable[..., Any]:
    step, left = SftTrainer._step, calls

    def dying(self: SftTrainer, *arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise Stopped
        left -= 1
        step(self, *arguments)

    return dying


def logged(run: Path) -> list[dict[str, Any]]:
    """The metrics without their clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class TestResume:
    @pytest.mark.parametrize("method", ["lora", "full"])
    def test_a_stopped_run_goes_on_bit_for_bit(
        self, method: str, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With dropout, accumulation, a new epoch after step 4 and measurements; stopped between checkpoints."""
        measured = 3 if method == "lora" else 0
        config = small(export, max_steps=6, method=method, evaluate_every=measured, dev_pairs=2, patience=0)
        SftTrainer(config, tmp_path / "undisturbed").train()
        with monkeypatch.context() as patch:
            patch.setattr(SftTrainer, "_step", dying_after(3))
            with pytest.raises(Stopped):
                SftTrainer(config, tmp_path / "stopped").train()
        SftTrainer(config, tmp_path / "stopped").train()
        assert logged(tmp_path / "stopped") == logged(tmp_path / "undisturbed"), "no step is logged twice"
        states = [torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("stopped", "undisturbed")]
        assert_same(states[0]["trained"], states[1]["trained"])
        for name, moments in states[1]["optimiser"]["state"].items():
            assert_same(states[0]["optimiser"]["state"][name], moments)
        assert states[0]["progress"] == states[1]["progress"]

    def test_a_finished_run_is_not_trained_again(self, export: Path, tmp_path: Path) -> None:
        config = small(export, max_steps=2)
        first = weights(SftTrainer(config, tmp_path).train())
        lines = (tmp_path / "metrics.jsonl").read_text()
        assert_same(weights(SftTrainer(config, tmp_path).train()), first)
        assert (tmp_path / "metrics.jsonl").read_text() == lines

    def test_a_finished_run_can_be_made_longer(self, export: Path, tmp_path: Path) -> None:
        SftTrainer(small(export, epochs=1.0, max_steps=0), tmp_path).train()
        longer = small(export, epochs=2.0, max_steps=0, patience=7, evaluate_every=0)
        trainer = SftTrainer(longer, tmp_path)
        trainer.train()
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
        assert trainer.progress.step == 8
        rates = [line["lr"] for line in lines if "loss" in line]
        assert rates[4] == pytest.approx(1e-3 * lr_factor(4, 8, longer.warmup)), "along the longer schedule"
        assert json.loads((tmp_path / "config.json").read_text())["epochs"] == 2.0

    def test_other_settings_or_other_data_are_refused(self, export: Path, tmp_path: Path) -> None:
        SftTrainer(small(export, max_steps=2), tmp_path / "run").train()
        with pytest.raises(ConfigError, match=r"another configuration: lr was 0\.001, is 0\.002"):
            SftTrainer(small(export, max_steps=2, lr=2e-3), tmp_path / "run")
        state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
        torch.save(state | {"examples": 99}, tmp_path / "run" / "state.pt")
        with pytest.raises(ConfigError, match="trained on 99 examples"):
            SftTrainer(small(export, max_steps=2), tmp_path / "run").train()


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


class TestDevelopment:
    def test_ties_alone_are_refused_before_anything_is_loaded(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = tied(export, tmp_path / "export")
        monkeypatch.setattr(trainer_module, "load_trainee", no_loading)
        with pytest.raises(ConfigError, match=r"all 4 pairs are ties.*evaluate_every=0"):
            SftTrainer(small(copy, evaluate_every=None), tmp_path / "run")

    def test_no_development_pairs_at_all_say_what_to_do(self, export: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(export, tmp_path / "export")
        rows = (copy / "pairs.jsonl").read_text().replace('"split": "dev"', '"split": "train"')
        (copy / "pairs.jsonl").write_text(rows)
        with pytest.raises(ConfigError, match="larger --dev, or say evaluate_every=0"):
            SftTrainer(small(copy, evaluate_every=None), tmp_path / "run")

    def test_only_pairs_with_a_winner_are_counted_and_few_are_said(
        self, export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        copy = tied(export, tmp_path / "export", ties=2)
        development = Development(small(copy, dev_pairs=2))
        assert [one.pair.preference is Verdict.TIE for one in development.pairs] == [False, False]
        assert "Only 2 development pairs with a winner: an accuracy is known within 0.69" in caplog.text


def tied(export: Path, copy: Path, ties: int = 4) -> Path:
    """The export with its first pairs made ties."""
    shutil.copytree(export, copy)
    rows = [json.loads(line) for line in (copy / "pairs.jsonl").read_text().splitlines()]
    for row in rows[:ties]:
        row["preference"] = "TIE"
    (copy / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return copy


def no_loading(*_: Any) -> Any:
    raise AssertionError("a model was loaded first")


class TestEstimate:
    def test_counts_what_really_trains(self, export: Path) -> None:
        config = small(export, lora_rank=8)
        found = estimate(config)
        trainee = load_trainee(config, "cpu")
        assert found.trained_parameters == sum(p.numel() for p in trainee.trainable.values())
        held = sum(p.numel() * p.element_size() for p in trainee.model.parameters() if not p.requires_grad)
        assert found.weights * 2**30 == held

    def test_the_presets_models_have_their_published_sizes(self) -> None:
        config = replace(miniature(), model="Qwen/Qwen3-VL-8B-Instruct", precision="bf16")
        found = estimate(config)
        assert round(found.parameters / 1e9, 2) == 8.77
        assert found.weights == pytest.approx(16.3, abs=0.1)

    def test_levers_move_it_the_right_way(self) -> None:
        base = replace(miniature(), model="Qwen/Qwen3-VL-4B-Instruct", precision="bf16", micro_batch=1, batch=8)
        assert estimate(replace(base, precision="nf4")).weights < 0.5 * estimate(base).weights
        assert estimate(replace(base, checkpointing=True)).activations < 0.5 * estimate(base).activations
        full = replace(base, method="full", precision="fp32")
        assert estimate(full, shards=8).trained == pytest.approx(estimate(full).trained / 8)
        assert estimate(base, shards=8).trained == estimate(base).trained  # adapters stay whole

    def test_an_unknown_model_is_said(self) -> None:
        with pytest.raises(ConfigError, match="hf download nobody/nothing"):
            estimate(replace(miniature(), model="nobody/nothing"))
