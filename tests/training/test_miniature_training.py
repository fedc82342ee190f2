"""How the miniature is trained: the fast tower is the stock one, and stopped runs go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedTokenizerFast

from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_edited, sample_generation
from training.lab.miniature import flow
from training.lab.miniature.autoencoder import AutoencoderConfig, build, train_autoencoder
from training.lab.miniature.optimiser import MuonAdamW
from training.lab.miniature.scorer import MiniatureSftConfig, VisionConfig, train_critiques, train_vision
from training.lab.miniature.sft import BatchMaker, TokenBatch, answer_loss, prompt_text
from training.lab.miniature.student import (
    CHAT_TEMPLATE,
    CONTROL,
    StudentConfig,
    answer_text,
    build_image_processor,
    build_student,
    headings,
    rubrics,
)
from training.lab.miniature.tokenisers import train_tokeniser
from training.lab.miniature.vision import DenseHeads, patches, tower

pytestmark = pytest.mark.model

TINY = StudentConfig(vision_width=32, vision_layers=4, width=96, layers=2)
Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def tokeniser() -> PreTrainedTokenizerFast:
    """As `build_tokeniser` makes it, from fewer texts."""
    rng = np.random.default_rng(0)
    corpus = [text for _ in range(100) for e in (sample_generation(rng),) for text in (answer_text(e), e.request)]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_tokeniser(corpus, control=CONTROL, headings=headings(), vocabulary=400),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL[1:]),
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def test_what_is_one_token_stands_in_the_shipped_tokenisers_order() -> None:
    """Other ids would make a student that was trained anew another one."""
    shipped = json.loads((scorer_folder() / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    assert [token["content"] for token in shipped] == [*CONTROL, *headings()]


def student() -> Any:
    return build_student(TINY, tokeniser())


def batch(model: Any, size: int = 4) -> TokenBatch:
    rng = np.random.default_rng(5)
    maker = BatchMaker(model, tokeniser(), rubrics(), size)
    return next(maker.bucketed([sample_edited(rng), *(sample_generation(rng) for _ in range(size - 1))], rng))


def weights(*modules: nn.Module) -> Weights:
    return {f"{i}.{k}": v.clone() for i, module in enumerate(modules) for k, v in module.state_dict().items()}


def assert_same(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    different = [name for name in wanted if not torch.equal(found[name], wanted[name])]
    assert not different, f"{len(different)} of {len(wanted)} tensors differ, such as {different[:3]}"


class TestTower:
    def test_sees_what_the_stock_tower_sees(self) -> None:
        model = student().eval()
        pictures = np.stack([sample_generation(np.random.default_rng(seed)).picture for seed in range(3)])
        stock = build_image_processor()(images=[Image.fromarray(p) for p in pictures], return_tensors="pt")
        torch.testing.assert_close(patches(pictures).flatten(0, 1), stock.pixel_values, atol=1e-5, rtol=0)
        with torch.no_grad():
            wanted = model.model.visual(stock.pixel_values, grid_thw=stock.image_grid_thw)
            found = tower(model.model.visual, patches(pictures))
        torch.testing.assert_close(found.hidden.flatten(0, 1), wanted.last_hidden_state, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.merged.flatten(0, 1), wanted.pooler_output, atol=1e-5, rtol=0)
        assert len(found.deepstack) == len(wanted.deepstack_features) == 2
        for level, stock_level in zip(found.deepstack, wanted.deepstack_features, strict=True):
            torch.testing.assert_close(level.flatten(0, 1), stock_level, atol=1e-5, rtol=0)

    def test_frozen_trains_the_mergers_only(self) -> None:
        visual = student().model.visual
        pictures = patches(np.zeros((1, 48, 48, 3), np.uint8))
        seen = tower(visual, pictures, frozen=True)
        (seen.merged.sum() + sum(level.sum() for level in seen.deepstack)).backward()
        trained = {name for name, p in visual.named_parameters() if p.grad is not None}
        assert trained == {name for name, _ in visual.named_parameters() if "merger" in name}


class TestAnswerLoss:
    def test_is_the_stock_models_loss_with_prompts_masked(self) -> None:
        model = student().eval()
        examples = batch(model)
        found, _ = answer_loss(model, examples)
        labels = torch.where(examples.answer, examples.ids, -100)
        with torch.no_grad():
            stock = model(
                input_ids=examples.ids,
                attention_mask=(examples.ids != tokeniser().pad_token_id).long(),
                mm_token_type_ids=(examples.ids == model.config.image_token_id).int(),
                pixel_values=examples.pixels.flatten(0, 1),
                image_grid_thw=torch.tensor([[1, 12, 12]]).repeat(len(examples.pixels), 1),
                labels=labels,
            )
        assert float(found) == pytest.approx(float(stock.loss), abs=1e-4)
        everywhere = nn.functional.cross_entropy(stock.logits[:, :-1].flatten(0, 1), examples.ids[:, 1:].flatten())
        assert abs(float(everywhere) - float(found)) > 1e-3, "prompts would change the loss if they counted"

    def test_only_answers_and_their_end_are_marked(self) -> None:
        examples = batch(student())
        for row, example in enumerate(examples.examples):
            said = examples.ids[row][examples.answer[row]].tolist()
            assert tokeniser().decode(said) == answer_text(example) + "<|im_end|>"
            asked = examples.ids[row][: int(examples.answer[row].int().argmax())].tolist()
            assert tokeniser().decode(asked) == prompt_text(tokeniser(), example, rubrics())
        assert not examples.answer[examples.ids == tokeniser().pad_token_id].any()


class Stopped(Exception):
    """The process was killed."""


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
    """Let `owner.name` work `calls` times, then die."""
    work: Callable[..., Any] = getattr(owner, name)
    left = calls

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left == 0:
            raise Stopped
        left -= 1
        return work(*arguments, **named)

    monkeypatch.setattr(owner, name, dying)


def resumed(train: Callable[[Path], Weights], tmp_path: Path, owner: Any, name: str, calls: int) -> None:
    """A run that dies in its `calls + 1`-th step, and goes on from its checkpoint, is the run that never died."""
    undisturbed = train(tmp_path / "undisturbed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_at(monkeypatch, owner, name, calls)
        with pytest.raises(Stopped):
            train(tmp_path / "stopped")
    state = torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)
    assert 0 < state["step"] <= calls, "stopped after a checkpoint and before the end"
    assert_same(train(tmp_path / "stopped"), undisturbed)


class TestResume:
    def test_vision(self, tmp_path: Path) -> None:
        def train(path: Path) -> Weights:
            model = student()
            torch.manual_seed(1)
            heads = DenseHeads(TINY.vision_width)
            train_vision(VisionConfig(steps=5, batch=3, save_every=2), model, heads, path)
            return weights(model, heads)

        resumed(train, tmp_path, MuonAdamW, "step", 3)

    def test_critiques_across_the_thaw_of_the_tower(self, tmp_path: Path) -> None:
        config = MiniatureSftConfig(
            steps=6, horizon=9, cooldown=2, warmup=2, batch=2, chunk=4, frozen_steps=4, save_every=3, drawn=0.3
        )
        examples = [replace(sample_generation(np.random.default_rng(1)), masks_known=True)]

        def train(path: Path) -> Weights:
            model = student()
            torch.manual_seed(1)
            heads = DenseHeads(TINY.vision_width)
            train_critiques(config, model, heads, tokeniser(), path, examples)
            return weights(model, heads)

        resumed(train, tmp_path, MuonAdamW, "step", 5)  # from step 3, in the middle of a chunk

    def test_autoencoder(self, tmp_path: Path) -> None:
        config = AutoencoderConfig(channels=(8, 8, 8), steps=5, batch=2, save_every=2)

        def train(path: Path) -> Weights:
            model = train_autoencoder(config, path)
            scale = torch.tensor([model.config.scaling_factor, model.config.shift_factor])
            return weights(model) | {"scale": scale}

        resumed(train, tmp_path, torch.optim.AdamW, "step", 3)

    def test_flow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = flow.FlowConfig(
            width=32,
            layers=2,
            text_width=32,
            text_layers=2,
            pool=24,
            steps=5,
            horizon=8,
            cooldown=2,
            batch=3,
            save_every=2,
        )
        autoencoder = build(AutoencoderConfig(channels=(8, 8, 8))).eval()
        autoencoder.register_to_config(scaling_factor=1.0, shift_factor=0.0)
        monkeypatch.setattr(flow, "evaluate", lambda *_: {"short_reward": 0.0})

        def train(path: Path) -> Weights:
            pipeline = flow.train_flow(config, autoencoder, path)
            state = torch.load(path / "state.pt", weights_only=True)
            average = weights(pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2)
            return average | {f"model.{name}": value for name, value in state["model"].items()}

        resumed(train, tmp_path, MuonAdamW, "step", 3)

    def test_the_comparison_can_fail(self) -> None:
        first, second = weights(nn.Linear(2, 2)), weights(nn.Linear(2, 2))
        with pytest.raises(AssertionError, match="2 of 2 tensors differ"):
            assert_same(first, second)


class TestSchedule:
    def factor(
        self, step: int, *, steps: int, warmup: int = 10, horizon: int | None = None, cooldown: int = 0
    ) -> float:
        named = [("weight", nn.Parameter(torch.zeros(2, 2))), ("bias", nn.Parameter(torch.zeros(2)))]
        optimiser = MuonAdamW(named, lr=1.0, steps=steps, warmup=warmup, horizon=horizon, cooldown=cooldown)
        return optimiser.factor(step)

    def test_by_hand(self) -> None:
        # Cosine from 1 to 0.1: at thirds of the horizon cos is 1/2, 0 (half-way) and -1/2.
        assert self.factor(40, steps=120) == pytest.approx(0.1 + 0.45 * 1.5)
        assert self.factor(60, steps=120) == pytest.approx(0.1 + 0.45)
        assert self.factor(80, steps=120) == pytest.approx(0.1 + 0.45 * 0.5)
        assert self.factor(120, steps=120) == pytest.approx(0.1)
        assert self.factor(500, steps=120) == pytest.approx(0.1), "past the horizon it stays"
        # Warm-up: the first of ten steps has a tenth of the rate, the tenth the whole.
        assert self.factor(0, steps=120) == pytest.approx(0.1)
        assert self.factor(40, steps=120, warmup=82) == pytest.approx(0.5 * (0.1 + 0.45 * 1.5))
        # Cool-down over the last 40 of 100 steps: at 60 it begins, at 80 it is half-way from 1 to 0.1.
        assert self.factor(60, steps=100, horizon=120, cooldown=40) == pytest.approx(0.55)
        assert self.factor(80, steps=100, horizon=120, cooldown=40) == pytest.approx((0.1 + 0.45 * 0.5) * 0.55)
        assert self.factor(99, steps=100, horizon=198, cooldown=40) == pytest.approx(0.55 * (0.1 + 0.9 / 40))

    def test_more_steps_leave_the_first_ones_alone(self) -> None:
        short = [self.factor(step, steps=60, horizon=200, cooldown=20) for step in range(40)]
        assert short == [self.factor(step, steps=150, horizon=200, cooldown=20) for step in range(40)]

    def test_matrices_go_to_muon_and_tables_to_adamw(self) -> None:
        model = student()
        optimiser = MuonAdamW(model.named_parameters(), lr=0.5, steps=100, warmup=10)
        muon, adamw = ({id(p) for p in o.param_groups[0]["params"]} for o in optimiser._optimisers)
        names = {id(p): name for name, p in model.named_parameters()}
        assert muon | adamw == set(names)
        assert not muon & adamw
        assert all("embed" not in names[i] and "norm" not in names[i] and "bias" not in names[i] for i in muon)
        assert any("q_proj.weight" in names[i] for i in muon)
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        norm = optimiser.step(4)
        assert norm == pytest.approx(sum(p.numel() for p in model.parameters()) ** 0.5, rel=1e-4)
        assert [o.param_groups[0]["lr"] for o in optimiser._optimisers] == [0.5 * optimiser.factor(4)] * 2
        assert all(p.grad is None for p in model.parameters())
