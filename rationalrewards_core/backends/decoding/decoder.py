"""The decoding loop: prefill once, then passes that each verify a draft per row, until every row has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...messages import Message
from ..base import Sampling
from .choices import Choices
from .drafts import Draft, Drafter, ReplyMemory
from .flat_text import Deepstack, FlatText
from .image_features import VisionTower
from .kv_cache import KeyValueCache, place_of
from .pass_cost import WIDTHS, PassCost
from .prompts import Prompt, PromptReader, common_length
from .row_maker import RowMaker
from .rows import Row

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


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

    def __init__(self, checkpoint: Checkpoint) -> None:
        model = base_model(checkpoint.model)
        self._checkpoint, self._head = checkpoint, model.lm_head
        self._text = FlatText(model.model.language_model)
        self.vision = VisionTower(model.model, checkpoint.image_processor, checkpoint.device)
        self._reader = PromptReader(checkpoint, self.vision)
        self._maker = RowMaker(checkpoint)
        self._memory, self._cost = ReplyMemory(), PassCost()
        # On a CPU the thread's own time: what other programs take of the machine says nothing of a pass.
        self._clock = time.thread_time if checkpoint.device == "cpu" else time.perf_counter
        self._last: _LastPrompt | None = None
        self.count = DecodeCount()

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """Whether this checkpoint's language model is one that the loop can run."""
        core: Any = getattr(base_model(checkpoint.model), "model", None)
        return hasattr(core, "language_model") and FlatText.fits(core.language_model)

    def row(self, messages: Sequence[Message], sampling: Sampling) -> Row:
        """A reply to write; whatever is raised here concerns this one only."""
        prompt = self._reader.prompt(messages)
        drafter = Drafter(prompt.words, self._memory)
        return self._maker.row(messages, sampling, len(prompt), prompt=prompt, drafter=drafter)

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
                if started is not None:
                    self._cost.observe(len(live), logits.shape[1], self._clock() - started)
                after_pass()
                keep = [number for number, row in enumerate(live) if row.live]
                if not keep:
                    break
                if len(keep) < len(live):
                    cache.keep(keep)
                    live = [live[number] for number in keep]
                started = self._clock()
                logits, drafts = self._pass(live, cache)
            for row in rows:
                self._memory.learn(row.ids)

    def _take(self, live: Sequence[Row], logits: Any, drafts: Sequence[Draft]) -> None:
        choices = Choices(logits, [row.draw for row in live], [len(row.ids) for row in live])
        for number, (row, draft) in enumerate(zip(live, drafts, strict=True)):
            before = len(row.ids)
            self.count.accepted += row.take(choices, number, draft)
            self.count.tokens += len(row.ids) - before
            self.count.drafted += len(draft.tokens)

    def _pass(self, live: Sequence[Row], cache: KeyValueCache) -> tuple[Any, list[Draft]]:
        """Logits [rows, width, vocabulary] after each row's last token and along its draft, and the drafts."""
        import torch

        proposals = [row.propose(WIDTHS[-1] - 1) for row in live]
        width = self._cost.best_width([draft.chances for draft in proposals])
        drafts = [draft.cut(width - 1) for draft in proposals]
        lines = [[row.ids[-1], *draft.tokens] for row, draft in zip(live, drafts, strict=True)]
        device = self._checkpoint.device
        tokens = torch.tensor([line + [0] * (width - len(line)) for line in lines], device=device)
        starts = [len(_prompt(row)) + len(row.ids) - 1 for row in live]
        cache.reserve(max(starts) + width)
        place = place_of(starts, width, device)
        shifts = torch.tensor([_prompt(row).shift for row in live], device=device)
        positions = (place.index + shifts[:, None]).expand(3, -1, -1)
        self.count.passes += 1
        return self._head(self._text(self._text.embed(tokens), positions, cache, place)), drafts

    def _prefill(self, rows: Sequence[Row]) -> tuple[KeyValueCache, Any]:
        """The cache with every prompt in it, and logits [rows, 1, vocabulary] after each prompt."""
        import torch

        prompts = list({tuple(_prompt(row).content): _prompt(row) for row in rows}.values())
        cache, starts = self._reusable(prompts)
        last = [len(p) - start - 1 for p, start in zip(prompts, starts, strict=True)]
        hidden = self._read(prompts, starts, cache)
        logits = self._head(hidden[torch.arange(len(prompts)), torch.tensor(last)])[:, None]
        if len(prompts) < len(rows):
            number = {tuple(prompt.content): n for n, prompt in enumerate(prompts)}
            order = [number[tuple(_prompt(row).content)] for row in rows]
            cache.keep(order)
            logits = logits[order]
        self._last = _LastPrompt(prompts[0], cache) if len(rows) == 1 else None
        return cache, logits

    def _reusable(self, prompts: Sequence[Prompt]) -> tuple[KeyValueCache, list[int]]:
        """A cache for `prompts`: the last one if it begins alike, and how much of each prompt is in it already."""
        last, self._last = self._last, None
        if last is None or len(prompts) > 1:
            return KeyValueCache(self._text.depth, len(prompts)), [0] * len(prompts)
        same = min(common_length(last.prompt.content, prompts[0].content), len(prompts[0]) - 1)
        self.count.prefix_tokens += same
        return last.cache, [same]

    def _read(self, prompts: Sequence[Prompt], starts: Sequence[int], cache: KeyValueCache) -> Any:
        """Hidden states [prompts, width, hidden] of what is not in the cache yet, which it is afterwards."""
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
        return self._text(hidden, positions, cache, place_of(list(starts), width, device), deepstack)


@dataclass(frozen=True)
class _LastPrompt:
    """The prompt that the last single row had, whose keys and values are still there: it can be asked about again."""

    prompt: Prompt
    cache: KeyValueCache


def base_model(model: Any) -> Any:
    """The transformers model below peft's wrapper, whose adapted layers stay in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _prompt(row: Row) -> Prompt:
    assert row.prompt is not None, "this row was made by another decoder"
    return row.prompt
