"""Tune a diffusers flow model online with critiques as the reward.

    python -m training.nft --preset miniature_cpu --run runs/nft
    python -m training.nft --preset sd35_medium_8gpu --set rewards.judge='"server:judge"' --show
    accelerate launch -m training.nft --config my.toml --run runs/nft

The same command resumes a run that was stopped, exactly where its last checkpoint is.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError, RationalRewardsError

from ..settings import read_settings, settings_toml
from .config import NFTConfig, changed
from .presets import PRESETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.nft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="miniature_cpu", help="what to start from")
    parser.add_argument(
        "--config", type=Path, help="settings that differ from the preset: a TOML file, or a run's config.json"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting in TOML, such as run.epochs=20"
    )
    parser.add_argument("--run", type=Path, default=Path("runs/nft"), help="run directory (default: %(default)s)")
    parser.add_argument(
        "--show", action="store_true", help="print the resolved settings, which --config reads, and end"
    )
    parser.add_argument(
        "--estimate", action="store_true", help="print memory and work (passes per epoch), load nothing, and end"
    )
    parser.add_argument("--processes", type=int, help="of the estimate (default: what accelerate launched)")
    parser.add_argument("--shards", type=int, help="processes that share one copy of the weights, of the estimate")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    return parser


def resolved(preset: str, file: Path | None, settings: list[str]) -> NFTConfig:
    """Preset, then file, then single settings; ConfigError names what cannot be used."""
    table = read_settings(file) if file is not None else {}
    for setting in settings:
        table = _merged(table, _table(setting))
    # All at once: settings that only go together may come in any order.
    return changed(PRESETS[preset](), table)


def _merged(table: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two nested tables; the other one's values win."""
    merged_table = dict(table)
    for key, value in other.items():
        old = merged_table.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged_table[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged_table


def _table(setting: str) -> dict[str, Any]:
    """`a.b=1` as a nested table; a value that is no TOML is a text."""
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set needs KEY=VALUE, such as run.epochs=20, not {setting!r}.")
    try:
        parsed_value = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed_value = value
    table: Any = parsed_value
    for part in reversed(key.strip().split(".")):
        table = {part: table}
    return table  # type: ignore[no-any-return]


def _estimate(config: NFTConfig, processes: int | None, shards: int | None) -> None:
    """Print it, once for all processes."""
    from ..sharding import spread_over
    from .estimate import estimate

    launched = int(os.environ.get("WORLD_SIZE", "1"))  # set by torch's launcher, like RANK
    if os.environ.get("RANK", "0") == "0":
        print(estimate(config, processes or shards or launched, shards or spread_over(launched)), flush=True)


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = resolved(arguments.preset, arguments.config, arguments.set)
        if arguments.show:
            print(settings_toml(config))
            return
        _estimate(config, arguments.processes, arguments.shards)
        if arguments.estimate:
            return
        if arguments.threads:
            import torch

            torch.set_num_threads(arguments.threads)
        from .train import train

        print(f"weights: {train(config, arguments.run)}")
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error


if __name__ == "__main__":
    main()
