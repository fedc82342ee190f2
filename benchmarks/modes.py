"""critique mode, score mode and plain `generate()` on the same weights: tokens, seconds, ratios.

Plain `generate()` is transformers' own call on the same prompts, batch and precision, without grammar,
probabilities, stop texts or parsing: what the scorer adds to it is what this measures.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.subjects import cases, engine, scorer
from benchmarks.timing import interleaved, table
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.messages import critique_messages


def run(count: int = 16, rounds: int = 5) -> str:
    backend = engine(batch_size=count)
    sample = cases(count)
    bare = scorer(backend, guided=False, alternatives=0)
    full = scorer(backend)
    checkpoint = backend.load()
    questions = [critique_messages(c.request, c.candidate, full.rubric_for(c.request)) for c in sample]
    tokens: dict[str, int] = {}

    def plain() -> None:
        import torch

        inputs: dict[str, Any] = model_inputs(checkpoint, questions)
        with torch.inference_mode():
            output = checkpoint.model.generate(**inputs, max_new_tokens=400, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        tokens["plain generate()"] = int((new != checkpoint.tokeniser.pad_token_id).sum())

    def ask(which: Any, mode: str, name: str) -> None:
        async def work() -> None:
            batch = await which.score_many(sample, mode)
            assert not batch.reasons, batch.reasons

        asyncio.run(work())
        tokens.setdefault(name, 0)

    variants = {
        "plain generate()": plain,
        "critique, no grammar": lambda: ask(bare, "critique", "critique, no grammar"),
        "critique": lambda: ask(full, "critique", "critique"),
        "score, no grammar": lambda: ask(bare, "score", "score, no grammar"),
        "score": lambda: ask(full, "score", "score"),
    }
    timed = interleaved(variants, rounds)
    tokens.update(_completion_tokens(backend, sample, full))
    base = timed[0].median
    rows = [
        [t.name, tokens.get(t.name) or "", t.median / count, min(t.seconds) / count, t.median / base] for t in timed
    ]
    backend.unload()
    return table(["variant", f"tokens for {count} images", "s per image (median)", "best", "ratio to plain"], rows)


def _completion_tokens(backend: Any, cases: Any, which: Any) -> dict[str, int]:
    """Tokens written in each mode, from the replies themselves."""

    async def count(mode: str) -> int:
        replies = await asyncio.gather(
            *(
                backend.reply(
                    critique_messages(c.request, c.candidate, which.rubric_for(c.request)),
                    which._sampling(which.rubric_for(c.request), mode),
                )
                for c in cases
            )
        )
        return sum(reply.completion_tokens for reply in replies)

    return {"critique": asyncio.run(count("critique")), "score": asyncio.run(count("score"))}


if __name__ == "__main__":
    print(run())
