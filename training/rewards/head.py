"""A scalar Bradley-Terry head on our judge's backbone, finished: a request and a picture in, one number out.

P(A is preferred) = sigmoid(r(A) - r(B)), Bradley and Terry 1952. r is linear in the last hidden state at the end of the
prompt that our judge would be asked. `training.sft.scalar` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.device import choose_device, fast_autocast
from rationalrewards_core.backends.loading_report import fill
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.rubric import Kind, Rubric

from ..settings import read_settings
from .student_rubrics import student_rubrics


class Head(nn.Module):
    """Hidden state -> reward, in fp32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, width] -> [B]."""
        rewards: Tensor = self.linear(hidden.float()).squeeze(-1)
        return rewards


class ScalarReward:
    """A checkpoint with its head: request and candidates in, unbounded rewards out."""

    def __init__(self, checkpoint: Checkpoint, head: Head, rubrics: dict[Kind, Rubric], autocast: bool) -> None:
        self.checkpoint, self.head, self._rubrics, self._autocast = checkpoint, head, rubrics, autocast

    def rewards(self, questions: Sequence[tuple[UserRequest, Image.Image]]) -> Tensor:
        """[B] rewards of B candidates, with gradients if the caller wants them."""
        conversations = [
            critique_messages(request, candidate, self._rubrics["edit" if request.sources else "generation"])
            for request, candidate in questions
        ]
        # Padding is on the left, as the engine has it, so the last place is the end of every prompt.
        inputs = model_inputs(self.checkpoint, conversations)
        device = self.checkpoint.device.split(":")[0]
        with fast_autocast(device, self._autocast):
            hidden = self.checkpoint.model.model(**inputs, use_cache=False).last_hidden_state[:, -1]
        rewards: Tensor = self.head(hidden)
        return rewards


def _sft(file: Path) -> Mapping[str, Any]:
    """The settings that a head was trained with. ConfigError if they cannot be read."""
    config = read_settings(file).get("config")
    sft = config.get("sft") if isinstance(config, Mapping) else None
    if not isinstance(sft, Mapping) or not {"model", "precision", "max_pixels", "autocast"} <= sft.keys():
        raise ConfigError(
            f"{file} does not say what the head was trained on; copy the file again from where it was trained."
        )
    return sft


def load_head(folder: Path, device: str = "auto") -> ScalarReward:
    """A finished head with its checkpoint and adapter, ready to judge."""
    if not (folder / "head.safetensors").is_file():
        raise ConfigError(f"{folder} is no trained head: it has no head.safetensors.")
    sft = _sft(folder / "training.json")
    checkpoint = load_checkpoint(
        CheckpointConfig(
            model=sft["model"],
            precision=sft["precision"],
            adapter=str(folder),
            device=choose_device(device),
            max_pixels=sft["max_pixels"],
        )
    )
    head = Head(checkpoint.model.config.get_text_config().hidden_size)
    fill(head, load_file(folder / "head.safetensors"), str(folder / "head.safetensors"))
    rubrics = student_rubrics(sft["model"], folder)
    return ScalarReward(checkpoint, head.to(checkpoint.device), rubrics, sft["autocast"])
