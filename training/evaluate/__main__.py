"""`python -m training.evaluate`: import, judge, report, retest, leakage, gate, generation.

python -m training.evaluate import genai-t2i hub:TIGER-Lab/GenAI-Bench --split test_v1 --out bench/genai-t2i
python -m training.evaluate judge bench/genai-t2i --judge local:models/my-judge --out results/genai-t2i
python -m training.evaluate judge bench/genai-t2i --judge server:gpt --mode plain --out results/genai-t2i
python -m training.evaluate report results/genai-t2i
python -m training.evaluate generation gedit --benchmark GEdit-Bench --outputs mine --judge server:gpt --out runs/gedit
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import get_args

from rationalrewards_core.backends.checkpoint import PRECISIONS
from rationalrewards_core.engine_kinds import engine_names
from rationalrewards_core.errors import RationalRewardsError
from rationalrewards_core.storage import replace_file

from ..data.benchmarks import BENCHMARKS, import_benchmark
from ..data.labelled_pairs import LabelledPair, PairFolder, with_winner
from ..rewards.figures import retest_spread
from ..rewards.ties import PROTOCOLS
from ..settings import finite
from .gate import gate, gate_table
from .generation import command as generation
from .judged import read_judged
from .leakage import leakage
from .report import report, retest_line
from .running import JudgeSettings, Mode, StillOpen, judge_pairs, retest


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_import_options(commands.add_parser("import", help="write a public benchmark as a folder of labelled pairs"))
    _add_judge_options(commands.add_parser("judge", help="ask a judge about every pair; goes on where it stopped"))
    _add_report_options(commands.add_parser("report", help="judges side by side, as Markdown"))
    _add_retest_options(commands.add_parser("retest", help="ask the same judge several times at a temperature"))
    _add_leakage_options(commands.add_parser("leakage", help="which pairs were seen in training; exit code 2 if any"))
    _add_gate_options(
        commands.add_parser("gate", help="the same pairs under several precisions; exit code 2 if one fails")
    )
    _add_generation_options(
        commands.add_parser("generation", help="judge a generator's images by a published benchmark's protocol")
    )
    return parser


def _add_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", choices=sorted(BENCHMARKS))
    parser.add_argument("source", help="Parquet, JSON, JSONL or CSV file, a folder of them, or hub:OWNER/NAME")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--images", type=Path, action="append", default=[], help="folder or tar of images named by path"
    )
    parser.add_argument("--split", default="", help="only files with this in their name")
    parser.add_argument("--limit", type=int)


def _add_judge_options(parser: argparse.ArgumentParser) -> None:
    _add_pairs(parser)
    _add_judge(parser)
    parser.add_argument("--mode", choices=get_args(Mode), default="pointwise")
    parser.add_argument("--samples", type=int, default=3, help="critiques of the mode sampled (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of results; one for all judges of a set of pairs"
    )


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("judged", type=Path, help="folder that `judge --out` wrote")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), action="append", help="tie protocol (default: all)")
    parser.add_argument("--margin", type=finite, default=0.0, help="rewards this close are a tie")


def _add_retest_options(parser: argparse.ArgumentParser) -> None:
    _add_pairs(parser)
    _add_judge(parser)
    parser.add_argument("--mode", choices=get_args(Mode), default="pointwise")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--times", type=int, default=3)


def _add_leakage_options(parser: argparse.ArgumentParser) -> None:
    _add_pairs(parser)
    parser.add_argument("training", type=Path, help="export folder that a student was trained on")


def _add_gate_options(parser: argparse.ArgumentParser) -> None:
    _add_pairs(parser)
    _add_judge(parser)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["auto", "int8", "nf4"])
    parser.add_argument("--out", type=Path, required=True)


def _add_generation_options(parser: argparse.ArgumentParser) -> None:
    generation.add_options(parser)
    _add_judge(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")


def _add_pairs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pairs", type=Path, help="folder of labelled pairs (an import, or an export of PARROT)")
    parser.add_argument("--split", help="train, dev or test (default: all of them)")
    parser.add_argument("--limit", type=int, help="only the first so many pairs")


def _add_judge(parser: argparse.ArgumentParser) -> None:
    judges = engine_names("scalar:NAME", "head:FOLDER")
    parser.add_argument("--judge", "--engine", default="miniature", help=judges)
    parser.add_argument("--adapter", help="LoRA adapter folder (local judges)")
    parser.add_argument("--rubric", help="rubric file, or the name of a judge profile")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--temperature", type=finite, default=0.0)
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--ask-again", type=int, default=0, help="more tries for an unreadable reply")
    parser.add_argument("--unguided", action="store_true", help="do not hold replies to the rubric's grammar")


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 a check did not pass, 3 something is left to ask."""
    arguments = build_parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING)
    commands = {
        "import": _import, "judge": _judge, "report": _report, "retest": _retest, "leakage": _leakage, "gate": _gate,
        "generation": _generation,
    }  # fmt: skip
    try:
        return commands[arguments.command](arguments)
    except StillOpen as error:
        print(error, file=sys.stderr)
        return 3
    except RationalRewardsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; every finished answer has been kept.", file=sys.stderr)
        return 130


