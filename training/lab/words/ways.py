"""The ways in which one backbone is made to judge: with its words, without, several times, and as a number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...evaluate.running import JudgeSettings, Mode
from ..nft_proof.head import run_folder

PRECISION: Final = "fp32"
"""In bf16 a batch's other rows move a word here and there, and scores with it."""
HEAD: Final = "head"


@dataclass(frozen=True)
class JudgeWay:
    """One row of the tables."""

    mode: Mode
    label: str
    colour: str
    taught: str = ""
    """The lesson that an adapter of the scorer, or the head, was trained on for it; empty is the scorer as shipped."""

    def judge(self, name: str, out: Path, seed: int) -> JudgeSettings:
        """Who is asked, and how."""
        if name == HEAD:
            return JudgeSettings(judge=f"head:{run_folder(out / HEAD, seed) / 'head'}")
        adapter = str(run_folder(out / self.taught, seed) / "adapter") if self.taught else None
        return JudgeSettings(judge="miniature", mode=self.mode, precision=PRECISION, adapter=adapter, batch_size=32)


WAYS: Final[dict[str, JudgeWay]] = {
    "words": JudgeWay("pointwise", "words, then scores", "#3b5bdb"),
    "expected": JudgeWay("expected", "words, expected scores", "#12805c"),
    "sampled": JudgeWay("sampled", "mean of three sampled critiques", "#d9730d"),
    "wordless": JudgeWay("wordless", "scores without words", "#868e96"),
    "wordless-expected": JudgeWay("wordless-expected", "expected scores without words", "#b3382c"),
    "scores-taught": JudgeWay("wordless-expected", "taught to score without words", "#862e9c", "scores"),
    "mean-taught": JudgeWay("wordless-expected", "taught the mean score alone", "#0b7285", "mean"),
    HEAD: JudgeWay("pointwise", "scalar head on preferences", "#495057", "head"),
}
"""Name -> way. The last three were trained on the same pictures, for as many steps."""


@dataclass(frozen=True, kw_only=True)
class WordsOptions:
    """How much is run."""

    ways: tuple[str, ...] = tuple(WAYS)
    development: int = 32
    """Development requests with four pictures each; whatever is chosen is chosen by them."""
    held_out: int = 96
    """Held-out requests, for the tables."""
    steps: int = 150
    """Optimiser steps of head and adapters, 32 pictures each."""
    seeds: int = 1
    """Of the training of head and adapters, each."""
    pairs: int = 1_000
    """Rendered preferences that these learn from."""
    drawn: int = 64
    """Requests whose generated pictures they learn from, too, four of each."""
