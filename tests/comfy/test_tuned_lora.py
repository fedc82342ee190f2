"""A LoRA as the trainer writes it, in a real ComfyUI: LoRA loader -> KSampler -> another picture.

SD3 is the one family we train whose every size ComfyUI reads from the weights, so that a tiny random transformer goes
through its own loader nodes; it takes the heads of FLUX, Qwen-Image and Z-Image for given, and those files are tested
on the loader's code alone (`tests/training/nft/test_nft_comfyui.py`).
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModelWithProjection

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import Comfy, ComfyServer
from tests.comfy.conftest import one_mode, write_random
from tests.comfy.graphs import preview
from tests.training.nft.tiny_pipelines import captions, clip, vae
from training.nft.config import ModelConfig, PolicyConfig
from training.nft.families import family_class
from training.nft.lora_file import save_weights
from training.nft.policy import LoraPolicy

pytestmark = [one_mode, pytest.mark.slow]
BASE, FUSED, LORA, VAE, CLIP = (f"tiny_{name}.safetensors" for name in ("sd3", "sd3_fused", "lora", "vae", "clip"))
WARNINGS = ("lora key not loaded", "NOT LOADED")
"""What ComfyUI logs of an adapter that it has no place for."""


def sd3() -> Any:
    """Reads what CLIP-L writes (768 wide); ComfyUI knows only widths of 64 times the depth."""
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=64, num_attention_heads=2,
        joint_attention_dim=768, caption_projection_dim=128, pooled_projection_dim=768, out_channels=16,
        pos_embed_max_size=16, qk_norm="rms_norm",
    )  # fmt: skip
    reader = clip(CLIPTextModelWithProjection)
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, vae=vae(16), scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=reader, tokenizer=captions(), text_encoder_2=reader, tokenizer_2=captions(),
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def tuned(pipeline: Any, folder: Path) -> Path:
    """The LoRA file of a policy that has moved."""
    family = family_class("sd3")(pipeline, ModelConfig(family="sd3", height=16, width=16))
    policy = LoraPolicy(pipeline.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, 0)
    with torch.no_grad():
        for number, parameter in enumerate(policy.parameters):
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(number))
    folder.mkdir()
    return save_weights(policy, family, folder)


@pytest.fixture(scope="module")
def models_in_place(
    comfy: Comfy, models: Path, checkpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A transformer, its LoRA, the two fused by diffusers, and an autoencoder, where the server looks for them."""
    lora = tuned(sd3(), tmp_path_factory.mktemp("tuned") / "weights")
    transformer = sd3().transformer  # the same seed, the same weights
    save(transformer, models / "diffusion_models" / BASE)
    transformer.load_lora_adapter(load_file(lora), prefix="transformer")
    transformer.fuse_lora()
    transformer.unload_lora()
    save(transformer, models / "diffusion_models" / FUSED)
    shutil.copy(lora, models / "loras" / LORA)
    write_random(comfy, "vae", models / "vae" / VAE)
    # Under a name of its own: the server's cache must not know what other tests count.
    (models / "checkpoints" / CLIP).hardlink_to(models / "checkpoints" / checkpoint)
    yield
    (models / "checkpoints" / CLIP).unlink()
    for kind in ("diffusion_models", "loras", "vae"):
        for file in (models / kind).iterdir():
            file.unlink()


def save(transformer: Any, file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in transformer.state_dict().items()}, file)


def sampled(unet: str = BASE, loader: str = "", strength: float = 1.0) -> Prompt:
    """Text to image; `loader` is the LoRA loader's class, or nothing."""
    sampler = {
        "model": ["lora", 0] if loader else ["unet", 0],
        "positive": ["text", 0],
        "negative": ["text", 0],
        "latent_image": ["latent", 0],
        "seed": 3,
        "steps": 3,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    prompt: Prompt = {
        "unet": node("UNETLoader", unet_name=unet, weight_dtype="default"),
        "clip": node("CheckpointLoaderSimple", ckpt_name=CLIP),
        "text": node("CLIPTextEncode", clip=["clip", 1], text="a red circle"),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "sampler": node("KSampler", **sampler),
        "vae": node("VAELoader", vae_name=VAE),
        "image": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "shown": preview("image"),
    }
    if loader:
        prompt["lora"] = node(loader, model=["unet", 0], lora_name=LORA, strength_model=strength)
    if loader == "LoraLoader":
        prompt["lora"]["inputs"] |= {"clip": ["clip", 1], "strength_clip": strength}
        prompt["text"]["inputs"]["clip"] = ["lora", 1]
    return prompt


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture
def drawn(client: Client, models_in_place: None) -> Callable[..., np.ndarray]:
    """Pixels of a picture made with these changes, as whole numbers."""

    def draw(**changes: Any) -> np.ndarray:
        run = client.run(sampled(**changes))
        assert run.error == ""
        (shown,) = run.ui("shown", "images")
        found = client.get(f"/view?filename={shown['filename']}&type=temp")[1]
        return np.asarray(Image.open(io.BytesIO(found)).convert("RGB"), dtype=np.int32)

    return draw


@pytest.mark.parametrize("loader", ["LoraLoaderModelOnly", "LoraLoader"])
def test_the_lora_changes_the_picture_as_fusing_it_does(
    drawn: Callable[..., np.ndarray], server: ComfyServer, loader: str
) -> None:
    log_before = len(server.log())
    without, fused = drawn(), drawn(unet=FUSED)
    assert without.std() > 10, "a picture, not a flat field"
    assert np.array_equal(drawn(loader=loader, strength=0.0), without)
    changed = drawn(loader=loader)
    assert np.abs(changed - without).mean() > 3
    assert np.abs(changed - fused).max() <= 2
    half = drawn(loader=loader, strength=0.5)
    assert 0 < np.abs(half - without).mean() < np.abs(changed - without).mean()
    for warning in WARNINGS:
        assert warning not in server.log()[log_before:]


def test_a_file_of_another_model_is_what_the_warning_is_for(
    drawn: Callable[..., np.ndarray], server: ComfyServer, models: Path
) -> None:
    """The log would say so if ComfyUI left out a single key."""
    log_before = len(server.log())
    file = models / "loras" / LORA
    right = file.read_bytes()
    tensors = {name.replace("transformer_blocks.0", "transformer_blocks.7"): t for name, t in load_file(file).items()}
    try:
        save_file(tensors, file)
        drawn(loader="LoraLoaderModelOnly", strength=0.75)
        assert any(warning in server.log()[log_before:] for warning in WARNINGS)
    finally:
        file.write_bytes(right)