def _import(arguments: argparse.Namespace) -> int:
    benchmark = BENCHMARKS[arguments.benchmark]
    count, intake = import_benchmark(
        arguments.benchmark,
        arguments.source,
        arguments.out,
        arguments.images,
        split=arguments.split,
        limit=arguments.limit,
    )
    print(f"{count} pairs of {benchmark.name} in {arguments.out}; licence: {benchmark.licence or 'see its card'}")
    for reason in intake.left_out():
        print(f"  left out: {reason}")
    if benchmark.note:
        print(f"note: {benchmark.note}")
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    folder, pairs = _pairs(arguments)
    with_winner(pairs, str(arguments.pairs))  # ties alone would give no figure
    opinions = judge_pairs(_settings(arguments, mode=arguments.mode), folder, pairs, arguments.out)
    failed = sum(opinion.verdict is None for opinion in opinions)
    print(f"{len(opinions)} pairs judged, {failed} of them without a verdict; results: {arguments.out}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    protocols = arguments.protocol or list(PROTOCOLS)
    text = report(read_judged(arguments.judged), protocols=protocols, margin=arguments.margin)
    replace_file(arguments.judged / "report.md", [text.encode()])
    print(text)
    return 0


def _retest(arguments: argparse.Namespace) -> int:
    folder, pairs = _pairs(arguments)
    settings = _settings(arguments, mode=arguments.mode)
    repeats = retest(settings, folder, pairs, arguments.times)
    print(retest_line(settings.name, repeats, *retest_spread(repeats)))
    return 0


def _leakage(arguments: argparse.Namespace) -> int:
    folder, pairs = _pairs(arguments)
    report = leakage(folder, pairs, PairFolder(arguments.training))
    print(report)
    print(json.dumps({"requests": report.requests, "images": report.images}))
    return 0 if report.clean else 2


def _gate(arguments: argparse.Namespace) -> int:
    folder, pairs = _pairs(arguments)
    arguments.precision = arguments.precisions[0]
    rows = gate(_settings(arguments, mode="pointwise"), arguments.precisions, folder, pairs, arguments.out)
    print(gate_table(rows))
    return 0 if all(row.passed for row in rows) else 2


def _generation(arguments: argparse.Namespace) -> int:
    text, finished = generation.run(arguments, _settings(arguments, mode="pointwise"))
    print(text)
    return 0 if finished else 3


def _pairs(arguments: argparse.Namespace) -> tuple[PairFolder, list[LabelledPair]]:
    folder = PairFolder(arguments.pairs)
    return folder, folder.pairs(arguments.split, arguments.limit)


def _settings(arguments: argparse.Namespace, *, mode: str) -> JudgeSettings:
    return JudgeSettings(
        judge=arguments.judge,
        mode=mode,  # type: ignore[arg-type]
        precision=arguments.precision,
        adapter=arguments.adapter,
        rubric=arguments.rubric,
        device=arguments.device,
        batch_size=arguments.batch_size,
        temperature=arguments.temperature,
        max_tokens=arguments.max_tokens,
        ask_again=arguments.ask_again,
        guided=not arguments.unguided,
        samples=getattr(arguments, "samples", 3),
    )


if __name__ == "__main__":
    sys.exit(main())
