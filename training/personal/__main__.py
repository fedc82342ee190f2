"""`rationalrewards train`: a judge of your own, and a generator tuned by it; the single stages under their own names.

rationalrewards train picks --out example
rationalrewards train judge --picks picks/export --base models/LLM/RationalRewards-8B-T2I --teacher judge --run runs/mine
rationalrewards train generator --judge runs/mine/sft --run runs/generator
rationalrewards train sft presets
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rationalrewards_core.engine_kinds import engine_names
from rationalrewards_core.errors import ConfigError, RationalRewardsError

from .. import PACKAGE
from ..data.importers.labels import Labels
from ..parrot.own_critiques import OwnSettings
from ..sft.config import PRESETS as SFT_PRESETS
from .job import MINIATURE, JudgeJob
from .placing import comfyui_folder
from .plan import agreed

STAGES: Final = ("parrot", "sft", "evaluate", "nft")
DONE, FAILED, WRONG_USE, OPEN, INTERRUPTED = 0, 1, 2, 3, 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rationalrewards train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    judge = commands.add_parser("judge", help="from the picks of Preference Pick to an adapter for your judge")
    judge.add_argument("--picks", type=Path, required=True, help="folder that Export on Preference Pick wrote")
    judge.add_argument(
        "--base", required=True, help="judge to start from: a checkpoint folder, a hub id, or `miniature`"
    )
    judge.add_argument(
        "--teacher", default="", help="server of your config file that explains the picks (default: none)"
    )
    judge.add_argument("--servers", type=Path, help="config file that names servers (default: your own)")
    judge.add_argument("--labels", choices=[labels.value for labels in Labels], default=Labels.WORDS.value,
                       help="how the picks say which is better")  # fmt: skip
    judge.add_argument("--preset", choices=sorted(SFT_PRESETS), default="", help="fine-tuning settings to start from")
    judge.add_argument("--samples", type=int, default=OwnSettings().samples,
                       help="most critiques of each picture that the base writes where there is no teacher")  # fmt: skip
    judge.add_argument("--device", default="auto")
    _common(judge, "runs/judge")
    generator = commands.add_parser("generator", help="tune a generator by a judge (DiffusionNFT)")
    generator.add_argument("--judge", "--engine", required=True, help=f"adapter folder, {engine_names()}")
    generator.add_argument("--preset", default="single_24gb", help="settings to start from (see docs/nft.md)")
    _common(generator, "runs/generator")
    picks = commands.add_parser(
        "picks", help="picks of the miniature's pictures by somebody who likes red, to try it out"
    )
    picks.add_argument("--out", type=Path, required=True, help="folder to write")
    picks.add_argument("--count", type=int, default=60)
    picks.add_argument("--seed", type=int, default=2)
    for stage in STAGES:
        commands.add_parser(stage, help=f"the commands of `python -m training.{stage}`", add_help=False)
    return parser


def _common(parser: argparse.ArgumentParser, run: str) -> None:
    parser.add_argument(
        "--run", type=Path, default=Path(run), help="folder of everything that is made (default: %(default)s)"
    )
    parser.add_argument("--config", type=Path, help="settings that replace the preset's (TOML)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one setting")
    parser.add_argument(
        "--comfyui", type=Path, help="ComfyUI to put the finished file into (default: the one the pack is in)"
    )
    parser.add_argument("--name", default="", help="name it gets there (default: the run folder's)")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, measured on this machine, and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before starting")
    parser.add_argument("--json", action="store_true", help="print what was planned or made as JSON")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 wrong use, 3 something is left to do, 130 interrupted."""
    words_given = list(sys.argv[1:] if words is None else words)
    if words_given and words_given[0] in STAGES:
        return _stage(words_given[0], words_given[1:])
    arguments = build_parser().parse_args(words_given)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return {"judge": _judge, "generator": _generator, "picks": _picks}[arguments.command](arguments)
    except ConfigError as error:
        print(f"train: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("train: interrupted; start the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except RationalRewardsError as error:
        print(f"train: {error}", file=sys.stderr)
        return OPEN if error.reason == "still_open" else FAILED


def _judge(arguments: argparse.Namespace) -> int:
    from .judge import make_judge, prepare

    job = JudgeJob(
        picks=arguments.picks, base=arguments.base, run=arguments.run, teacher=arguments.teacher,
        servers=arguments.servers, labels=arguments.labels, preset=arguments.preset, config=arguments.config,
        settings=_settings(arguments.set), own=OwnSettings(samples=arguments.samples), device=arguments.device,
    )  # fmt: skip
    comfyui = comfyui_folder(arguments.comfyui, Path(__file__).resolve().parents[2])
    picks, plan = prepare(job)
    if arguments.dry_run:
        print(json.dumps(plan.to_json(), indent=2) if arguments.json else plan)
        return DONE
    started = job.run / "started"
    if not agreed(str(plan), yes=arguments.yes or started.exists()):
        return DONE
    started.touch()
    judge = make_judge(job, picks, comfyui, arguments.name or job.run.name, say=_say)
    if arguments.json:
        print(json.dumps(judge.to_json(), indent=2))
    else:
        print(f"adapter: {judge.adapter}\nlook at: {judge.page}")
        print(_next_step(judge.placed, job.base))
    return DONE


def _next_step(placed: Path | None, base: str) -> str:
    checkpoint = "checkpoint miniature, precision auto" if base == MINIATURE else "the same checkpoint"
    engine = f"on Load Rational Scorer choose engine local, {checkpoint}, and adapter"
    if placed is None:
        return f"In ComfyUI: copy the adapter's folder to models/rationalrewards/NAME; {engine} rationalrewards/NAME."
    return f"In ComfyUI: {engine} rationalrewards/{placed.name}."


def _picks(arguments: argparse.Namespace) -> int:
    from .example_picks import write_example

    print(f"{arguments.count} picks: {write_example(arguments.out, arguments.count, arguments.seed)}")
    return DONE


def _generator(arguments: argparse.Namespace) -> int:
    from .generator import GeneratorJob, dry_run, generator_plan, make_generator

    job = GeneratorJob(
        judge=arguments.judge,
        run=arguments.run,
        preset=arguments.preset,
        config=arguments.config,
        settings=arguments.set,
    )
    comfyui = comfyui_folder(arguments.comfyui, Path(__file__).resolve().parents[2])
    if arguments.dry_run:
        figures = dry_run(job)
        print(json.dumps(figures, indent=2) if arguments.json else _dry(figures))
        return DONE
    if not agreed(generator_plan(job), yes=arguments.yes or (job.run / "config.json").exists()):
        return DONE
    generator, placed = make_generator(job, comfyui, arguments.name or job.run.name)
    if arguments.json:
        print(json.dumps({"weights": str(generator), "placed": None if placed is None else str(placed)}))
    else:
        print(f"weights: {generator}" + ("" if placed is None else f"\nIn ComfyUI: choose {placed.name} in Load LoRA."))
    return DONE


def _dry(figures: object) -> str:
    table = dict(figures)  # type: ignore[call-overload]
    return f"{table['epoch_seconds']:.1f} s an epoch, {table['peak_gib']:.1f} GiB at most, about {table['all']} in all"


def _settings(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    wrong = [word for word, (_, equals, _) in zip(words, pairs, strict=True) if not equals]
    if wrong:
        raise ConfigError(f"--set needs KEY=VALUE, such as lr=1e-4, not {wrong[0]!r}.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _say(line: str) -> None:
    print(line, flush=True)


def _stage(name: str, words: list[str]) -> int:
    """A stage's own command line, as `python -m` would call it."""
    sys.argv = [f"rationalrewards train {name}", *words]
    code = importlib.import_module(f"{PACKAGE}.{name}.__main__").main()
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())
