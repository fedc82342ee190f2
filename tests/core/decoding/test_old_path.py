"""Against the way the engine decoded before, on the miniature's own weights: texts, scores, expected scores, spreads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")

import torch
import xgrammar

from benchmarks.old_decoding import Alternatives, GrammarMask, StepWatch
from rationalrewards_core.backends.base import Finish, Reply, Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.judged import Case, ScoreBatch
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_edited, sample_generation
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

pytestmark = pytest.mark.model
RUBRICS = make_rubrics(EngineName("miniature"))


@dataclass
class OldPath:
    """A backend that answers one request at a time by `generate()`, masked and watched at every token."""

    checkpoint: Checkpoint
    identity: str = "old"
    concurrency: int = 1
    grammars: dict[str, Any] = field(default_factory=dict)

    async def close(self) -> None:
        pass

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        model, tokeniser = self.checkpoint.model, self.checkpoint.tokeniser
        inputs = model_inputs(self.checkpoint, [messages])
        start = inputs["input_ids"].shape[1]
        alternatives = Alternatives(max(1, sampling.alternatives))
        mask = (
            []
            if sampling.grammar is None
            else [GrammarMask(self._compiled(sampling.grammar), 1, self.checkpoint.vocabulary)]
        )
        watch = StepWatch(tokeniser, start, sampling.stop, lambda row: False, lambda done: None)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=sampling.max_tokens,
                do_sample=False,
                logits_processor=[*mask, alternatives],
                stopping_criteria=[watch],
            )
        ids = [token for token in output[0, start:].tolist() if token not in self.checkpoint.stop_ids]
        text = tokeniser.decode(ids, skip_special_tokens=True)
        cuts = [text.index(stop) for stop in sampling.stop if stop in text]
        tokens = alternatives.of_row(0, ids, lambda token: str(tokeniser.decode([token])))
        text = text[: min(cuts)] if cuts else text
        return Reply(text=text, finish=Finish.STOP, model="old", tokens=tokens if sampling.alternatives else ())

    def _compiled(self, grammar: str) -> Any:
        if grammar in self.grammars:
            return self.grammars[grammar]
        described = xgrammar.TokenizerInfo.from_huggingface(
            self.checkpoint.tokeniser, vocab_size=self.checkpoint.vocabulary, stop_token_ids=self.checkpoint.stop_ids
        )
        self.grammars[grammar] = xgrammar.GrammarCompiler(described).compile_grammar(grammar)
        return self.grammars[grammar]


def cases(count: int, seed: int) -> list[Case]:
    rng = np.random.default_rng([900_001, 11, seed])
    examples = [sample_edited(rng) if number % 3 == 2 else sample_generation(rng) for number in range(count)]
    return [
        Case(
            UserRequest(e.request, () if e.source is None else (Image.fromarray(e.source),)), Image.fromarray(e.picture)
        )
        for e in examples
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "pictures"), [("critique", 8), ("score", 12)])
def test_texts_expected_scores_and_spreads_are_those_of_the_old_path(mode: Mode, pictures: int) -> None:
    engine = TransformersLocal(CheckpointConfig(model=str(scorer_folder()), device="cpu", precision="fp32"))

    def judged(backend: Any) -> ScoreBatch:
        return asyncio.run(
            Scorer(backend, RUBRICS, ScorerSettings(ask_again=0)).score_many(cases(pictures, len(mode)), mode)
        )

    ours, theirs = judged(engine), judged(OldPath(engine.load()))
    engine.unload()
    assert not ours.reasons
    assert not theirs.reasons
    compared = 0
    for new, old in zip(ours.critiques, theirs.critiques, strict=True):
        assert new.raw == old.raw
        for ours_of, theirs_of in zip(new.judgements, old.judgements, strict=True):
            assert ours_of.score == theirs_of.score
            if theirs_of.score is not None:
                assert ours_of.expected == pytest.approx(theirs_of.expected, abs=1e-5)
                assert ours_of.spread == pytest.approx(theirs_of.spread, abs=1e-5)
                compared += 1
    assert compared >= pictures
