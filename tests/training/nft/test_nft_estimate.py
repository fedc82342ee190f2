"""Memory of every preset before anything is downloaded, with all that lies beside the transformer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from training.nft import shapes
from training.nft.config import NFTConfig
from training.nft.estimate import NFTEstimate, estimate
from training.nft.presets import PRESETS

GIB = 2**30


@pytest.fixture(autouse=True)
def nothing_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no network: what a user has who asks before downloading."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def of(preset: str, **rewards: object) -> tuple[NFTConfig, NFTEstimate]:
    config = PRESETS[preset]()
    config = replace(config, rewards=replace(config.rewards, **rewards))
    return config, estimate(config)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_estimated_without_its_files(preset: str) -> None:
    config, found = of(preset)
    assert found.peak >= found.backbone_bytes + found.trained_bytes
    if config.model.family != "miniature":
        assert found.weights > 2e9
        assert found.peak > found.backbone_bytes + found.encoder_bytes, "prompts are encoded beside the transformer"


def test_the_card_of_24_gb_holds_text_encoders_and_the_judge_as_well() -> None:
    _, found = of("single_24gb")
    assert found.encoder_bytes == pytest.approx(10.4 * GIB, rel=0.01)  # CLIP-L, CLIP-G and T5-XXL in bf16
    assert 7 * GIB < found.judge_bytes < 10 * GIB  # 8B in NF4, and its cache
    assert 10 * GIB < found.peak < 24 * GIB
    assert "taken for one of 8B" in str(found)


def test_a_judge_that_stays_is_there_all_the_time() -> None:
    _, turns = of("single_24gb")
    _, stays = of("single_24gb", time_share=False)
    assert stays.peak == pytest.approx(turns.peak + turns.judge_bytes)
    assert "judging" not in stays.stages
    _, elsewhere = of("single_24gb", judge="server:judge", time_share=False)
    assert elsewhere.judge_bytes == 0
    assert "on its own server" in str(elsewhere)


def test_parts_that_do_not_wait_on_the_cpu_are_there_all_the_time() -> None:
    config, offloaded = of("flux_dev_t2i")
    held = estimate(replace(config, model=replace(config.model, offload=False)))
    assert held.stages["training"] == offloaded.stages["training"] + held.encoder_bytes + held.vae_bytes


def test_the_sizes_are_those_of_the_real_classes() -> None:
    import diffusers
    import transformers

    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    large = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    t5 = transformers.T5Config(
        d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, vocab_size=32128, feed_forward_proj="gated-gelu"
    )
    with torch.device("meta"):
        made = {
            shapes.CLIP_L: transformers.CLIPTextModelWithProjection(
                transformers.CLIPTextConfig(**text, projection_dim=768)
            ),
            shapes.CLIP_BIG_G: transformers.CLIPTextModelWithProjection(
                transformers.CLIPTextConfig(**large, projection_dim=1280)
            ),
            shapes.T5_XXL: transformers.T5EncoderModel(t5),
            shapes.FLUX2_VAE: diffusers.AutoencoderKLFlux2(),
            shapes.QWEN_VAE: diffusers.AutoencoderKLQwenImage(),
        }
    assert all(sum(p.numel() for p in model.parameters()) == wanted for wanted, model in made.items())
