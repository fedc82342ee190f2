"""ComfyUI's own Qwen3-VL as the judge: a core `Backend` over a CLIP input (ComfyUI 0.26 and newer).

The core manages its memory and takes fp8, int8 and nvfp4 files. It decodes one reply at a time, and knows no stop
texts, no grammar and no token probabilities: replies are cut here, and scores have no `expected` and no `spread`.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from PIL import Image

from ...rationalrewards_core.backends.base import Finish, Reply, Sampling
from ...rationalrewards_core.errors import BackendError, ConfigError, RequestError
from ...rationalrewards_core.images import qwen_size
from ...rationalrewards_core.messages import WORD_JOINER, Message
from ...rationalrewards_core.rubric import Kind, Rubric
from ...rationalrewards_core.scorer import Scope
from ..models.memory import evict, evict_others
from ..tensors import to_images
from .interruptible import Work, finish_beside
from .progress import NodeProgress

FULL_REPLY: Final = 2048
LEAST_PIXELS: Final = 65_536
"""What transformers' image processor of Qwen3-VL scales smaller images up to."""
IMAGE_SLOT: Final = "<|vision_start|><|image_pad|><|vision_end|>"

_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""A CLIP says nothing of the file it came from, so every loaded model gets a name of its own for the memo."""


class ClipEngine:
    """A generating Qwen3-VL that some CLIP loader of ComfyUI loaded."""

    name = "comfy_clip"
    concurrency = 1

    def __init__(self, clip: Any, *, max_pixels: int, min_pixels: int = LEAST_PIXELS) -> None:
        self.rubrics: dict[Kind, Rubric] = {}
        self.max_tokens = FULL_REPLY
        self.scope: Scope | None = None
        self._clip, self._model = clip, generating_model(clip)
        self._max_pixels, self._min_pixels = max_pixels, min(min_pixels, max_pixels)

    @property
    def identity(self) -> str:
        model = _names.setdefault(self._model, uuid.uuid4().hex)
        return f"comfy_clip:{model}:{self._clip.patcher.patches_uuid}:{self._max_pixels}"

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """One reply, decoded in this thread. BackendError for whatever the core raises, except an interrupt."""
        started = time.perf_counter()
        pictures = [self._resized(image) for message in messages for image in message.images]
        tokens = self._clip.tokenize(chat_text(messages), images=[to_images([picture]) for picture in pictures])
        if image_slots(tokens) != len(pictures):
            raise RequestError("This CLIP does not take images; load a Qwen3-VL checkpoint with its vision tower.")
        ids = self._generated(tokens, sampling)
        text, finish = self._read(ids, sampling)
        return Reply(
            text=text,
            finish=finish,
            model=self.name,
            prompt_tokens=self._prompt_tokens(tokens, pictures),
            completion_tokens=len(ids),
            seconds=time.perf_counter() - started,
        )

    async def close(self) -> None:
        self.release()

    async def run(self, work: Work[Any], progress: NodeProgress) -> Any:
        # The core shows the tokens of each reply on the node by itself; a second bar would fight with it.
        return await finish_beside(work, progress.check)

    def make_room(self) -> bool:
        return evict_others(self._clip.patcher)

    def release(self) -> None:
        evict(self._clip.patcher)

    def _generated(self, tokens: Any, sampling: Sampling) -> list[int]:
        import comfy.model_management as management
        import torch

        sampling_on = sampling.temperature > 0
        try:
            with at_every_step(self._model, management.throw_exception_if_processing_interrupted):
                ids = self._clip.generate(
                    tokens,
                    do_sample=sampling_on,
                    max_length=sampling.max_tokens,
                    temperature=sampling.temperature if sampling_on else 1.0,
                    top_k=0,
                    top_p=1.0,
                    min_p=0.0,
                    repetition_penalty=1.0,
                    seed=sampling.seed if sampling.seed is not None else 0,
                )
        except torch.OutOfMemoryError as error:
            message = "Out of memory on a single image; lower max_megapixels or load a smaller Qwen3-VL file."
            raise BackendError(message, reason="out_of_memory") from error
        except management.InterruptProcessingException:  # an ordinary Exception before ComfyUI 0.20
            raise
        except Exception as error:
            message = f"ComfyUI's text generation failed: {type(error).__name__}: {error}"
            raise BackendError(message, reason="engine_failed") from error
        return [int(token) for token in ids]

    def _read(self, ids: list[int], sampling: Sampling) -> tuple[str, Finish]:
        """The reply's text before its first stop text, and why it ended."""
        text = str(self._clip.decode(ids))
        cuts = [text.index(stop) for stop in sampling.stop if stop in text]
        ended = len(ids) < sampling.max_tokens or ids[-1] in stop_tokens(self._model)
        return text[: min(cuts)] if cuts else text, Finish.STOP if ended or cuts else Finish.LENGTH

    def _resized(self, image: Image.Image) -> Image.Image:
        """At the size transformers would choose, by its bicubic filter: the core then has nothing to resize."""
        size = qwen_size(image.size, image_factor(self._model), self._min_pixels, self._max_pixels)
        return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)

    def _prompt_tokens(self, tokens: Any, pictures: Sequence[Image.Image]) -> int:
        area = image_factor(self._model) ** 2
        texts = sum(len(row) for rows in tokens.values() for row in rows) - len(pictures)
        return texts + sum(picture.width * picture.height // area for picture in pictures)


def clip_engine(clip: Any, *, max_pixels: int) -> ClipEngine:
    """The engine of a CLIP input; ConfigError in one sentence for a CLIP that cannot judge."""
    if clip is None:
        raise ConfigError("comfy_clip needs a CLIP: connect a Load CLIP node with a Qwen3-VL checkpoint.")
    return ClipEngine(clip, max_pixels=max_pixels)


def generating_model(clip: Any) -> Any:
    """The Qwen3-VL inside a CLIP; ConfigError if there is none that writes text."""
    if not callable(getattr(clip, "generate", None)) or not callable(getattr(clip, "decode", None)):
        raise ConfigError("This ComfyUI cannot generate text with a CLIP; update it to 0.26 or newer, or choose local.")
    name = str(getattr(getattr(clip, "tokenizer", None), "clip_name", ""))
    model = getattr(getattr(clip.cond_stage_model, name, None), "transformer", None) if name else None
    if not name.startswith("qwen3vl") or not hasattr(model, "visual") or not hasattr(model, "generate"):
        raise ConfigError(
            "This CLIP is not a Qwen3-VL that writes text: load a Qwen3-VL checkpoint (4B or 8B) with the core's Load CLIP "
            "and a type that does not turn it into an image model's encoder, such as qwen_image."
        )
    return model


def chat_text(messages: Sequence[Message]) -> str:
    """The conversation as Qwen3-VL's chat template writes it, up to where the reply begins.

    It opens with `<|im_start|>`, which keeps the core from putting its own template around it. `embedding:` would make
    the core look for a textual inversion file, so it is parted by an invisible character.
    """
    turns = []
    for message in messages:
        parts = [
            part.replace("embedding:", f"embedding{WORD_JOINER}:") if isinstance(part, str) else IMAGE_SLOT
            for part in message.parts
        ]
        turns.append(f"<|im_start|>{message.role}\n{''.join(parts)}<|im_end|>\n")
    return "".join(turns) + "<|im_start|>assistant\n"


def image_slots(tokens: Any) -> int:
    """How many images the core's tokeniser took up."""
    return sum(isinstance(entry[0], dict) for rows in tokens.values() for row in rows for entry in row)


def image_factor(model: Any) -> int:
    """Pixels per side of the patch that becomes one token; 32 for Qwen3-VL."""
    return int(model.visual.patch_size * model.visual.spatial_merge_size)


def stop_tokens(model: Any) -> Sequence[int]:
    return list(getattr(model.model.config, "stop_tokens", ()))


@contextmanager
def at_every_step(model: Any, look: Callable[[], None]) -> Iterator[None]:
    """Inside, `look` is called at every decoding step; the core itself looks for an interrupt only when it sends its progress."""
    hook = model.model.layers[0].register_forward_pre_hook(lambda module, inputs: look())
    try:
        yield
    finally:
        hook.remove()
