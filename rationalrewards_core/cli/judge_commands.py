"""The commands that judge given images: critique, score, compare."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from ..backends.base import Sampling
from ..critique import Critique, Judgement, Unscored
from ..engines import EngineOptions, make_scorer
from ..errors import ConfigError, RequestError
from ..images import MAX_PIXELS, PICTURE_SUFFIXES, open_image
from ..judged import Case, Outcome, reward_of
from ..memo import Memo
from ..messages import UserRequest
from ..rubric import NOT_APPLICABLE, Rubric
from ..rubric_file import load_rubric
from ..scorer import Scorer
from ..scorer_settings import ScorerSettings

T = TypeVar("T")
DONE, FAILED, UNSCORED, BELOW = 0, 1, 3, 4
MEMO_LIMIT = 100_000
"""Critiques of a --memo file that are at hand; the latest ones."""


def scorer_of(arguments: argparse.Namespace) -> Scorer:
    """The scorer the engine options describe."""
    options = EngineOptions(
        precision=arguments.precision,
        adapter=arguments.adapter,
        device=arguments.device,
        max_pixels=arguments.max_pixels,
        batch_size=arguments.batch,
        download=arguments.download,
        config_file=arguments.config,
    )
    Sampling(max_tokens=arguments.max_tokens)  # so that a wrong limit is told now, not at the first reply
    settings = ScorerSettings(
        max_tokens=arguments.max_tokens,
        guided=not arguments.unguided,
        samples=getattr(arguments, "samples", 0),  # where a spread is shown
    )
    memo = None if arguments.memo is None else Memo(MEMO_LIMIT, arguments.memo)
    return make_scorer(arguments.backend, options, rubric=arguments.rubric, settings=settings, memo=memo)


def request_of(arguments: argparse.Namespace) -> UserRequest:
    return UserRequest(arguments.prompt, tuple(open_image(path, MAX_PIXELS) for path in arguments.source))


def check_rubric(arguments: argparse.Namespace, request: UserRequest) -> None:
    """ConfigError if the rubric asked for judges the other kind of request: it would silently not be used."""
    if arguments.rubric is None:
        return
    kind = load_rubric(arguments.rubric).kind
    if kind == "edit" and not request.sources:
        raise ConfigError(f"The rubric {arguments.rubric} judges edits; give the edited image's --source.")
    if kind == "generation" and request.sources:
        raise ConfigError(f"The rubric {arguments.rubric} judges generated images, and --source makes this an edit.")


def judge_of(arguments: argparse.Namespace) -> tuple[Scorer, UserRequest]:
    request = request_of(arguments)
    check_rubric(arguments, request)
    return scorer_of(arguments), request


def show_json(value: Any, indent: int | None = 2) -> None:
    """Print JSON; characters are escaped where the output could not hold them."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, ensure_ascii=plain, indent=indent))


def run(scorer: Scorer, work: Coroutine[Any, Any, T]) -> T:
    """Run to the end and give back the engine's memory or connections."""

    async def work_and_close() -> T:
        try:
            return await work
        finally:
            _show_server(scorer)
            await scorer.close()

    return asyncio.run(work_and_close())


def _show_server(scorer: Scorer) -> None:
    """One line about the server that judged, if it was found out what that honours."""
    from ..backends.managed_chat import ManagedChat
    from ..backends.openai_chat import OpenAIChat

    backend = scorer.backend
    if isinstance(backend, (OpenAIChat, ManagedChat)) and backend.profile is not None and backend.profile.probed:
        print(f"server {backend.config.name!r}: {backend.profile.line()}", file=sys.stderr)


def critique_command(arguments: argparse.Namespace) -> int:
    scorer, request = judge_of(arguments)
    case = Case(request, open_image(arguments.image, MAX_PIXELS))
    outcome = run(scorer, scorer.score_many([case])).outcomes[0]
    if arguments.json:
        show_json(outcome_json(scorer, request, outcome))
    else:
        print(outcome_text(scorer, request, outcome))
    return DONE if isinstance(outcome, Critique) else UNSCORED


