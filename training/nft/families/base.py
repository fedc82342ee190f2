"""What a family is: encode a request, start from noise, predict a velocity, decode latents, around a diffusers pipeline.

The guidance contract is the same for all: a velocity is that of one conditioning, with a caption or without; guidance
is put together of two (`guidance.guided`). A model that was distilled to take its guidance as an input is told
`model.guidance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.pixels import to_rgb

from ..config import ModelConfig

Conditioning = dict[str, Tensor]
"""What the transformer gets beside latents and time, by name, each `[1 ...]`, or `[B ...]` once joined."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
JOINT_ATTENTION = (*ATTENTION, "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")


class ModelFamily(ABC):
    """One generator. Latents are fp32 `[B ...]` everywhere outside; velocities come back in fp32."""

    pipeline_class: ClassVar[str]
    """Name in diffusers."""
    transformer_class: ClassVar[str]
    lora_targets: ClassVar[tuple[str, ...]] = JOINT_ATTENTION
    """Endings of the modules that get an adapter."""
    text_encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    token_pixels: ClassVar[int] = 16
    """Side of the square that one image token stands for."""
    text_tokens: ClassVar[int] = 256
    """Of a usual prompt; only estimates use it."""
    edits: ClassVar[bool] = False
    """Whether requests have a source image."""
    guides: ClassVar[bool] = False
    """Whether the pipeline guides by the plain formula, so that rollouts and training may; `encode_dropped` is there."""

    def __init__(self, pipeline: Any, config: ModelConfig) -> None:
        self.pipeline, self.config = pipeline, config
        self.transformer: Any = pipeline.transformer
        self.device = torch.device("cpu")
        multiple = self.multiple_of()
        if config.height % multiple or config.width % multiple:
            raise ConfigError(f"model.height and model.width must be multiples of {multiple} for {config.family}.")

    @classmethod
    def load(cls, config: ModelConfig) -> ModelFamily:
        """Load the pipeline of `config.pipeline`; ConfigError says what is missing."""
        import diffusers

        config = config.resolved()
        options: dict[str, Any] = {"torch_dtype": DTYPES[config.precision], "local_files_only": not config.download}
        try:
            if config.base == "nf4":
                quantised = diffusers.BitsAndBytesConfig(
                    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=DTYPES[config.precision]
                )
                transformer = getattr(diffusers, cls.transformer_class).from_pretrained(
                    config.pipeline, subfolder="transformer", quantization_config=quantised, **options
                )
                options["transformer"] = transformer
            pipeline = getattr(diffusers, cls.pipeline_class).from_pretrained(config.pipeline, **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{config.pipeline!r} cannot be loaded as a {cls.pipeline_class}; name a diffusers folder, or say "
                f"model.download=true for a hub id: {error}"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline, config)

    # What differs.

    @abstractmethod
    def multiple_of(self) -> int:
        """Pixels that height and width must be a multiple of."""

    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Of one latent, as the transformer takes it."""

    @abstractmethod
    def encode(self, request: UserRequest) -> Conditioning:
        """Conditioning of one request, each tensor `[1 ...]`."""

    def encode_dropped(self) -> Conditioning:
        """What stands for no caption in classifier-free guidance, each tensor `[1 ...]`, where the family `guides`."""
        raise NotImplementedError

    @abstractmethod
    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        """v = eps - x_0 at `x_t_B` and times `t_B` in [0, 1], with `model` in the transformer's place."""

    @abstractmethod
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        """Latents to pictures."""

    @abstractmethod
    def shift(self, steps: int) -> float | None:
        """The scheduler's `mu` for this size and so many steps; None where the shift is fixed."""

    def sigmas(self, steps: int) -> list[float] | None:
        """Times before the shift, where the pipeline does not leave them to its scheduler."""
        return None

    # What is shared.

    def times(self, steps: int) -> Tensor:
        """The pipeline's own times, `[steps + 1]`, from (nearly) 1 down to 0."""
        scheduler = type(self.pipeline.scheduler).from_config(self.pipeline.scheduler.config)
        mu, sigmas = self.shift(steps), self.sigmas(steps)
        steps_or_sigmas = {"num_inference_steps": steps} if sigmas is None else {"sigmas": sigmas}
        scheduler.set_timesteps(**steps_or_sigmas, **({} if mu is None else {"mu": mu}))
        sigmas_T: Tensor = scheduler.sigmas.float().cpu()
        return sigmas_T

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.config.precision]

    def to(self, device: torch.device | str, *, parts: Sequence[str] | None = None) -> None:
        """Move the whole pipeline, or only these parts of it."""
        self.device = torch.device(device) if parts is None else self.device
        for name in parts if parts is not None else self.pipeline.components:
            part = getattr(self.pipeline, name, None)
            if isinstance(part, torch.nn.Module):
                part.to(device)

    def freeze(self) -> None:
        """Nothing but the policy is ever trained."""
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()

    def compile(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile the transformer's blocks, one by one and for every batch size apart.

        Without symbolic sizes the same pass runs the same kernels whatever ran before it, as an exact resume needs.
        """
        import torch._dynamo

        # One kernel per kind of block, policy and batch size; beyond these limits PyTorch would go on uncompiled.
        settings: Any = torch._dynamo.config
        settings.cache_size_limit, settings.accumulated_cache_size_limit = 256, 1024
        for part in self.transformer.children():
            for block in part if isinstance(part, torch.nn.ModuleList) else ():
                block.compile(dynamic=False, backend=backend)

    def source(self, request: UserRequest) -> Image.Image:
        """The source image of an edit, cropped square to the rollout's shape and scaled to its size."""
        if not request.sources:
            raise ConfigError(f"{self.config.family} edits images: every prompt needs an `image`.")
        size = (self.config.width, self.config.height)
        return ImageOps.fit(to_rgb(request.sources[0]), size, Image.Resampling.LANCZOS)


def joined(rows: Sequence[Conditioning], device: torch.device) -> Conditioning:
    """Conditioning of several requests, `[B ...]`; shorter texts are padded with zeros at their end."""
    conditioning: Conditioning = {}
    for name in rows[0]:
        tensors = [row[name] for row in rows]
        longest = max(t.shape[1] for t in tensors) if tensors[0].ndim > 1 else 0
        if any(t.ndim > 1 and t.shape[1] != longest for t in tensors):
            tensors = [torch.cat([t, t.new_zeros(len(t), longest - t.shape[1], *t.shape[2:])], dim=1) for t in tensors]
        conditioning[name] = torch.cat(tensors).to(device)
    return conditioning


def even_times(steps: int) -> list[float]:
    """1, 1 - 1/T, ... 1/T: what several pipelines start from before their shift."""
    return [1.0 - i / steps for i in range(steps)]
