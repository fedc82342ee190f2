"""How far a GGUF judge's scores are from the checkpoint's own, in each form that its matrices can be stored in.

    python -m venv llama && llama/bin/pip install xllamacpp gguf
    python -m benchmarks.gguf_scores --environment llama        # or LLAMA_CPP_ENVIRONMENT=llama

The miniature judges the same pictures by transformers (fp32) and by llama.cpp through the engine `gguf:`, greedy and
guided. The pictures are shown in several sizes: who scales them otherwise judges another picture.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.llama_cpp import REPOSITORY, interpreter
from benchmarks.timing import table
from rationalrewards_core.miniature import scorer_folder

if TYPE_CHECKING:
    from rationalrewards_core.judged import Case, Outcome

FORMS: Final = ("f32", "q8_0", "q5_1", "q4_k_m", "q4_0")
SIDES: Final = (48, 130, 512)
"""Pixels of the sides that the pictures of the world are shown at, in turn."""


def run(python: Path, count: int = 60) -> str:
    """A Markdown table; `python` is the interpreter of the environment that holds xllamacpp and gguf."""
    from rationalrewards_core.gguf import engine

    engine.llama_python = lambda: str(python)
    cases = shown(count)
    local = judged("miniature", cases)
    rows = [_row("transformers fp32 again", local, judged("miniature", cases))]
    with tempfile.TemporaryDirectory() as place:
        for form in FORMS:
            model = written(python, Path(place) / form, form)
            size = model.stat().st_size / 1e6
            rows.append(_row(f"{form} ({size:.1f} MB)", local, judged(f"gguf:{model}", cases)))
    heads = ["judge", "critiques", "same text", "same scores", "scores that differ", "mean difference", "largest"]
    return table([*heads, "largest of expected"], rows)


def shown(count: int) -> list[Case]:
    """Pictures with flaws, at the sizes of `SIDES` in turn."""
    from PIL import Image

    from benchmarks.subjects import cases
    from rationalrewards_core.judged import Case

    def sized(number: int, case: Case) -> Case:
        side = SIDES[number % len(SIDES)]
        return Case(case.request, case.candidate.resize((side, side), Image.Resampling.NEAREST))

    return [sized(number, case) for number, case in enumerate(cases(count, seed=60))]


def judged(name: str, cases: Sequence[Case]) -> list[Outcome]:
    from rationalrewards_core.engines import EngineOptions, make_scorer
    from rationalrewards_core.memo import Memo
    from rationalrewards_core.scorer_settings import ScorerSettings

    precision = "fp32" if name == "miniature" else "auto"
    options = EngineOptions(precision=precision, device="cpu", batch_size=4)
    scorer = make_scorer(name, options, settings=ScorerSettings(ask_again=0, max_tokens=400), memo=Memo(limit=0))

    async def all_of_them() -> list[Outcome]:
        try:
            return list((await scorer.score_many(cases)).outcomes)
        finally:
            await scorer.close()

    return asyncio.run(all_of_them())


def written(python: Path, folder: Path, form: str) -> Path:
    """The miniature in one form, with its rubrics; the language model's path."""
    command = [
        str(python),
        "-m",
        "training.lab.miniature.gguf_files",
        str(scorer_folder()),
        str(folder),
        "--form",
        form,
    ]
    process = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)  # noqa: S603
    for rubric in scorer_folder().glob("rubric_*.toml"):
        shutil.copy(rubric, folder)
    return Path(process.stdout.splitlines()[0])


def _row(name: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[object]:
    from rationalrewards_core.critique import Critique

    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if isinstance(a, Critique) and isinstance(b, Critique)]
    scores = [(a.scores[key], b.scores[key]) for a, b in pairs for key in a.scores]
    far = [0.0 if a == b else abs(a - b) if a is not None and b is not None else 3.0 for a, b in scores]
    expected = [
        abs(one.expected - other.expected)
        for a, b in pairs
        for one, other in zip(a.judgements, b.judgements, strict=True)
        if one.expected is not None and other.expected is not None
    ]
    same_text = sum(a.raw == b.raw for a, b in pairs)
    same_scores = sum(a.scores == b.scores for a, b in pairs)
    differ = f"{sum(one > 0 for one in far)} of {len(far)}"
    mean = sum(far) / len(far)
    return [name, len(pairs), same_text, same_scores, differ, mean, max(far), max(expected, default=0.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default=os.environ.get("LLAMA_CPP_ENVIRONMENT", ""))
    parser.add_argument("--count", type=int, default=60, help="pictures")
    arguments = parser.parse_args()
    python = interpreter(arguments.environment)
    if python is None:
        print(
            "llama.cpp was not found, so nothing was measured: python -m venv llama && llama/bin/pip install xllamacpp "
            "gguf, then --environment llama."
        )
        return
    print(run(python, arguments.count))


if __name__ == "__main__":
    main()
