"""What the trainer writes for the miniature goes straight back into the generator that the nodes use."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import EXAMPLE, generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator
from training.nft.config import PolicyConfig
from training.nft.families import MODULES, family_class
from training.nft.lora_file import PREVIEW, save_weights
from training.nft.lora_metadata import lora_metadata
from training.nft.policy import LoraPolicy
from training.nft.presets import miniature_cpu


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.int32)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The file of a policy that has moved, and what the policy itself draws."""
    family = family_class("miniature").load(miniature_cpu().model)
    policy = LoraPolicy(family.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, 0)
    with torch.no_grad():
        for number, parameter in enumerate(policy.parameters):
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(number))
    run = tmp_path_factory.mktemp("tuned")
    (run / "samples").mkdir()
    Image.new("RGB", (800, 400), "red").save(run / "samples" / "000005.png")
    file = save_weights(policy, family, run / "weights", {"name": "tuned", "judge": "miniature", "epochs": 5})
    return file, pixels(MiniatureGenerator(family.pipeline).generate(EXAMPLE, 0))


@pytest.fixture(scope="module")
def generator() -> Iterator[MiniatureGenerator]:
    made = MiniatureGenerator.load(generator_folder())
    yield made
    made.tune(None)


def test_the_tuned_generator_draws_what_the_policy_draws(
    generator: MiniatureGenerator, tuned: tuple[Path, np.ndarray]
) -> None:
    file, expected = tuned
    shipped = pixels(generator.generate(EXAMPLE, 0))
    generator.tune(file)
    changed = pixels(generator.generate(EXAMPLE, 0))
    assert np.abs(changed - expected).max() <= 2
    assert np.abs(changed - shipped).mean() > 3
    generator.tune(file, 0.0)
    assert np.array_equal(pixels(generator.generate(EXAMPLE, 0)), shipped)
    generator.tune(file, 0.3)
    assert 0 < np.abs(pixels(generator.generate(EXAMPLE, 0)) - shipped).mean() < np.abs(changed - shipped).mean()
    generator.tune(None)
    assert np.array_equal(pixels(generator.generate(EXAMPLE, 0)), shipped)


def test_the_file_says_what_lora_managers_read(tuned: tuple[Path, np.ndarray]) -> None:
    """Both vocabularies; the scale lies in the weights, so alpha is the rank and strength 1 is what was trained."""
    with safe_open(tuned[0], framework="np") as file:
        header = file.metadata()
    assert header["modelspec.architecture"] == "rationalrewards-miniature/lora"
    assert header["ss_network_dim"] == header["ss_network_alpha"] == "4"
    assert header["ss_base_model_version"] == "rationalrewards_miniature"
    assert "for the judge miniature" in header["modelspec.description"]
    assert "no trigger words" in header["modelspec.usage_hint"]
    assert json.loads(header["rationalrewards"])["epochs"] == 5
    kind, _, content = header["modelspec.thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (256, 128)
    assert (tuned[0].parent / PREVIEW).is_file()


@pytest.mark.parametrize("family", MODULES)
def test_every_family_has_a_name_that_managers_know(family: str) -> None:
    header = lora_metadata(family, "base", 8, (512, 512), {}, None)
    assert header["modelspec.architecture"].endswith("/lora")
    assert all(isinstance(value, str) for value in header.values()), "safetensors holds texts alone"
    assert "modelspec.thumbnail" not in header


@pytest.mark.parametrize("how", ["layer", "size", "nothing", "text"])
def test_a_file_of_something_else_is_refused(
    generator: MiniatureGenerator, tuned: tuple[Path, np.ndarray], how: str, tmp_path: Path
) -> None:
    tensors, file = load_file(tuned[0]), tmp_path / "other.safetensors"
    changed = {
        "layer": {name.replace("transformer_blocks.0", "transformer_blocks.77"): t for name, t in tensors.items()},
        "size": {name: torch.cat([t, t], dim=1 if ".lora_A." in name else 0) for name, t in tensors.items()},
        "nothing": {},
    }
    if how == "text":
        file.write_text("not a LoRA")
    else:
        save_file(changed[how], file)
    generator.tune(tuned[0])
    with pytest.raises(ConfigError, match=r"other\.safetensors (is no LoRA of the miniature|cannot be read)"):
        generator.tune(file)
