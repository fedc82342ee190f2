"""`python -m training.sft`: train, scalar, estimate, merge, presets.

python -m training.sft train --preset miniature --export runs/parrot/export --run runs/sft
accelerate launch --num_processes 8 -m training.sft train --preset qwen3-vl-8b-qlora-24gb --export ... --run ...
python -m training.sft merge runs/sft/adapter --out models/my-judge
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from rationalrewards_core.errors import RationalRewardsError

from ..settings import read_settings, settings_toml
from .config import PRESETS, SftConfig, changed, preset


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.sft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="fine-tune, or go on with a stopped run of the same settings")
    _add_settings(train)
    train.add_argument("--export", type=Path, required=True, help="export folder: train.jsonl, pairs.jsonl, images/")
    train.add_argument("--run", type=Path, required=True, help="run directory")
    train.add_argument("--threads", type=int, help="CPU threads of torch")
    scalar = commands.add_parser("scalar", help="train a scalar Bradley-Terry head on the same pairs, to compare with")
    _add_settings(scalar)
    scalar.add_argument("--export", type=Path, required=True, help="export folder: pairs.jsonl, images/")
    scalar.add_argument("--run", type=Path, required=True, help="run directory")
    scalar.add_argument("--pairs", type=int, default=0, help="only the first so many decided pairs")
    scalar.add_argument("--threads", type=int, help="CPU threads of torch")
    guess = commands.add_parser("estimate", help="memory of a run; loads and downloads nothing")
    _add_settings(guess)
    guess.add_argument("--longest", type=int, help="tokens of the longest example (default: max_length)")
    guess.add_argument("--shards", type=int, default=1, help="devices that FSDP spreads the weights over")
    merge = commands.add_parser("merge", help="put an adapter into its base's weights")
    merge.add_argument("adapter", type=Path, help="adapter folder of a run")
    merge.add_argument("--out", type=Path, required=True, help="folder of the merged checkpoint")
    merge.add_argument("--model", help="base checkpoint (default: the one the adapter names)")
    merge.add_argument("--download", action="store_true", help="allow downloading the base")
    commands.add_parser("presets", help="the presets and all their settings")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", required=True, choices=sorted(PRESETS), help="settings to start from")
    parser.add_argument(
        "--config", type=Path, help="settings that replace the preset's: a TOML file, or a run's config.json"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one setting")
    parser.add_argument(
        "--show", action="store_true", help="print the resolved settings, which --config reads, and end"
    )


def settings(arguments: argparse.Namespace) -> SftConfig:
    """Preset, then file, then --set."""
    config = preset(arguments.preset)
    if arguments.config:
        config = changed(config, read_settings(arguments.config), str(arguments.config))
    words = [word.partition("=") for word in arguments.set]
    return changed(config, {key.strip(): value.strip() for key, _, value in words}, "--set")


def main(words: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    try:
        _run(arguments)
    except RationalRewardsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if getattr(arguments, "show", False):
        print(settings_toml(settings(arguments)))
    elif arguments.command == "train":
        _train(arguments)
    elif arguments.command == "scalar":
        _scalar(arguments)
    elif arguments.command == "estimate":
        from .estimate import estimate

        print(estimate(settings(arguments), longest=arguments.longest, shards=arguments.shards))
    elif arguments.command == "merge":
        from .artefacts import adapter_base, merge

        merge(
            arguments.model or adapter_base(arguments.adapter),
            arguments.adapter,
            arguments.out,
            download=arguments.download,
        )
        print(f"merged checkpoint: {arguments.out}")
    else:
        for name, make in PRESETS.items():
            print(f"{name}: {(make.__doc__ or '').strip()}")
            print("\n".join(f"  {key} = {value}" for key, value in asdict(make()).items()))


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from ..sharding import spread_over
    from .estimate import estimate
    from .trainer import SftTrainer

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = changed(settings(arguments), {"export": str(arguments.export)}, "--export")
    if os.environ.get("RANK", "0") == "0":  # set by torch's launcher
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        print(estimate(config, shards=spread_over(launched)), flush=True)
    print(f"finished weights: {SftTrainer(config, arguments.run).train()}")


def _scalar(arguments: argparse.Namespace) -> None:
    import torch

    from .scalar import ScalarConfig, ScalarTrainer

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = changed(settings(arguments), {"export": str(arguments.export)}, "--export")
    trainer = ScalarTrainer(ScalarConfig(sft=config, pairs=arguments.pairs), arguments.run)
    print(f"finished head: {trainer.train()}")


if __name__ == "__main__":
    sys.exit(main())
