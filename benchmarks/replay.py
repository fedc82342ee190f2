"""Critiques of a usual length, said again word for word by a model whose weights are random.

The model computes everything it would compute; only its choice is replaced by the next token of the script. So drafts
are accepted as they would be for these texts, and every variant writes the same.

    python -m benchmarks.replay

prints how many tokens a pass verifies by drafts alone: no model, and no limit from what a pass costs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib
import torch

from benchmarks.random_judge import END_TOKEN, IMAGE_TOKEN, SHAPES, START_TOKEN, STOP_TOKEN
from benchmarks.timing import table
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint
from rationalrewards_core.backends.decoding.choices import Choices, Draw
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.drafts import Drafter, ReplyMemory
from rationalrewards_core.backends.decoding.image_features import Picture
from rationalrewards_core.backends.decoding.pass_cost import WIDTHS
from rationalrewards_core.backends.decoding.prompts import Prompt
from rationalrewards_core.backends.decoding.rows import Pieces, Row
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.rubric_file import generation_rubric

PIECE = re.compile(r"\n+| ?[A-Za-z]{1,7}| ?\d|[^\sA-Za-z\d]| ")
"""About what a large byte-pair vocabulary makes of English: words up to seven letters whole, digits one by one."""
FIRST_PIECE = 16
"""Ids below are special."""


@dataclass(frozen=True)
class Script:
    """A request and the tokens of what is said about it, in turn."""

    request: str
    replies: tuple[tuple[int, ...], ...]


class PieceTokeniser:
    """Pieces of the scripts and prompts as a vocabulary, filled up to the size of the real one."""

    all_special_ids = (0, STOP_TOKEN, START_TOKEN, END_TOKEN, IMAGE_TOKEN)
    pad_token_id = 0

    def __init__(self, texts: Sequence[str], vocabulary: int) -> None:
        pieces = sorted({piece for text in texts for piece in PIECE.findall(text)})
        special = [f"<|special {n}|>" for n in range(FIRST_PIECE)]
        filling = (f" filling{n}" for n in range(vocabulary))
        self.vocabulary = [*special, *pieces, *filling][:vocabulary]
        self._ids = {piece: number for number, piece in enumerate(self.vocabulary)}

    def encode(self, text: str) -> list[int]:
        return [self._ids[piece] for piece in PIECE.findall(text)]

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        return "".join(self.vocabulary[int(i)] for i in ids if int(i) >= FIRST_PIECE or not skip_special_tokens)

    def convert_tokens_to_ids(self, token: str) -> int:
        return IMAGE_TOKEN


class ReplayStage:
    """A model with its scripts: prompts, rows, and inputs for `generate()`."""

    def __init__(self, model: Any, shape: str, device: str, tokens: int | None = None) -> None:
        """`tokens` cuts every script after so many."""
        self.model, self.device, self.side = model, device, SHAPES[shape]["side"]
        replayed = cases()
        self._texts = {case["request"]: _prompt_texts(case["request"]) for case in replayed}
        replies = [reply.strip() for case in replayed for reply in case["critiques"]]
        texts = [*replies, *(part for parts in self._texts.values() for part in parts)]
        self.tokeniser = PieceTokeniser(texts, SHAPES[shape]["vocabulary"])
        self.scripts = [
            Script(case["request"], tuple(tuple(self.tokeniser.encode(r.strip())[:tokens]) for r in case["critiques"]))
            for case in replayed
        ]
        self.checkpoint = Checkpoint(model, self.tokeniser, _Merge(), device)
        self._compiled: Any = None

    def prompt(self, script: Script, picture: int) -> Prompt:
        """The script's request about picture number `picture`, whose pixels are noise."""
        before, after = (self.tokeniser.encode(text) for text in self._texts[script.request])
        patch = self.model.config.vision_config.patch_size
        grid = (1, self.side // patch, self.side // patch)
        generator = torch.Generator().manual_seed(picture)
        patches = torch.randn(grid[1] * grid[2], 3 * 2 * patch * patch, generator=generator)
        images = [START_TOKEN, *[IMAGE_TOKEN] * (grid[1] * grid[2] // 4), END_TOKEN]
        features = Picture(picture.to_bytes(4, "big"), grid, patches)
        return Prompt((*before, *images, *after), (features,), IMAGE_TOKEN, 2)

    def inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """What `generate()` takes; prompts of one script only, so nothing is padded."""
        ids = torch.tensor([prompt.ids for prompt in prompts], device=self.device)
        pictures = [picture for prompt in prompts for picture in prompt.pictures]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == IMAGE_TOKEN).int(),
            "pixel_values": torch.cat([p.patches for p in pictures]).to(self.device, self.model.dtype),
            "image_grid_thw": torch.tensor([p.grid for p in pictures], device=self.device),
        }

    def compiled_grammar(self) -> Any:
        """The default rubric's grammar over the whole vocabulary; None without xgrammar."""
        from rationalrewards_core.backends.decoding.guide import grammar_available
        from rationalrewards_core.grammar import critique_grammar

        if self._compiled is None and grammar_available():
            import xgrammar

            described = xgrammar.TokenizerInfo(
                self.tokeniser.vocabulary, vocab_size=len(self.tokeniser.vocabulary), stop_token_ids=[STOP_TOKEN]
            )
            self._compiled = xgrammar.GrammarCompiler(described).compile_grammar(critique_grammar(generation_rubric()))
        return self._compiled


class ReplayDecoder(Decoder):
    """The decoding loop with scripted choices."""

    def __init__(self, stage: ReplayStage, *, record: bool = False) -> None:
        super().__init__(stage.checkpoint, record=record)
        self._stage, self._lines = stage, {}  # type: tuple[Stage, dict[int, tuple[int, ...]]]

    def scripted(self, prompt: Prompt, reply: tuple[int, ...]) -> Row:
        from rationalrewards_core.backends.decoding.guide import Guide

        compiled = self._stage.compiled_grammar()
        tokeniser = self._stage.tokeniser
        row = Row(
            Sampling(alternatives=10, max_tokens=len(reply) + 8),
            prompt=prompt,
            prompt_tokens=len(prompt),
            limit=len(reply) + 8,
            stop_ids=[STOP_TOKEN],
            pieces=Pieces(tokeniser),
            guide=None if compiled is None else Guide(compiled, len(tokeniser.vocabulary)),
            drafter=Drafter(prompt.words, self._memory, self._maker.breaks),
            draw=Draw(0.0, 0),
        )
        self._lines[id(row)] = reply
        return row

    def _choices(self, live: Sequence[Row], logits: Any) -> Choices:
        return _ScriptedChoices(logits, live, [self._lines[id(row)] for row in live])


class _ScriptedChoices(Choices):
    def __init__(self, logits: Any, live: Sequence[Row], lines: Sequence[tuple[int, ...]]) -> None:
        super().__init__(logits, [row.draw for row in live], [len(row.ids) for row in live])
        self._lines = lines

    def own(self, row: int, at: int) -> int:
        line, position = self._lines[row], self._positions[row] + at
        return line[position] if position < len(line) else STOP_TOKEN

    def among(self, row: int, at: int, allowed: Any) -> int:
        """The script stands, even where it ends too early for the grammar."""
        return self.own(row, at)


class Forced:
    """A logits processor for `generate()` that lets every row say its script."""

    def __init__(self, replies: Sequence[Sequence[int]], prompt_tokens: int) -> None:
        self._replies, self._start = replies, prompt_tokens

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        at = input_ids.shape[1] - self._start
        tokens = [reply[at] if at < len(reply) else STOP_TOKEN for reply in self._replies]
        forced = torch.full_like(scores, float("-inf"))
        forced[torch.arange(len(tokens)), torch.tensor(tokens)] = 0.0
        return forced


class _Merge:
    merge_size = 2


def _prompt_texts(request: str) -> tuple[str, str]:
    """The default rubric's prompt before and after the picture."""
    from PIL import Image

    messages = critique_messages(UserRequest(request), Image.new("RGB", (64, 64)), generation_rubric())
    parts = [part for message in messages for part in message.parts]
    at = next(number for number, part in enumerate(parts) if not isinstance(part, str))
    before = "".join(part for part in parts[:at] if isinstance(part, str))
    after = "".join(part for part in parts[at + 1 :] if isinstance(part, str))
    return before, after


def tokens_per_pass(case: dict[str, Any], most: int = WIDTHS[-1] - 1) -> list[float]:
    """Of each critique of a case in turn, from a memory that is empty at first."""
    parts = _prompt_texts(case["request"])
    tokeniser = PieceTokeniser([*parts, *case["critiques"]], SHAPES["tiny"]["vocabulary"])
    prompt = [token for part in parts for token in tokeniser.encode(part)]
    memory, counts = ReplyMemory(), []
    for critique in case["critiques"]:
        reply = tokeniser.encode(critique.strip())
        drafter = Drafter(prompt, memory, Pieces(tokeniser).breaks)
        drafter.learn(reply[0])
        count, passes = 1, 0
        while count < len(reply):
            draft, accepted = drafter.draft(most), 0
            while count < len(reply):
                token = reply[count]
                count += 1
                drafter.learn(token)
                if accepted == len(draft.tokens) or draft.tokens[accepted] != token:
                    break
                accepted += 1
            drafter.verified(draft, accepted)
            passes += 1
        counts.append(len(reply) / passes)
    return counts


def cases() -> list[dict[str, Any]]:
    """The requests, each with its critiques in turn."""
    path = Path(__file__).with_name("replayed_critiques.toml")
    return list(tomllib.loads(path.read_text(encoding="utf-8"))["case"])


def main() -> None:
    rows = [
        [case["request"][:40], *tokens_per_pass(case), "held out" if case.get("held_out") else ""] for case in cases()
    ]
    print(table(["request", "first critique", "second", ""], rows))


if __name__ == "__main__":
    main()
