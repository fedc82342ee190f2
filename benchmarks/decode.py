"""What a critique costs against plain `generate()`: same weights, same pictures, in turn, in one process.

    OMP_NUM_THREADS=1 python -m benchmarks.decode [--pictures 100] [--precision fp32] [--json decode.json] [--wide] [--device cuda]

Plain is transformers' own loop without grammar, probabilities, stop texts or parsing. `before` is how the engine
decoded before it had a loop of its own. Seconds are the thread's own, so that other programs count for little.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import decode_memory
from benchmarks.old_decoding import Alternatives, GrammarMask, StepWatch
from benchmarks.subjects import cases, scorer
from benchmarks.timing import table
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.guide import GrammarCompiler
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.messages import Message, critique_messages
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.replies.parsing import Mode

Conversation = Sequence[Message]
MAX_TOKENS = 400


@dataclass
class Way:
    """One way of decoding: what it takes and what it writes."""

    decode: Callable[[list[Conversation]], list[str]]
    seconds: float = 0.0
    texts: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument(
        "--device", default="cpu", help="cuda says whether texts are the same there; memory is the CPU's"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--wide", action="store_true", help="also a random model with 151,936 tokens, texts replayed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"precision": options.precision, "pictures": options.pictures}
    for batch in (int(n) for n in options.batches.split(",")):
        figures |= {f"batch{batch}": measured(batch, options.pictures, options.precision, options.device)}
    figures |= summary(figures)
    figures |= {f"peak_mib_{way}": decode_memory.measured(way, options.precision) for way in decode_memory.WAYS}
    figures["peak_memory_over_plain"] = figures["peak_mib_ours"] / figures["peak_mib_plain"]
    if options.wide:
        figures["wide"] = wide()
    print(json.dumps({key: value for key, value in figures.items() if not isinstance(value, dict)}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def measured(batch: int, pictures: int, precision: str, device: str) -> dict[str, Any]:
    """Every way on the same pictures, `batch` at a time; prints a table."""
    config = CheckpointConfig(model=str(scorer_folder()), precision=precision, device=device)  # type: ignore[arg-type]
    reference, checkpoint = load_checkpoint(config), load_checkpoint(config)
    checkpoint.model.requires_grad_(False)
    asker = scorer(None)  # type: ignore[arg-type]
    sample = cases(pictures + batch, seed=77)
    rubric = asker.rubric_for(sample[0].request)
    questions = [critique_messages(case.request, case.candidate, rubric) for case in sample]

    def sampling(mode: Mode) -> Sampling:
        return asker._sampling(rubric, mode)

    decoders = {mode: Decoder(checkpoint) for mode in ("critique", "score")}
    ways = {
        "plain": Way(lambda group: plain(reference, group)),
        "before": Way(lambda group: before(reference, group, sampling("critique"))),
        "before, score": Way(lambda group: before(reference, group, sampling("score"))),
        "ours": Way(lambda group: ours(decoders["critique"], group, sampling("critique"))),
        "ours, score": Way(lambda group: ours(decoders["score"], group, sampling("score"))),
    }
    if batch == 1:
        ways["prompt lookup"] = Way(lambda group: plain(reference, group, prompt_lookup_num_tokens=10))
    for way in ways.values():
        way.decode(questions[pictures : pictures + batch])
    count = decoders["critique"].count
    passes, tokens = count.passes, count.tokens
    for start in range(0, pictures, batch):
        for way in ways.values():
            started = time.thread_time()
            way.texts += way.decode(questions[start : start + batch])
            way.seconds += time.thread_time() - started
    base = ways["plain"]
    rows = [[name, 1000 * w.seconds / pictures, w.seconds / base.seconds, _same(w, base)] for name, w in ways.items()]
    print(f"\n## {precision}, batches of {batch}, {pictures} pictures\n", flush=True)
    print(table(["way", "CPU ms per picture", "to plain", "same text"], rows), flush=True)
    row_passes = _row_passes(count.passes - passes, batch)
    return {
        "over_plain": {name: way.seconds / base.seconds for name, way in ways.items()},
        "milliseconds": {name: 1000 * way.seconds / pictures for name, way in ways.items()},
        "same_text_share": {name: _same(way, base) for name, way in ways.items()},
        "tokens_per_pass": (count.tokens - tokens) / row_passes,
    }


def _row_passes(passes: int, batch: int) -> int:
    """Passes of a batch serve all its rows; this counts them once per row, as if none had left."""
    return max(1, passes * batch)


def _same(way: Way, base: Way) -> float:
    """Share of texts equal to plain's, or to its beginning where the way stops after the scores."""
    return sum(full.startswith(text) for text, full in zip(way.texts, base.texts, strict=True)) / len(base.texts)


