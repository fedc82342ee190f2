"""Scalar rewards behind one small interface, to stand beside judges that give reasons.

`scalar:NAME` loads a published model if its package and weights are here already; nothing is downloaded or installed.
`scalar:http://HOST:PORT` asks one that runs in an environment of its own (`training.nft.bridges --judge scalar:NAME`).
`head:FOLDER` is a Bradley-Terry head of ours (`python -m training.sft scalar`).
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from PIL import Image

from rationalrewards_core.backends.loading_report import check_numbers, check_taught, check_whole
from rationalrewards_core.comparison import verdict_of_rewards
from rationalrewards_core.errors import BackendError, ConfigError, RationalRewardsError, RequestError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.pixels import judgeable

from .judges import AskedPair
from .opinions import SAME

PICKSCORE: Final = ("yuvalkirstain/PickScore_v1", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
"""Weights, and where its tokeniser and image processor come from."""


ELSEWHERE: Final = (
    "Run it in an environment of its own, with the libraries it was written for, by "
    f"`python -m {__name__.partition('.')[0]}.nft.bridges --judge scalar:NAME --port 8289`, and ask that: "
    "`scalar:http://127.0.0.1:8289`."
)


class Scalar(Protocol):
    """A reward without words: higher is better, on a scale of its own."""

    def __call__(self, request: UserRequest, candidate: Image.Image) -> float:
        """Raises RequestError for what it cannot judge."""
        ...


class ScalarJudge:
    """Two scalar rewards as an opinion."""

    def __init__(self, scalar: Scalar, name: str) -> None:
        self._scalar, self.name = scalar, name

    async def judge(self, pair: AskedPair) -> dict[str, Any]:
        rewards = [
            await asyncio.to_thread(self._scalar, pair.request, candidate) for candidate in (pair.first, pair.second)
        ]
        if not all(math.isfinite(reward) for reward in rewards):
            raise BackendError("The scalar reward is no finite number.", reason="not_a_number")
        return {"verdict": verdict_of_rewards(*rewards, margin=SAME), "rewards": (rewards[0], rewards[1])}


def load_scalar(spec: str, device: str) -> Scalar:
    """`scalar:NAME`, `scalar:URL` or `head:FOLDER`. ConfigError for what is unknown, not installed or cannot be used."""
    kind, _, target = spec.partition(":")
    if kind == "head":
        return _head(Path(target).expanduser(), device)
    if target.startswith(("http://", "https://")):
        from .scalar_remote import RemoteScalar

        return RemoteScalar(target)
    if target not in SCALARS:
        raise ConfigError(f"Unknown scalar reward {target!r}; there are {', '.join(SCALARS)}, or the URL of one.")
    package, load = SCALARS[target]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"scalar:{target} needs the package {package!r}, which is not installed here. {ELSEWHERE}")
    try:
        return load(_device(device))
    except RationalRewardsError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"scalar:{target} cannot be used in this environment ({why}). {ELSEWHERE}") from error


def _device(device: str) -> str:
    from rationalrewards_core.backends.device import choose_device

    return choose_device(device)


def _generations_only(name: str, score: Callable[[str, Image.Image], float]) -> Scalar:
    def scored(request: UserRequest, candidate: Image.Image) -> float:
        if request.sources:
            raise RequestError(f"{name} does not see source images and cannot judge edits.")
        return score(request.text, judgeable(candidate))

    return scored


def _head(folder: Path, device: str) -> Scalar:
    import torch

    from .head import load_head

    reward = load_head(folder, device)

    def scored(request: UserRequest, candidate: Image.Image) -> float:
        with torch.inference_mode():
            return float(reward.rewards([(request, candidate)])[0])

    return scored


def _pickscore(device: str, sources: tuple[str, str] = PICKSCORE) -> Scalar:
    """arXiv 2305.01569: the scaled cosine of CLIP's text and image embeddings."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    weights, processors = sources
    for name in sources:
        if not _is_here(name):
            raise ConfigError(
                f"scalar:pickscore needs {name} in the local Hugging Face cache; get it with `hf download {name}`."
            )
    model, report = AutoModel.from_pretrained(
        weights, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    check_whole(weights, report)
    check_numbers(weights, model.named_parameters())
    check_taught(weights, model.named_parameters())
    model = model.eval().to(device)
    tokeniser = AutoTokenizer.from_pretrained(processors, local_files_only=True)
    images = AutoImageProcessor.from_pretrained(processors, local_files_only=True)

    def score(text: str, candidate: Image.Image) -> float:
        words = tokeniser([text], truncation=True, max_length=77, padding=True, return_tensors="pt")
        pixels = images(candidate, return_tensors="pt")
        inputs = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"], **pixels}
        with torch.inference_mode():
            return float(model(**{k: v.to(device) for k, v in inputs.items()}).logits_per_text[0, 0])

    return _generations_only("PickScore", score)


def _is_here(name: str) -> bool:
    """Whether a folder or a hub id's files are on this machine; transformers would ask the network to find out."""
    from huggingface_hub import try_to_load_from_cache

    return Path(name).is_dir() or isinstance(try_to_load_from_cache(name, "config.json"), str)


def _hpsv2(device: str) -> Scalar:
    package = importlib.import_module("hpsv2")
    importlib.import_module("hpsv2.img_score")  # what `score` imports when it is first called
    return _generations_only(
        "HPSv2", lambda text, candidate: float(package.score(candidate, text, hps_version="v2.1")[0])
    )


def _imagereward(device: str) -> Scalar:
    model = importlib.import_module("ImageReward").load("ImageReward-v1.0", device=device)
    return _generations_only("ImageReward", lambda text, candidate: float(model.score(text, candidate)))


def _hpsv3(device: str) -> Scalar:
    """Gives a mean and a spread; the mean is the reward. It reads files."""
    inferencer = importlib.import_module("hpsv3").HPSv3RewardInferencer(device=device)

    def score(text: str, candidate: Image.Image) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "candidate.png"
            candidate.save(path)
            return float(inferencer.reward(prompts=[text], image_paths=[str(path)])[0][0])

    return _generations_only("HPSv3", score)


SCALARS: Final[dict[str, tuple[str, Callable[[str], Scalar]]]] = {
    "pickscore": ("transformers", _pickscore),
    "hpsv2": ("hpsv2", _hpsv2),
    "imagereward": ("ImageReward", _imagereward),
    "hpsv3": ("hpsv3", _hpsv3),
}
"""Name -> (package, loader)."""
