"""Guidance in rollouts and in the loss: against hand arithmetic, the pipeline itself, and an exact resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from training.nft.__main__ import resolved
from training.nft.advantage import AdvantageConfig
from training.nft.config import LossConfig, NFTConfig, PromptsConfig, changed
from training.nft.estimate import estimate
from training.nft.families import MODULES, family_class
from training.nft.guidance import guided, guided_velocity, replaced, without_caption
from training.nft.presets import miniature_cpu
from training.nft.prompts import training_prompts
from training.nft.rollout import ConditioningCache, sample_latents
from training.nft.train import train
from training.nft.trainer import make_trainer
from training.nft.update import MicroBatch, TrainingSet, accumulate, make_batch

Make = Callable[..., NFTConfig]
LORA = Path("weights/pytorch_lora_weights.safetensors")
OPTIONS: dict[str, dict[str, Any]] = {
    "guided": {"rollout": {"guidance": 3.0}, "loss": {"guided": True}},
    "passes": {"rollout": {"guidance": 3.0}, "loss": {"dropped": 0.5}},
    "distil": {"loss": {"kl_weight": 1.0, "kl_guidance": 3.0}},
}


class Line:
    """A family of one number: v = weight * conditioning."""

    def velocity(self, model: nn.Module, x_t_B: Tensor, t_B: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        found: Tensor = model(conditioning["c"])
        return found


class LinePolicy:
    """v = c now and in the old policy, v = 0 in the reference."""

    old_is_current = True

    def __init__(self, *, at_reference: bool) -> None:
        self.at_reference = at_reference
        self.module = self._line(1.0)
        self._reference = self.module if at_reference else self._line(0.0)

    @staticmethod
    def _line(weight: float) -> nn.Linear:
        line = nn.Linear(1, 1, bias=False)
        nn.init.constant_(line.weight, weight)
        return line

    @contextmanager
    def reference(self) -> Iterator[nn.Module]:
        with torch.no_grad():
            yield self._reference


def losses(policy: LinePolicy, guidance: float, **settings: Any) -> dict[str, Tensor]:
    """One pair: x_0 = 1, x_t = 2, t = 0.5, A = 1; the caption is 2 and no caption is 1."""
    one = torch.ones(1, 1)
    batch = MicroBatch(one, 2 * one, torch.tensor([0.5]), torch.tensor([1.0]), {"c": 2 * one}, {"c": one}, guidance)
    loss = LossConfig(**{"kl_weight": 0.0, **settings})
    found, logged = accumulate(batch, Line(), policy, loss, AdvantageConfig(clip=1.0))  # type: ignore[arg-type]
    found.sum().backward()
    return logged


def test_guidance_by_hand() -> None:
    caption, none = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    assert [guided(caption, none, g).item() for g in (0.0, 1.0, 3.0)] == [1.0, 3.0, 7.0]


def test_the_guided_velocity_is_trained_through_both_of_its_passes() -> None:
    """v = w (1 + 3 (2 - 1)) = 4 w, x_0(v) = 2 - 0.5 * 4 = 0: error 1, and with r = 1 the loss is 1.

    d loss / d v = 2 (0 - 1) (-0.5) / 1 = 1 and d v / d w = 4. The conditional velocity alone, 2 w, is right already.
    """
    policy = LinePolicy(at_reference=True)
    assert losses(policy, 3.0, guided=True)["policy_loss"].item() == pytest.approx(1.0)
    assert policy.module.weight.grad.item() == pytest.approx(4.0)
    policy = LinePolicy(at_reference=True)
    assert losses(policy, 1.0)["policy_loss"].item() == pytest.approx(0.0)
    assert policy.module.weight.grad.item() == pytest.approx(0.0)


def test_the_kl_term_has_the_reference_of_its_own_guidance() -> None:
    """Current: 2 w conditional, 4 w guided. Reference 0: 2^2 and 4^2. Equal weights but a guided reference: (2 - 4)^2."""
    apart = [
        losses(LinePolicy(at_reference=False), g, kl_weight=1.0, guided=g > 1)["velocity_kl"].item() for g in (1, 3)
    ]
    assert apart == [4.0, 16.0]
    policy = LinePolicy(at_reference=True)
    assert losses(policy, 1.0, kl_weight=1.0, kl_guidance=3.0)["velocity_kl"].item() == 4.0
    assert policy.module.weight.grad.item() == pytest.approx(2 * (2 - 4) * 2)
    assert losses(LinePolicy(at_reference=True), 1.0, kl_weight=1.0)["velocity_kl"].item() == 0.0


def test_guided_rollouts_are_the_pipelines_own() -> None:
    """Same noise, Euler, guidance 3: the pipeline's latents."""
    family = family_class("miniature").load(miniature_cpu().model)
    request = UserRequest("a large red circle left of a small blue square")
    start = torch.randn(1, *family.latent_shape(), generator=torch.Generator().manual_seed(1))
    encoded = ConditioningCache(family, drops=True)
    encoded.prepare([request])
    arguments = (start, encoded.batch([request]), family.times(3), "euler", encoded.dropped(1))
    mine = {g: sample_latents(family, family.transformer, *arguments, g) for g in (1.0, 3.0)}
    for g, latents in mine.items():
        theirs = family.pipeline(
            prompt=request.text,
            height=48,
            width=48,
            num_inference_steps=3,
            guidance_scale=g,
            max_sequence_length=0,
            latents=start,
            output_type="latent",
        ).images
        torch.testing.assert_close(latents, theirs, rtol=1e-4, atol=1e-4)
    assert (mine[1.0] - mine[3.0]).abs().max() > 0.1