def plain(checkpoint: Checkpoint, group: list[Conversation], **options: Any) -> list[str]:
    inputs = model_inputs(checkpoint, group)
    with torch.inference_mode():
        output = checkpoint.model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False, **options)
    new = output[:, inputs["input_ids"].shape[1] :]
    return list(checkpoint.tokeniser.batch_decode(new, skip_special_tokens=True))


def before(checkpoint: Checkpoint, group: list[Conversation], sampling: Sampling) -> list[str]:
    """A grammar call, a softmax over the vocabulary and a decoded tail at every token of every row."""
    inputs = model_inputs(checkpoint, group)
    start = inputs["input_ids"].shape[1]
    compiler = GrammarCompiler(checkpoint.tokeniser, checkpoint.vocabulary, checkpoint.stop_ids)
    mask = GrammarMask(compiler.compiled(str(sampling.grammar)), len(group), checkpoint.vocabulary)
    alternatives = Alternatives(sampling.alternatives)
    watch = StepWatch(checkpoint.tokeniser, start, sampling.stop, lambda row: False, lambda step: None)
    with torch.inference_mode():
        output = checkpoint.model.generate(
            **inputs,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            logits_processor=[mask, alternatives],
            stopping_criteria=[watch],
        )
    texts = []
    for row, ids in enumerate(output[:, start:].tolist()):
        alternatives.of_row(row, ids, lambda token: str(checkpoint.tokeniser.decode([token])))
        text = str(checkpoint.tokeniser.decode(ids, skip_special_tokens=True))
        texts.append(text[: sampling.end(text)])
    return texts


def ours(decoder: Decoder, group: list[Conversation], sampling: Sampling) -> list[str]:
    """Each call is for new pictures: nothing of an earlier one is reused but the memory of its words."""
    rows = [decoder.row(messages, sampling) for messages in group]
    decoder.run(rows)
    for row in rows:
        row.tokens()  # the alternatives' texts are part of a reply
    return [row.text() for row in rows]


def summary(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures that the project watches."""
    one, eight = figures.get("batch1"), figures.get("batch8")
    table: dict[str, Any] = {}
    if one:
        ratios = one["over_plain"]
        table |= {
            "critique_over_plain": ratios["ours"],
            "score_over_plain": ratios["ours, score"],
            "same_text_share": one["same_text_share"]["ours"],
            "tokens_per_pass": one["tokens_per_pass"],
        }
    if eight:
        ratios = eight["over_plain"]
        table |= {"batch8_over_plain": ratios["ours"], "batch8_score_over_plain": ratios["ours, score"]}
    return table


def wide() -> dict[str, float]:
    """The replayed critiques on a random model with a real vocabulary: seconds against plain `generate()`."""
    from benchmarks.gpu import generated
    from benchmarks.gpu import ours as replayed
    from benchmarks.random_judge import random_model
    from benchmarks.replay import ReplayDecoder, ReplayStage

    stage = ReplayStage(random_model("wide", "fp32", "cpu"), "wide", "cpu")
    script = stage.scripts[0]
    decoder = ReplayDecoder(stage)
    prompts = [stage.prompt(script, 0)]
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: generated(stage, prompts, [script.replies[0]], guided=False),
        "before": lambda: generated(stage, prompts, [script.replies[0]], guided=True),
        "ours, first critique": lambda: replayed(stage, decoder, script, 1, 0),
        "ours, second critique": lambda: replayed(stage, decoder, script, 1, 1),
    }
    generated(stage, prompts, [script.replies[0][:8]], guided=True)
    seconds = {}
    for name, work in ways.items():
        gc.collect()
        started = time.thread_time()
        work()
        seconds[name] = time.thread_time() - started
    rows = [[name, spent, spent / seconds["plain"]] for name, spent in seconds.items()]
    print("\n## Random weights, 151,936 tokens, one critique replayed\n")
    print(table(["way", "CPU s", "to plain"], rows), flush=True)
    return seconds


if __name__ == "__main__":
    main()
