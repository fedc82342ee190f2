"""Arguments of every command, with help a newcomer understands. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..engine_kinds import engine_lines, engine_names
from ..loop.policy import RefinePolicy
from .server_arguments import add_doctor_arguments, add_servers_arguments

EXIT_CODES = """\
exit codes: 0 done; 1 something failed; 2 wrong arguments or configuration; 3 some images could not be
scored; 4 below --threshold; 130 interrupted
"""


def engine_help() -> str:
    """The engines there are, and what the exit codes say."""
    return f"engines (--engine):\n{engine_lines()}\n\n{EXIT_CODES}"


class CommandLine(argparse.ArgumentParser):
    """Takes `rubric write` as one command: its options are those of other commands, and `rubric` has some of the same names."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        if words[:2] == ["rubric", "write"]:
            words[:2] = ["rubric write"]
        return super().parse_known_args(words, namespace)


def build_parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="rationalrewards",
        description="Judge generated images in words and scores, and improve them by refining their prompts.",
        epilog=engine_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens to the terminal")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=argparse.ArgumentParser)
    _demo(commands.add_parser("demo", help="generate, critique and refine held-out requests; write a report"))
    _critique(commands.add_parser("critique", help="judge one image: justifications, scores, refined prompt"))
    _score(commands.add_parser("score", help="score and rank images (fast: no refinement)"))
    _compare(commands.add_parser("compare", help="say which of two images is better"))
    _refine(commands.add_parser("refine", help="generate, critique and refine until the score is reached"))
    _serve(commands.add_parser("serve", help="answer critiques over HTTP (for trainers and other programs)"))
    _rubric(commands.add_parser("rubric", help="show, check or start a rubric of your own"))
    _rubric_write(commands.add_parser("rubric write", help="have a model write the rubric that a request calls for"))
    add_doctor_arguments(commands.add_parser("doctor", help="check an engine from end to end, and say what to do"))
    commands.add_parser(
        "train", help="train a judge of your own, or tune a generator (see: train --help)", add_help=False
    )
    add_servers_arguments(commands.add_parser("servers", help="add, list or remove model servers of your config file"))
    return parser


