"""Arguments of the commands around model servers: servers, doctor."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..engine_kinds import engine_names


def add_servers_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="name the servers of the config file")
    listed.add_argument("--json", action="store_true", help="machine-readable output")
    _add(actions.add_parser("add", help="write an entry for a server that is started when it is first asked"))
    removed = actions.add_parser("remove", help="cut a server out of the config file")
    removed.add_argument("name", metavar="NAME")
    for action in actions.choices.values():
        action.add_argument("--config", type=Path, metavar="FILE", help="config file (default: your own)")


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what you call it: --engine server:NAME")
    parser.add_argument(
        "kind",
        choices=("vllm", "llama.cpp", "sglang"),
        help="the flags for sglang are its documentation's, and were not run",
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint folder or hub id; for llama.cpp a GGUF file")
    parser.add_argument(
        "--mmproj", metavar="FILE", help="the picture tower, a GGUF file (llama.cpp; else the one beside the model)"
    )
    parser.add_argument("--program", metavar="PATH", help="the server's program, if it is not on the PATH")
    parser.add_argument("--slots", type=int, default=2, help="questions answered at once (llama.cpp; default: 2)")
    parser.add_argument(
        "--memory-share", type=float, default=0.9, help="share of the card's memory (vllm, sglang; default: 0.9)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the entry and write nothing")


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "engine",
        nargs="?",
        default="miniature",
        metavar="ENGINE",
        help=f"{engine_names()} (default: miniature)",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument(
        "--against", metavar="ENGINE", help="compare its scores with this engine's, such as local:FOLDER"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config file that names servers (default: your own)"
    )
    parser.add_argument("--rubric", metavar="NAME_OR_FILE", help="generation, or a TOML file of your own")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp16", "fp32", "int8", "nf4"))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--max-pixels", type=int, default=802_816, help="pixel cap per image")
    parser.add_argument("--max-tokens", type=int, default=2048, help="limit of one reply")
