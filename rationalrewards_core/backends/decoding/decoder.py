"""The decoding loop: prefill once, then passes that each verify a draft per row, until every row has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...messages import Message
from ..base import Sampling
from .choices import Choices
from .drafts import Draft, Drafter, ReplyMemory
from .flat_text import Deepstack, FlatText
from .image_features import VisionTower
from .kv_cache import KeyValueCache, place_of
from .pass_cost import PassCost
from .prompts import Prompt, PromptReader, common_length
from .recorded_pass import CannotRecord, RecordedPasses
from .row_maker import RowMaker
from .rows import Row

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


log = logging.getLogger("rationalrewards.backends.decoding")

ROOM = 512
"""Positions for the reply that a recorded pass is made for at once: a critique has 300 to 500 tokens."""


@dataclass
class DecodeCount:
    """What decoding took since the decoder was made."""

    passes: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    prefix_tokens: int = 0
    """Prompt tokens that were not computed again."""


class Decoder:
    """Replies of a Qwen3-VL checkpoint, several at a time."""

    def __init__(self, checkpoint: Checkpoint, *, record: bool = False) -> None:
        """`record` replays passes as CUDA graphs; it means nothing on other devices."""
        model = base_model(checkpoint.model)
        self._checkpoint, self._head = checkpoint, model.lm_head
        self._text = FlatText(model.model.language_model)
        self.vision = VisionTower(model.model, checkpoint.image_processor, checkpoint.device)
        self._reader = PromptReader(checkpoint, self.vision)
        self._maker = RowMaker(checkpoint)
        self._memory, self._cost = ReplyMemory(), PassCost()
        # On a CPU the thread's own time: what other programs take of the machine says nothing of a pass.
        self._clock = time.thread_time if checkpoint.device == "cpu" else time.perf_counter
        self._last: _LastBatch | None = None
        self._recorded = RecordedPasses(self._text, self._head) if record and can_record(checkpoint) else None
        self.count = DecodeCount()

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """Whether this checkpoint's language model is one that the loop can run."""
        core: Any = getattr(base_model(checkpoint.model), "model", None)
        return hasattr(core, "language_model") and FlatText.fits(core.language_model)

    def row(self, messages: Sequence[Message], sampling: Sampling) -> Row:
        """A reply to write; whatever is raised here concerns this one only."""
        prompt = self._reader.prompt(messages)
        drafter = Drafter(prompt.words, self._memory, self._maker.breaks)
        return self._maker.row(sampling, len(prompt), prompt=prompt, drafter=drafter)

    def run(self, rows: Sequence[Row], after_pass: Callable[[], None] = lambda: None) -> None:
        """Write every row to its end. `after_pass` may cancel rows, or raise to end the whole."""
        import torch

        with torch.inference_mode():
            live = list(rows)
            cache, logits = self._prefill(live)
            drafts = [Draft()] * len(live)
            started = None
            while True:
                self._take(live, logits, drafts)
                if started is not None and not (self._recorded is not None and self._recorded.fresh):
                    self._cost.observe(len(live), logits.shape[1], self._clock() - started)
                after_pass()
                if not any(row.live for row in live):
                    break
                live = self._without_ended(live, cache)
                started = self._clock()
                logits, drafts = self._pass(live, cache)

    def _without_ended(self, live: list[Row], cache: KeyValueCache) -> list[Row]:
        """Rows that ended leave the batch; where passes are recorded they stay, for the cache must not move."""
        ended = [number for number, row in enumerate(live) if not row.live]
        if not ended or self._recorded is not None:
            return live
        return [live[number] for number in cache.drop(ended)]

    def _take(self, live: Sequence[Row], logits: Any, drafts: Sequence[Draft]) -> None:
        choices = self._choices(live, logits)
        for number, (row, draft) in enumerate(zip(live, drafts, strict=True)):
            if row.live:
                before = len(row.ids)
                self.count.accepted += row.take(choices, number, draft)
                self.count.tokens += len(row.ids) - before
                self.count.drafted += len(draft.tokens)

    def _choices(self, live: Sequence[Row], logits: Any) -> Choices:
        return Choices(logits, [row.draw for row in live], [len(row.ids) for row in live])

    def _pass(self, live: Sequence[Row], cache: KeyValueCache) -> tuple[Any, list[Draft]]:
        """Logits [rows, width, vocabulary] after each row's last token and along its draft, and the drafts."""
        import torch

        proposals = [row.propose(self._cost.reach - 1) if row.live else Draft() for row in live]
        width = self._cost.best_width([draft.chances for draft in proposals])
        drafts = [draft.cut(width - 1) for draft in proposals]
        lines = [[*row.ids[-1:], *draft.tokens] for row, draft in zip(live, drafts, strict=True)]
        device = self._checkpoint.device
        tokens = torch.tensor([line + [0] * (width - len(line)) for line in lines], device=device)
        starts = [len(_prompt(row)) + max(0, len(row.ids) - 1) for row in live]
        shifts = torch.tensor([_prompt(row).shift for row in live], device=device)
        cache.reserve(max(starts) + width)
        self.count.passes += 1
        return self._logits(cache, tokens, starts, shifts), drafts

    def _logits(self, cache: KeyValueCache, tokens: Any, starts: list[int], shifts: Any) -> Any:
        place = place_of(starts, tokens.shape[1], tokens.device)
        if self._recorded is not None:
            try:
                return self._recorded.run(cache, tokens, place.index, shifts)
            except CannotRecord as error:
                log.warning("passes of this model cannot be recorded (%s); they run one by one", error)
                self._recorded = None
        return self._head(self._text(self._text.embed(tokens), place.index + shifts[:, None], cache, place))

    def _prefill(self, rows: Sequence[Row]) -> tuple[KeyValueCache, Any]:
        """The cache with every prompt in it, and logits [rows, 1, vocabulary] after each prompt.

        Equal prompts are read once; what the last batch's prompts had in the same rows is not read again.
        """
        prompts = [_prompt(row) for row in rows]
        numbers: dict[tuple[Hashable, ...], int] = {}
        order = [numbers.setdefault(tuple(prompt.content), len(numbers)) for prompt in prompts]
        different = [prompts[order.index(number)] for number in range(len(numbers))]
        cache, starts = self._reusable(different)
        if self._recorded is not None:
            cache.reserve(max(len(p) + min(row.room, ROOM) for p, row in zip(prompts, rows, strict=True)))
        logits = self._head(self._read(different, starts, cache))
        if len(different) < len(prompts):
            cache.keep(order)
            logits = logits[order]
        self._last = _LastBatch(prompts, cache)
        return cache, logits

    def _reusable(self, prompts: Sequence[Prompt]) -> tuple[KeyValueCache, list[int]]:
        """A cache for `prompts`: the last one where it has as many rows, and how much of each prompt is in it."""
        last, self._last = self._last, None
        if last is None or last.cache.rows != len(prompts) or len(last.prompts) != len(prompts):
            del last  # its memory is free before the new cache takes some
            return KeyValueCache(self._text.depth, len(prompts)), [0] * len(prompts)
        pairs = zip(last.prompts, prompts, strict=True)
        starts = [min(common_length(old.content, new.content), len(new) - 1) for old, new in pairs]
        self.count.prefix_tokens += sum(starts)
        return last.cache, starts

    def _read(self, prompts: Sequence[Prompt], starts: Sequence[int], cache: KeyValueCache) -> Any:
        """Hidden states [prompts, 1, hidden] of the last tokens; what was not in the cache yet is afterwards."""
        import torch

        device = self._checkpoint.device
        width = max(len(p) - start for p, start in zip(prompts, starts, strict=True))
        tokens = torch.zeros(len(prompts), width, dtype=torch.long)
        positions = torch.zeros(3, len(prompts), width, dtype=torch.long)
        for number, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
            tokens[number, : len(prompt) - start] = torch.tensor(prompt.ids[start:])
            positions[:, number, : len(prompt) - start] = prompt.positions[:, start:]
        tokens, positions = tokens.to(device), positions.to(device)
        hidden = self._text.embed(tokens)
        pictures = [p for prompt, start in zip(prompts, starts, strict=True) for p in prompt.pictures_after(start)]
        deepstack = None
        if pictures:
            features = self.vision.features(pictures)
            mask = tokens == prompts[0].image_token
            hidden[mask] = torch.cat([f.pooled for f in features]).to(hidden.dtype)
            layers = zip(*(f.deepstack for f in features), strict=True)
            deepstack = Deepstack(mask, [torch.cat(layer) for layer in layers])
        cache.reserve(max(starts) + width)
        last = torch.tensor([len(p) - start - 1 for p, start in zip(prompts, starts, strict=True)], device=device)
        return self._text(hidden, positions, cache, place_of(list(starts), width, device), deepstack, last)


@dataclass(frozen=True)
class _LastBatch:
    """The prompts of the last batch, whose keys and values are still in its cache."""

    prompts: list[Prompt]
    cache: KeyValueCache


def can_record(checkpoint: Checkpoint) -> bool:
    """CUDA graphs need an NVIDIA or AMD card, and kernels that do not ask the CPU: bitsandbytes' int8 does."""
    if not checkpoint.device.startswith("cuda"):
        return False
    return not any(type(module).__name__ == "Linear8bitLt" for module in checkpoint.model.modules())


def base_model(model: Any) -> Any:
    """The transformers model below peft's wrapper, whose adapted layers stay in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _prompt(row: Row) -> Prompt:
    assert isinstance(row.prompt, Prompt), "this row was made by another decoder"
    return row.prompt
