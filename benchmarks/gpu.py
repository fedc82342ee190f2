"""What the 8B judge costs on one GPU: passes, critiques, memory; then one NFT step. At most eight minutes, no download.

    python -m benchmarks.gpu [--shape 8b] [--precisions bf16,nf4,int8] [--json gpu.json]

Weights are random in the real shape and the texts are replayed (benchmarks/replay.py), so every figure is one of speed
and memory, none of judgement. Variants run in turn in one process.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.old_decoding import Alternatives, GrammarMask, StepWatch
from benchmarks.random_judge import random_model
from benchmarks.replay import Forced, ReplayDecoder, ReplayStage, Script
from benchmarks.timing import table
from rationalrewards_core.backends.decoding.flat_text import FlatText
from rationalrewards_core.backends.decoding.kv_cache import KeyValueCache, place_of
from rationalrewards_core.backends.decoding.pass_cost import WIDTHS
from rationalrewards_core.backends.decoding.recorded_pass import RecordedPasses
from rationalrewards_core.backends.decoding.rows import Row

PAST = 1_700
"""Positions in the cache while single passes are timed: a prompt with one picture and some of a reply."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="8b", help="8b, or tiny for a dry run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="bf16,nf4,int8", help="which of bf16, nf4, int8, fp32, in this order")
    parser.add_argument("--batches", default="1,4,8", help="critiques at once; int8 is measured with one only")
    parser.add_argument("--tokens", type=int, help="cut every critique after so many")
    parser.add_argument("--no-nft", action="store_true", help="leave the NFT step out")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {"device": _device_name(options.device), "torch": torch.__version__}
    print(f"{figures['device']}, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    for precision in options.precisions.split(","):
        batches = [1] if precision == "int8" else [int(n) for n in options.batches.split(",")]
        figures[precision] = judged(options.shape, precision, options.device, batches, options.tokens)
        _free()
    if not options.no_nft:
        from benchmarks.gpu_nft import measured

        figures["nft"] = measured(options.shape, options.device)
        print(f"\n## One NFT step\n\n{table(['what', 'value'], list(figures['nft'].items()))}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def judged(shape: str, precision: str, device: str, batches: list[int], tokens: int | None = None) -> dict[str, Any]:
    """All figures of one precision, printed as they come."""
    started = time.perf_counter()
    stage = ReplayStage(random_model(shape, precision, device), shape, device, tokens)
    weights = _allocated(device)
    print(f"\n## {precision}: {weights / 2**30:.2f} GiB of weights, built in {time.perf_counter() - started:.0f} s\n")
    with torch.inference_mode():
        widths = passes(stage)
    print(table(["tokens in a pass", "ms", "ms, recorded"], [[w, *ms] for w, ms in widths.items()]), flush=True)
    rows = []
    for batch in batches:
        rows += critiques(stage, batch, weights)
        print("\n" + table(list(rows[0]), [list(row.values()) for row in rows if row["batch"] == batch]), flush=True)
    return {"weights": weights, "passes": {str(w): ms for w, ms in widths.items()}, "critiques": rows}


def passes(stage: ReplayStage) -> dict[int, list[float | None]]:
    """Width -> milliseconds of one pass, as it is and recorded."""
    text, head = FlatText(stage.model.model.language_model), stage.model.lm_head
    cache, recorded = KeyValueCache(text.depth, 1), RecordedPasses(text, head)
    cache.reserve(PAST + WIDTHS[-1])
    shifts = torch.zeros(1, dtype=torch.long, device=stage.device)
    table_of: dict[int, list[float | None]] = {}
    for width in WIDTHS:
        tokens = torch.full((1, width), 20, device=stage.device)
        place = place_of([PAST], width, stage.device)
        positions = place.index.expand(3, -1, -1)

        def plain(tokens: Any = tokens, place: Any = place, positions: Any = positions) -> Any:
            return head(text(text.embed(tokens), positions, cache, place)).argmax(-1).tolist()

        def replayed(tokens: Any = tokens, place: Any = place) -> Any:
            return recorded.run(cache, tokens, place.index, shifts).argmax(-1).tolist()

        table_of[width] = [_milliseconds(plain), _recorded(replayed) if stage.device != "cpu" else None]
    recorded.forget()
    return table_of


def critiques(stage: ReplayStage, batch: int, weights: int) -> list[dict[str, Any]]:
    """Seconds, passes and peak memory of a batch of critiques, one row for each way of decoding."""
    script = stage.scripts[0]
    prompts = [stage.prompt(script, picture) for picture in range(batch)]
    plain = [script.replies[0]] * batch
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "plain generate()": lambda: generated(stage, prompts, plain, guided=False),
        "before": lambda: generated(stage, prompts, plain, guided=True),
    }
    # A first call on a device compiles and caches; nobody pays for it twice, and what comes first is not to pay for all.
    for guided in (True, False):
        generated(stage, prompts, [reply[:32] for reply in plain], guided=guided)
    rows = [_measured(stage, batch, name, way, weights) for name, way in ways.items()]
    for record in (False, True) if stage.device != "cpu" else (False,):
        decoder = ReplayDecoder(stage, record=record)
        name = "ours, recorded" if record else "ours"
        for turn, which in enumerate(("first critique", "second critique")):
            rows.append(
                _measured(
                    stage,
                    batch,
                    f"{name}: {which}",
                    lambda t=turn, d=decoder: ours(stage, d, script, batch, t),
                    weights,
                )
            )
        del decoder
        _free()
    base = rows[0]["seconds"]
    return [{**row, "to plain": row["seconds"] / base} for row in rows]


def generated(stage: ReplayStage, prompts: Any, replies: Any, *, guided: bool) -> dict[str, Any]:
    """transformers' own loop; `guided` adds what the engine did at every token before it had a loop of its own."""
    inputs = stage.inputs(prompts)
    start = inputs["input_ids"].shape[1]
    processors: list[Any] = [Forced(replies, start)]
    stopping: list[Any] = []
    if guided:
        compiled = stage.compiled_grammar()
        masks = [GrammarMask(compiled, len(prompts), len(stage.tokeniser.vocabulary))] if compiled is not None else []
        processors = [*masks, Alternatives(10), *processors]
        stopping = [StepWatch(stage.tokeniser, start, ("\n# No such heading",), lambda row: False, lambda step: None)]
    with torch.inference_mode():
        output = stage.model.generate(
            **inputs,
            max_new_tokens=max(map(len, replies)) + 1,
            do_sample=False,
            logits_processor=processors,
            stopping_criteria=stopping,
        )
    text = output[0, start:].tolist()
    assert tuple(text[: len(replies[0])]) == tuple(replies[0])
    return {"tokens": len(replies[0]), "passes": len(replies[0]) + 1}


def ours(stage: ReplayStage, decoder: ReplayDecoder, script: Script, batch: int, turn: int) -> dict[str, Any]:
    """The loop; in its second turn every request has a new picture, as in a refine loop."""
    before = decoder.count.passes
    rows: list[Row] = []
    for number in range(batch):
        rows.append(decoder.scripted(stage.prompt(script, 100 * turn + number), script.replies[turn]))
    decoder.run(rows)
    assert all(tuple(row.ids) == script.replies[turn] for row in rows), "the loop wrote something else"
    return {"tokens": len(script.replies[turn]), "passes": decoder.count.passes - before + 1}


def _measured(
    stage: ReplayStage, batch: int, name: str, work: Callable[[], dict[str, Any]], weights: int
) -> dict[str, Any]:
    if stage.device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    counts = work()
    if stage.device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if stage.device != "cpu" else 0
    return {
        "way": name,
        "batch": batch,
        "seconds": seconds,
        "s per critique": seconds / batch,
        "tokens per pass": counts["tokens"] / counts["passes"],
        "peak GiB": peak / 2**30,
        "GiB over weights": max(0.0, (peak - weights) / 2**30),
    }


def _milliseconds(work: Callable[[], object], rounds: int = 12) -> float:
    """Median of calls that end with their numbers on the CPU."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _recorded(work: Callable[[], object]) -> float | None:
    try:
        return _milliseconds(work)
    except RuntimeError as error:
        print(f"cannot be recorded: {error}"[:300])
        torch.cuda.synchronize()
        return None


def _allocated(device: str) -> int:
    return torch.cuda.memory_allocated() if device != "cpu" else 0


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else "CPU"


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
