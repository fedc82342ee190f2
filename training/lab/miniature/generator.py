"""Train the miniature generator: `python -m training.lab.miniature.generator` (about three hours on two cores).

Two stages, each resumable: the autoencoder, then the flow-matching transformer. The result is a
diffusers folder that `rationalrewards_core` ships and loads like any other.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch

from .autoencoder import AutoencoderConfig, train_autoencoder
from .flow import FlowConfig, train_flow
from .ship import ship_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/miniature-generator"), help="run directory")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, help="flow steps (default: the shipped model's)")
    parser.add_argument("--autoencoder-steps", type=int, help="autoencoder steps (default: the shipped model's)")
    parser.add_argument("--stage", choices=("autoencoder", "all"), default="all")
    parser.add_argument("--ship", type=Path, help="write the finished pipeline to this folder, in half precision")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    first, second = AutoencoderConfig(), FlowConfig()
    if arguments.autoencoder_steps:
        first = replace(first, steps=arguments.autoencoder_steps)
    if arguments.steps:
        second = replace(second, steps=arguments.steps)
    autoencoder = train_autoencoder(first, arguments.run / "autoencoder")
    if arguments.stage == "autoencoder":
        return
    pipeline = train_flow(second, autoencoder, arguments.run / "flow")
    if arguments.ship:
        ship_generator(pipeline, arguments.ship)


if __name__ == "__main__":
    main()