def _engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        "--backend",
        dest="backend",
        default="miniature",
        metavar="ENGINE",
        help=engine_names(),
    )
    group.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "bf16", "fp16", "fp32", "int8", "nf4"),
        help="of local engines; auto is bf16, or fp32 on a CPU without bf16 instructions",
    )
    group.add_argument("--adapter", metavar="FOLDER", help="LoRA adapter for a local engine")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    group.add_argument("--max-pixels", type=int, default=802_816, help="pixel cap per image for local and GGUF engines")
    group.add_argument(
        "--batch", type=int, metavar="N", help="images judged together (default: 8 by a local engine, 2 by a GGUF one)"
    )
    group.add_argument("--download", action="store_true", help="allow a hub id to be downloaded")
    group.add_argument("--config", type=Path, metavar="FILE", help="config file that names servers")
    group.add_argument(
        "--rubric",
        metavar="NAME_OR_FILE",
        help="generation, edit, a judge profile such as skyjm-gen, or a TOML file of your own",
    )
    group.add_argument("--max-tokens", type=int, default=2048, help="limit of one reply")
    group.add_argument("--unguided", action="store_true", help="do not guide decoding by the rubric's grammar")
    group.add_argument(
        "--memo",
        type=Path,
        metavar="FILE",
        help="keep every critique in this file: the same command goes on where it was stopped, and asks nothing twice",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = engine_help()


def _request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", "--prompt", required=True, help="what the image should show, or the edit asked for")
    parser.add_argument(
        "--source", type=Path, action="append", default=[], metavar="IMAGE", help="source image of an edit"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="also sample N critiques and show how far their scores are apart: how sure the judge is (try 5)",
    )


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the report (default: out/demo)")
    parser.add_argument("--prompts", type=int, default=32, help="held-out requests to run (default: 32)")
    parser.add_argument("--images", type=int, default=4, help="most images per request (default: 4)")
    parser.add_argument("--first", type=int, default=1, help="images drawn from the original request before refining")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--json", action="store_true", help="print summary.json instead of a table")


def _critique(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    _request(parser)
    _samples(parser)
    _engine(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="pictures, or folders of pictures")
    _request(parser)
    parser.add_argument("--threshold", type=float, help="exit with 4 if the best reward (0..1) is below this")
    _samples(parser)
    _engine(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="IMAGE_A")
    parser.add_argument("second", type=Path, metavar="IMAGE_B")
    _request(parser)
    parser.add_argument(
        "--method",
        choices=("pointwise", "pairwise"),
        help="two separate critiques (the default, but for judges that only compare), or comparison prompts in both orders "
        "(the miniature only knows pointwise)",
    )
    _engine(parser)


def _refine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", "--prompt", help="what the image should show (not needed with --resume)")
    parser.add_argument(
        "--negative-prompt",
        type=str.strip,
        metavar="TEXT",
        help="what the image should not show; what critiques say should not be there is added to it (begin with '' if "
        "you have none). The generator must take one: diffusers, or a command with {negative}",
    )
    parser.add_argument(
        "--source", type=Path, action="append", default=[], metavar="IMAGE", help="source image of an edit"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument(
        "--generator",
        default="miniature",
        help="miniature; diffusers:FOLDER_OR_ID; or command:'PROGRAM ... {prompt} {seed} {out}', with {negative} too if it "
        "takes a negative prompt",
    )
    parser.add_argument("--out", type=Path, default=Path("out/refine"), help="folder of the images, history and report")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out; with --prompt also begin it"
    )
    parser.add_argument("--seed", type=int, help="of the first image (default: 0)")
    _loop_rules(parser)
    _engine(parser)


def _loop_rules(parser: argparse.ArgumentParser) -> None:
    """No defaults here: what is not given comes from RefinePolicy, or from the run that goes on."""
    policy = RefinePolicy()
    rules = parser.add_argument_group("rules of the loop (with --resume: those of the run, unless given)")
    rules.add_argument("--threshold", type=float, help=f"reward (0..1) at which to stop (default: {policy.threshold})")
    rules.add_argument(
        "--minimum-score",
        "--minimum",
        type=float,
        help=f"score below which a dimension changes the prompt (default: {policy.minimum_score})",
    )
    rules.add_argument(
        "--max-iterations", "--images", type=int, help=f"most images in all (default: {policy.max_iterations})"
    )
    rules.add_argument(
        "--first", type=int, help=f"images of the original prompt before refining (default: {policy.first})"
    )
    rules.add_argument(
        "--patience", type=int, help=f"images without improvement before giving up (default: {policy.patience})"
    )
    rules.add_argument(
        "--minimum-gain",
        "--margin",
        type=float,
        help=f"reward by which an image must win (default: {policy.minimum_gain})",
    )
    rules.add_argument(
        "--seeds", choices=("fixed", "increment", "random"), help=f"seeds of later images (default: {policy.seeds})"
    )
    rules.add_argument(
        "--refine-from", choices=("best", "latest"), help=f"whose critique to follow (default: {policy.refine_from})"
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (default: this machine only)")
    parser.add_argument("--port", type=int, default=8288)
    parser.add_argument(
        "--token-env", metavar="NAME", help="environment variable that holds the bearer token to ask for"
    )
    parser.add_argument("--max-waiting", type=int, default=512, help="images queued before new ones get 429")
    _samples(parser)
    _engine(parser)


def _rubric_write(parser: argparse.ArgumentParser) -> None:
    _request(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="TOML file to write (default: print it)")
    _engine(parser)


def _rubric(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rubric", nargs="?", default="generation", help="generation, edit, a judge profile, or a TOML file"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--prompt", action="store_true", help="show the prompt the rubric makes")
    form.add_argument("--grammar", action="store_true", help="show the reply grammar the rubric makes")
    form.add_argument("--toml", action="store_true", help="print the rubric as TOML, to start your own from")
    form.add_argument("--json", action="store_true", help="machine-readable output")