def score_command(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    if arguments.threshold is not None and not 0.0 <= arguments.threshold <= 1.0:
        raise ConfigError(f"--threshold is a reward between 0 and 1, not {arguments.threshold:g}.")
    arguments.images = pictures_in(arguments.images)
    scorer, request = judge_of(arguments)
    opened = _opened(arguments.images)
    cases = [Case(request, picture) for picture in opened if not isinstance(picture, Unscored)]
    with tqdm(total=len(cases), unit="image", disable=arguments.json or len(cases) < 2, file=sys.stderr) as bar:
        remaining = iter(run(scorer, scorer.score_many(cases, "score", lambda *_: bar.update())).outcomes)
    outcomes = [picture if isinstance(picture, Unscored) else next(remaining) for picture in opened]
    rewards = [reward_of(outcome, scorer.rubric_for(request)) for outcome in outcomes]
    order = sorted(range(len(outcomes)), key=lambda i: -1.0 if rewards[i] is None else rewards[i] or 0.0, reverse=True)
    if arguments.json:
        for index in order:
            row = {"image": str(arguments.images[index]), **outcome_json(scorer, request, outcomes[index])}
            show_json(row, indent=None)
    else:
        print(_table(scorer.rubric_for(request), [(arguments.images[i], outcomes[i], rewards[i]) for i in order]))
    best = max((value for value in rewards if value is not None), default=None)
    if arguments.threshold is not None and (best is None or best < arguments.threshold):
        return BELOW
    return UNSCORED if None in rewards else DONE


def pictures_in(paths: Sequence[Path]) -> list[Path]:
    """The files, and in a folder's place the pictures in it, by name. ConfigError for a folder without any."""
    pictures: list[Path] = []
    for path in paths:
        if not path.is_dir():
            pictures.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
        if not inside:
            raise ConfigError(f"The folder {path} has no pictures ({', '.join(PICTURE_SUFFIXES)}).")
        pictures += inside
    return pictures


def _opened(paths: Sequence[Path]) -> list[Image.Image | Unscored]:
    """Each file's picture, or why it has none: one bad file does not cost the others. RequestError if none is good."""
    opened: list[Image.Image | Unscored] = []
    for path in paths:
        try:
            opened.append(open_image(path, MAX_PIXELS))
        except RequestError as error:
            opened.append(Unscored(reason=error.reason, message=str(error)))
    first = opened[0]
    if isinstance(first, Unscored) and all(isinstance(picture, Unscored) for picture in opened):
        raise RequestError(first.message)
    return opened


def compare_command(arguments: argparse.Namespace) -> int:
    scorer, request = judge_of(arguments)
    first, second = (open_image(path, MAX_PIXELS) for path in (arguments.first, arguments.second))
    comparison = run(scorer, scorer.compare(request, first, second, arguments.method))
    if arguments.json:
        show_json(comparison.to_json())
        return DONE
    rubric, scale = scorer.rubric_for(request), scorer.rubric_for(request).scale
    for dimension, judgement in zip(rubric.dimensions, comparison.judgements, strict=True):
        print(f"{dimension.title}: A {scale.format(judgement.score_a)}, B {scale.format(judgement.score_b)}")
        print(_indented(judgement.justification))
    names = {"A": f"A is better ({arguments.first})", "B": f"B is better ({arguments.second})", "TIE": "a tie"}
    orders = {True: " (both orders agree)", False: " (the two orders disagree)", None: ""}[comparison.orders_agree]
    print(f"Verdict: {names[comparison.verdict.value]}{orders}")
    return DONE


def outcome_json(scorer: Scorer, request: UserRequest, outcome: Outcome) -> dict[str, Any]:
    """A critique with its reward and scores, or the reason there is none."""
    if isinstance(outcome, Unscored):
        return {"reward": None, **outcome.to_json()}
    return {"reward": round(scorer.reward(outcome, request), 4), "scores": outcome.scores, **outcome.to_json()}


def outcome_text(scorer: Scorer, request: UserRequest, outcome: Outcome) -> str:
    """A critique as a person reads it."""
    if isinstance(outcome, Unscored):
        return f"Unscored ({outcome.reason}): {outcome.message}"
    rubric = scorer.rubric_for(request)
    lines = [f"Reward {scorer.reward(outcome, request):.2f}", ""]
    for dimension in rubric.dimensions:
        judgement = outcome.judgement(dimension.key)
        lines += [
            f"{dimension.title}: {rubric.scale.format(judgement.score)}{_spread_text(judgement, scorer.settings.samples)}",
            _indented(judgement.justification),
        ]
    if outcome.summary:
        lines += ["", f"Summary: {outcome.summary}"]
    if outcome.refinement is not None:
        lines += [f"What to change: {outcome.refinement.comments}", f"Refined prompt: {outcome.refinement.request}"]
    return "\n".join(lines)


def _spread_text(judgement: Judgement, samples: int) -> str:
    """How far sampled critiques are apart; nothing if none were asked for, or the dimension does not apply."""
    if not samples or judgement.score is None:
        return ""
    if judgement.spread is None:
        return f" (no spread: {judgement.samples} of {samples} sampled critiques gave a score)"
    return f" (± {judgement.spread:.1f} over {judgement.samples} of {samples} sampled critiques)"


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def _table(rubric: Rubric, rows: list[tuple[Path, Outcome, float | None]]) -> str:
    heads = ["reward", *(d.title for d in rubric.dimensions), "image"]
    lines = []
    for path, outcome, reward in rows:
        if isinstance(outcome, Critique):
            lines.append([f"{reward:.3f}", *map(_score_cell, outcome.judgements), str(path)])
        else:
            lines.append(
                ["-", *["-"] * len(rubric.dimensions), f"{path}  unscored ({outcome.reason}): {outcome.message}"]
            )
    widths = [max(len(row[i]) for row in [heads, *lines]) for i in range(len(heads) - 1)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in [heads, *lines]
    )


def _score_cell(judgement: Judgement) -> str:
    if judgement.score is None:
        return NOT_APPLICABLE
    sampled = judgement.samples and judgement.spread is not None
    return f"{judgement.score:g} ± {judgement.spread:.1f}" if sampled else f"{judgement.score:g}"
