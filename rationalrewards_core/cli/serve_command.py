"""The commands around the judge: serve and rubric."""

from __future__ import annotations

import argparse
import os

from PIL import Image

from ..errors import ConfigError
from ..grammar import critique_grammar
from ..messages import UserRequest, critique_messages, pairwise_messages
from ..rubric import Rubric
from ..rubric_file import BUILT_IN, load_rubric, rubric_to_toml, shipped_profiles
from ..rubric_writing import write_rubric
from ..storage import replace_file
from .judge_commands import DONE, judge_of, run, scorer_of, show_json


def serve_command(arguments: argparse.Namespace) -> int:
    from ..serving.server import ServeConfig, serve

    token = None
    if arguments.token_env:
        token = os.environ.get(arguments.token_env, "").strip()
        if not token:
            raise ConfigError(f"The environment variable {arguments.token_env} is not set; it should hold the token.")
    config = ServeConfig(host=arguments.host, port=arguments.port, token=token, max_waiting=arguments.max_waiting)

    def ready(address: str) -> None:
        print(f"Serving {arguments.backend} on {address} (POST /v1/critique); stop with Ctrl-C.", flush=True)

    serve(scorer_of(arguments), config, ready)
    return DONE


def rubric_command(arguments: argparse.Namespace) -> int:
    rubric = load_rubric(arguments.rubric)
    if arguments.toml:
        print(rubric_to_toml(rubric), end="")
    elif arguments.grammar:
        if rubric.profile is not None:
            raise ConfigError(
                f"{rubric.name} is a judge profile: its judge answers in its own form, without a grammar."
            )
        print(critique_grammar(rubric))
    elif arguments.prompt:
        print(_prompt(rubric))
    elif arguments.json:
        show_json(_table(rubric))
    else:
        print(_text(rubric))
    return DONE


def _prompt(rubric: Rubric) -> str:
    """The prompt as text, with <image> where the images go."""
    blank = Image.new("RGB", (1, 1))
    request = UserRequest("(the user's request)", (blank,) if rubric.kind == "edit" else ())
    blocks = []
    if rubric.profile is not None and rubric.profile.pairwise:
        messages = pairwise_messages(request, blank, blank, rubric)
    else:
        messages = critique_messages(request, blank, rubric)
    for message in messages:
        text = "".join(part if isinstance(part, str) else "<image>" for part in message.parts)
        blocks.append(f"[{message.role}]\n{text}")
    return "\n\n".join(blocks)


def _table(rubric: Rubric) -> dict[str, object]:
    return {
        "name": rubric.name,
        "kind": rubric.kind,
        "scale": [rubric.scale.minimum, rubric.scale.maximum],
        "dimensions": [
            {"key": d.key, "title": d.title, "optional": d.optional, "weight": d.weight} for d in rubric.dimensions
        ],
    }


def _text(rubric: Rubric) -> str:
    lines = [f"{rubric.name}: judges {'an edit' if rubric.kind == 'edit' else 'a generated image'}, "
             f"scores {rubric.scale.minimum:g} to {rubric.scale.maximum:g}"]  # fmt: skip
    if rubric.profile is not None:
        lines += ["", f"{rubric.profile.about}", f"Asked {rubric.profile.method}."]
    for dimension in rubric.dimensions:
        extra = ", may be N/A" if dimension.optional else ""
        lines += [
            "",
            f"{dimension.title} ({dimension.key}, weight {dimension.weight:g}{extra})",
            f"  {dimension.question}",
        ]
        lines += [f"  {level:g}  {meaning}" for level, meaning in dimension.anchors]
    lines += ["", f"Also here: {', '.join(name for name in (*BUILT_IN, *shipped_profiles()) if name != rubric.name)}"]
    lines += ["", "Start your own from it: rationalrewards rubric NAME --toml > my_rubric.toml"]
    return "\n".join(lines)


def rubric_write_command(arguments: argparse.Namespace) -> int:
    scorer, request = judge_of(arguments)
    base = scorer.rubric_for(request) if arguments.rubric is not None else None
    rubric = run(scorer, write_rubric(scorer, request, base))
    if arguments.out is not None:
        replace_file(arguments.out, [rubric_to_toml(rubric).encode()])
    if arguments.json:
        show_json(_table(rubric))
    elif arguments.out is not None:
        print(_text(rubric).partition("\n\nAlso here")[0])
        print(f"\nWritten to {arguments.out}; edit it as you like, and judge by it: --rubric {arguments.out}")
    else:
        print(rubric_to_toml(rubric), end="")
    return DONE
