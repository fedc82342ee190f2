"""`python -m training.evaluate generation`: judge a folder of images by a benchmark's protocol and write its tables."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from rationalrewards_core.engines import EngineName, EngineOptions, make_backend, make_rubrics
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.scorer_settings import ScorerSettings

from ...data.job import Tally
from ...data.store import ImageStore
from ..running import JudgeSettings
from .answers import AnswerFolder, BenchmarkAnswer
from .figures import Standing, standing, tables_of
from .gedit import GEDIT
from .imgedit import IMGEDIT
from .output_questions import Asker, ask
from .outputs import Expected, Output, Setup, Suite
from .pica import PICA
from .tables import About, write_tables
from .unigenbench import UNIGENBENCH
from .wording import WordingChoice

SUITES: Final = {suite.name: suite for suite in (IMGEDIT, GEDIT, UNIGENBENCH, PICA)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is judged; the judge's own options are those of every other command."""
    parser.add_argument("suite", choices=list(SUITES), metavar="BENCHMARK", help=", ".join(SUITES))
    parser.add_argument("--benchmark", type=Path, required=True, help="your copy of the benchmark's data")
    parser.add_argument("--outputs", type=Path, required=True, help="the generator's images, named as it says")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run: answers and tables; goes on there")
    parser.add_argument("--checkout", type=Path, help="the benchmark's repository, for its own prompts")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folder or tar of source images")
    parser.add_argument("--prompts", choices=get_args(WordingChoice), default="auto", help="in whose words")
    parser.add_argument("--part", action="append", default=[], help="language or prompt set; may be given again")
    parser.add_argument("--per-prompt", type=int, default=4, help="images of each prompt (unigenbench)")
    parser.add_argument("--ask", choices=["protocol", "rubric"], default="protocol", help="rubric: our own scorer")
    parser.add_argument("--limit", type=int, help="only the first so many images")


def run(arguments: argparse.Namespace, settings: JudgeSettings) -> tuple[str, bool]:
    """Ask, count, write. Returns what to show, and whether every question has its answer."""
    suite = SUITES[arguments.suite]
    expected = load(suite, _setup(arguments), arguments.limit)
    rubric = arguments.ask == "rubric"
    if rubric and suite.edits:
        _check_sources(expected.outputs)
    asker = _asker(settings, arguments.ask, ImageStore(arguments.out))
    folder = AnswerFolder(arguments.out, _kept(arguments, settings, expected))
    answers, tally = ask(asker, expected.outputs, folder, f"{suite.name} {settings.name}")
    table = standing(suite, expected.outputs, list(answers.values()), rubric=rubric)
    about = _about(arguments, settings, expected, list(answers.values()), tally)
    tables = tables_of(expected.outputs, table, len(about.columns))
    text = write_tables(arguments.out, about, table, tables)
    ending = _ending(list(answers.values()), tally, table, arguments.out)
    return f"{text}\n{ending}", tally.finished


def _about(
    arguments: argparse.Namespace,
    settings: JudgeSettings,
    expected: Expected,
    answers: Sequence[BenchmarkAnswer],
    tally: Tally,
) -> About:
    return About(
        suite=SUITES[arguments.suite],
        judge=settings.name,
        models=tuple(sorted({" ".join(answer.model.split()) for answer in answers if answer.model})),
        sampling=f"temperature {settings.temperature:g}, at most {settings.max_tokens} tokens",
        asked=arguments.ask,
        wording=expected.wording.described,
        outputs=arguments.outputs.resolve().name,
        expected=len(expected.outputs),
        left_out=expected.left_out,
        limit=arguments.limit,
        stopped=tally.stopped,
    )


def load(suite: Suite, setup: Setup, limit: int | None) -> Expected:
    """The outputs to judge. ConfigError if there is not one image, or if two have one key."""
    for folder in (setup.benchmark, setup.outputs):
        if not folder.exists():
            raise ConfigError(f"There is no folder {str(folder)!r}.")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1, not {limit}.")
    suite.chosen(setup.parts)
    expected = suite.load(setup)
    outputs = expected.outputs[:limit]
    _check(suite, outputs, setup.outputs)
    return Expected(outputs=outputs, wording=expected.wording, left_out=expected.left_out)


def _check(suite: Suite, outputs: Sequence[Output], folder: Path) -> None:
    twice = [key for key, count in Counter(output.key for output in outputs).items() if count > 1]
    if twice:
        raise ConfigError(f"The benchmark has two entries with the key {twice[0]!r}; its table is damaged.")
    if all(output.path is None for output in outputs):
        example = outputs[0].key if outputs else "none"
        raise ConfigError(
            f"{folder} holds not one image of {suite.title} (the first should be that of {example!r}); see its naming "
            "in the documentation."
        )


def _check_sources(outputs: Sequence[Output]) -> None:
    """Our scorer judges an edit against its source, also where the benchmark's protocol does without."""
    bare = [output.key for output in outputs if output.path is not None and not output.sources]
    if bare:
        raise ConfigError(f"The source image of {bare[0]!r} is not here; give its folder with --images.")


def _setup(arguments: argparse.Namespace) -> Setup:
    if arguments.per_prompt < 1:
        raise ConfigError(f"--per-prompt must be at least 1, not {arguments.per_prompt}.")
    return Setup(
        benchmark=arguments.benchmark,
        outputs=arguments.outputs,
        out=arguments.out,
        checkout=arguments.checkout,
        images=tuple(arguments.images),
        prompts=arguments.prompts,
        parts=tuple(arguments.part),
        per_prompt=arguments.per_prompt,
    )


def _asker(settings: JudgeSettings, ask: str, store: ImageStore) -> Asker:
    if settings.judge.startswith(("scalar:", "head:")):
        raise ConfigError("A generation benchmark needs a judge that answers in words; scalars have none.")
    name = EngineName.parse(settings.judge)
    options = EngineOptions(
        precision=settings.precision,
        adapter=settings.adapter,
        device=settings.device,
        batch_size=settings.batch_size,
    )
    sampled = ScorerSettings(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        ask_again=settings.ask_again,
        guided=settings.guided,
    )
    rubrics = make_rubrics(name, settings.rubric, settings.adapter) if ask == "rubric" else None
    return Asker(backend=make_backend(name, options), settings=sampled, store=store, rubrics=rubrics)


def _kept(arguments: argparse.Namespace, settings: JudgeSettings, expected: Expected) -> dict[str, Any]:
    """What may not change within one folder of answers."""
    return {
        "benchmark": arguments.suite,
        "ask": arguments.ask,
        "prompts": expected.wording.described,
        "judge": settings.name,
        "rubric": settings.rubric,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "ask_again": settings.ask_again,
        "guided": settings.guided,
    }


def _ending(answers: Sequence[BenchmarkAnswer], tally: Tally, outcomes: Standing, out: Path) -> str:
    """What it took, in one line."""
    tokens = sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)
    requests = sum(answer.requests for answer in answers)
    failed = ", ".join(f"{reason} {count}" for reason, count in tally.failed.most_common())
    still_open = "" if tally.finished else f"; questions are still open ({failed or tally.stopped}): run it again"
    return (
        f"{len(answers)} answers ({tally.earlier} were here before) for {len(outcomes.values)} scored images, "
        f"{requests} requests, {tokens} tokens; tables: {out}/table.md, .json, .csv{still_open}"
    )