def test_a_dropped_caption_depends_on_its_pair_alone() -> None:
    pairs = [(p, g, n) for p in range(10) for g in range(10) for n in range(4)]
    drawn = without_caption(0.25, 42, 3, pairs)
    assert 70 < int(drawn.sum()) < 130
    assert torch.equal(without_caption(0.25, 42, 3, pairs[7:9]), drawn[7:9])
    assert not torch.equal(without_caption(0.25, 42, 4, pairs), drawn)
    rows, none = {"c": torch.tensor([[1.0], [2.0], [3.0]])}, {"c": torch.zeros(3, 1)}
    assert replaced(rows, none, torch.tensor([False, True, False]))["c"].flatten().tolist() == [1.0, 0.0, 3.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_stopped_run_ends_the_same(name: str, small: Make, tmp_path: Path, metrics: Callable[..., Any]) -> None:
    config = small(run={"epochs": 2, "save_every": 1}, **OPTIONS[name])
    train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=1)
    train(config, tmp_path / "parts")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / run / LORA) for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["loss.guided=true"], "rollout.guidance draws: set that above 1"),
        (["loss.guided=true", "rollout.guidance=3", "loss.dropped=0.1"], "leave loss.dropped at 0"),
        (["rollout.guidance=0.5"], "rollout.guidance must be at least 1"),
        (["loss.dropped=1.0"], "loss.dropped must be at least 0 and below 1"),
        (["prompts.refined_share=2.0"], "prompts.refined_share must be between 0 and 1"),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolved("miniature_cpu", None, settings)


@pytest.mark.parametrize("name", OPTIONS)
def test_families_that_guide_in_a_way_of_their_own_are_refused_before_they_load(name: str) -> None:
    assert {family for family in MODULES if family_class(family).guides} == {"miniature", "sd3", "flux2_klein"}
    config = changed(NFTConfig(), {"model": {"family": "qwen_image", "pipeline": "nowhere"}, **OPTIONS[name]})
    with pytest.raises(ConfigError, match=r"guides with two passes \(miniature, sd3, flux2_klein\), not qwen_image"):
        make_trainer(config)


def test_the_work_of_an_epoch_counts_both_passes() -> None:
    """96 rollouts of 6 steps, 288 pairs, of which the old policy and what is trained take one or two passes each."""
    found = {name: estimate(changed(miniature_cpu(), changes)) for name, changes in {"plain": {}, **OPTIONS}.items()}
    assert {name: (e.forwards, e.backwards) for name, e in found.items()} == {
        "plain": (576 + 288, 288),
        "guided": (2 * 576 + 2 * 288, 2 * 288),
        "passes": (2 * 576 + 288, 288),
        "distil": (576 + 288 + 2 * 288, 288),
    }


def test_settings_saved_before_guidance_are_read_as_without() -> None:
    table = json.loads(json.dumps(asdict(miniature_cpu())))
    for section, keys in {
        "rollout": ["guidance"],
        "loss": ["guided", "dropped", "kl_guidance"],
        "prompts": ["refined", "refined_share"],
    }.items():
        for key in keys:
            del table[section][key]
    assert changed(NFTConfig(), table) == miniature_cpu()
    assert not miniature_cpu().drops_captions


def test_refined_words_are_drawn_and_trained(tmp_path: Path) -> None:
    """A share of the groups: judged by what was asked, sampled and trained in the refined words."""
    rows = [{"prompt": f"a red circle {i}", "generate_with": f"exactly one red circle {i}"} for i in range(4)]
    (tmp_path / "refined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = PromptsConfig(refined=f"file:{tmp_path / 'refined.jsonl'}", refined_share=0.25)
    drawn = training_prompts(settings, 42).draw(1, 8)
    assert [prompt.train_refined for prompt in drawn] == [False] * 6 + [True] * 2
    assert all(prompt.trained == prompt.request == prompt.sampled for prompt in drawn[:6])
    assert all(prompt.trained == prompt.sampled != prompt.request for prompt in drawn[6:])
    family = family_class("miniature").load(miniature_cpu().model)
    encoded = ConditioningCache(family)
    encoded.prepare([wording for prompt in drawn for wording in (prompt.request, prompt.sampled)])
    latents, ones = torch.zeros(8, 1, *family.latent_shape()), torch.ones(8, 1)
    chosen = TrainingSet(0, drawn, range(8), latents, ones, ones.bool(), ones[..., None])
    batch = make_batch(chosen, [(0, 0, 0), (7, 0, 0)], family, encoded, miniature_cpu())
    wanted = encoded.batch([drawn[0].request, drawn[7].sampled])
    assert all(torch.equal(batch.conditioning[name], wanted[name]) for name in wanted)
    assert not torch.equal(batch.conditioning["tokens"], encoded.batch([drawn[0].request, drawn[7].request])["tokens"])


def test_one_pass_of_two_conditionings_is_two_passes() -> None:
    family = family_class("miniature").load(miniature_cpu().model)
    encoded = ConditioningCache(family, drops=True)
    request = UserRequest("a small green triangle")
    encoded.prepare([request])
    x, t = torch.randn(2, *family.latent_shape()), torch.tensor([0.3, 0.8])
    caption, none = encoded.batch([request] * 2), encoded.dropped(2)
    assert none is not None
    with torch.no_grad():
        together = guided_velocity(family, family.transformer, x, t, caption, none, 3.0)
        apart = [family.velocity(family.transformer, x, t, conditioning) for conditioning in (caption, none)]
    torch.testing.assert_close(together, 3 * apart[0] - 2 * apart[1], rtol=1e-4, atol=1e-4)
