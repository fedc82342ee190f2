"""Do the words do it, and whose certainty means something? One backbone, read in several ways on the same pictures.

    python -m training.lab.words --out runs/words                          # about half an hour of one core; resumes
    python -m training.lab.words --out runs/words --ways words wordless sampled

Pairs of pictures that the shipped generator drew for reserved requests, labelled by the oracle. Every way of reading the
judge orders the same pairs; nothing is chosen by the held-out ones. Everything that was judged is kept in the folder: the
same command goes on where it was stopped, and rewrites the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.labelled_pairs import PairFolder
from ...evaluate.judged import read_judged
from ...evaluate.running import judge_pairs
from ...rewards.opinions import Opinion
from ...run import CONFIG
from ...run_settings import settle
from ..command import comparison_parser, run_comparison
from ..nft_proof.head import train_head
from ..nft_proof.report import CURVES, write_report
from .lessons import LESSONS, train_lesson
from .pictures import DEVELOPMENT, HELD_OUT, generated_pairs
from .report import figures, save_risk_curves
from .ways import HEAD, WAYS, WordsOptions


def compare(options: WordsOptions, out: Path) -> dict[str, Any]:
    """Run what is missing; returns the summary, which is also written after every way."""
    out.mkdir(parents=True, exist_ok=True)
    settle(
        out / CONFIG,
        {key: value for key, value in asdict(options).items() if key not in ("ways", "seeds")},
        begun=True,
        holds=f"{out} holds a comparison with other settings",
        advice="choose another --out or delete it",
    )
    folder = generated_pairs(out / "pairs", options.development, options.held_out)
    summary: dict[str, Any] = {}
    judged: dict[str, dict[str, list[list[Opinion]]]] = {DEVELOPMENT: {}, HELD_OUT: {}}
    for name in options.ways:
        for seed in range(options.seeds if WAYS[name].taught else 1):
            _prepare(name, options, out, seed)
            for split, opinions in judged.items():
                opinions.setdefault(name, []).append(_judge(name, split, folder, out, seed))
                summary[split] = figures(opinions, _cost(options.ways, split, out))
            save_risk_curves(out / CURVES, judged[HELD_OUT])
            write_report(out, summary)
    return summary


def _prepare(name: str, options: WordsOptions, out: Path, seed: int) -> None:
    """Train what this way needs."""
    lesson = WAYS[name].taught
    if lesson:
        # The lessons are of the head's pictures, which its training writes first.
        of_head = seed if lesson == HEAD else 0
        train_head(out / HEAD, pairs=options.pairs, drawn_requests=options.drawn, steps=options.steps, seed=of_head)
    if lesson in LESSONS:
        train_lesson(lesson, options, out, seed)


def _judge(name: str, split: str, folder: PairFolder, out: Path, seed: int) -> list[Opinion]:
    kept = out / "judged" / split / (f"{name}-{seed}" if seed else name)
    opinions = judge_pairs(WAYS[name].judge(name, out, seed), folder, folder.pairs(split), kept)
    print(split, name, seed, len(opinions), flush=True)
    return opinions


def _cost(ways: Sequence[str], split: str, out: Path) -> Mapping[str, Any]:
    """Replies and tokens per pair, as the first whole run of a way counted them."""
    costs = {}
    for name in ways:
        folder = out / "judged" / split / name
        if folder.is_dir():
            costs[name] = read_judged(folder)[0].about.get("cost", {})
    return costs


def main() -> None:
    parser = comparison_parser("words", __doc__, WordsOptions())
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    run_comparison(compare, WordsOptions, parser.parse_args())


if __name__ == "__main__":
    main()
