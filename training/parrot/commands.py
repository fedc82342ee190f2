"""What the command line does: settings from arguments, one job, a summary."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.file_lock import FileLock
from rationalrewards_core.rubric_file import rubric_to_toml
from rationalrewards_core.servers import ServerConfig, server
from rationalrewards_core.storage import clear_unfinished, storing

from ..data.budget import Budget
from ..data.importers.catalogue import image_roots, read_dataset
from ..data.importers.clicks import FOLDER
from ..data.importers.intake import Intake, write_pairs
from ..data.importers.labels import Labels
from ..data.importers.miniature import Crowd, miniature_pairs
from ..data.job import Shard, Tally, TaskT, run_job
from ..data.journal import Journal
from ..data.pairs import digest
from ..data.records import Record
from ..data.splits import fitting_shares
from ..data.store import ImageRoots
from ..rewards.teaching import Teacher
from .agreement import Agreement
from .calibration import Calibration
from .check import Checker, CheckSettings, check_tasks
from .export import Exporter, ExportSettings
from .own_critiques import OwnSettings, draw_own
from .project import Projector, direct_tasks, projection_tasks
from .prompts import TeacherTexts, load_texts
from .rationalize import Rationalizer, rationale_tasks
from .records import Rationale
from .run import ParrotRun, Rubrics, load_rubrics

DONE, OPEN = 0, 3
"""Exit codes: all is done; something is left for the next run."""


class StageCommand:
    """What every teacher stage needs: run, rubrics, texts, teacher, shard; and how it is run and reported."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.run = ParrotRun(arguments.run)
        self.rubrics: Rubrics = load_rubrics(arguments.rubric)
        self.texts: TeacherTexts = load_texts(arguments.prompts)
        self.shard = Shard.parse(arguments.shard)
        self.config: ServerConfig = server(arguments.teacher, arguments.config)
        budget = Budget(requests=arguments.max_requests, tokens=arguments.max_spend_tokens)
        self.teacher = Teacher(
            OpenAIChat(self.config), max_tokens=arguments.max_tokens, ask_again=arguments.ask_again, budget=budget
        )
        self._settings = {
            "model": self.config.model,
            "max_pixels": self.config.max_pixels,
            "rubrics": digest([rubric_to_toml(self.rubrics.generation), rubric_to_toml(self.rubrics.edit)]),
            "prompts": digest(asdict(self.texts)),
            "max_tokens": arguments.max_tokens,
            "ask_again": arguments.ask_again,
            "language": arguments.language,
        }

    def work(
        self,
        stage: str,
        tasks: Callable[[], Iterable[TaskT]],
        ask: Callable[[TaskT], Awaitable[Record]],
        settings: Mapping[str, Any],
    ) -> int:
        """Run the stage to its end or to its budget's; returns the exit code. `tasks` is read twice: first to count."""
        started = time.monotonic()
        with Journal(self.run.stage_file(stage, self.shard), current=self.run.is_current) as journal:
            self.run.settle(stage, {**self._settings, **settings}, journal.path)
            records = self.run.done(stage)
            keys = [task.key in records for task in tasks()]
            with tqdm(desc=stage, unit=" records", total=len(keys), initial=sum(keys)) as bar:
                tally = asyncio.run(self._job(tasks(), ask, journal, records, bar))
        spent = asdict(self.teacher.spent)
        self.run.note(
            {"stage": stage, "shard": f"{self.shard.index}/{self.shard.count}", **_line(tally), **spent}
            | {"seconds": round(time.monotonic() - started, 2)}
        )
        print(f"{stage}: {_sentence(tally)} {spent['requests']} requests, {_tokens(spent)} tokens.")
        return DONE if tally.finished else OPEN

    async def _job(
        self,
        tasks: Iterable[TaskT],
        ask: Callable[[TaskT], Awaitable[Record]],
        journal: Journal,
        record_keys: frozenset[str],
        bar: Any,
    ) -> Tally:
        # A quarter more workers than requests: while one prepares its images or saves its record, another asks.
        workers = self.config.concurrency + max(1, self.config.concurrency // 4)
        try:
            return await run_job(
                tasks, ask, journal, record_keys=record_keys, workers=workers, on_record=lambda _: bar.update()
            )
        finally:
            await self.teacher.close()


def rationalize(arguments: argparse.Namespace) -> int:
    stage = StageCommand(arguments)
    ask = Rationalizer(stage.run, stage.teacher, stage.rubrics, stage.texts, arguments.language)
    stage.run.check_winners()
    return stage.work(
        "rationales",
        lambda: rationale_tasks(stage.run.pairs(stage.shard, arguments.limit), arguments.orders),
        ask,
        {},
    )


def check(arguments: argparse.Namespace) -> int:
    stage = StageCommand(arguments)
    settings = CheckSettings(
        variant=arguments.variant,
        fewest_evidence_words=arguments.fewest_evidence_words if arguments.language == "en" else 0,
        ask_leaking=arguments.ask_leaking,
    )
    ask = Checker(stage.run, stage.teacher, stage.rubrics, stage.texts, settings)
    rationales = _rationales(stage)
    name = f"checks-{settings.variant}"
    code = stage.work(name, lambda: check_tasks(rationales()), ask, asdict(settings))
    _warn(
        Agreement((one.pair.preference, one.kept) for one in stage.run.checks(settings.variant)).warning(
            "checked rationales"
        )
    )
    return code


def project(arguments: argparse.Namespace) -> int:
    stage, arm, variant = StageCommand(arguments), arguments.arm, arguments.variant
    ask = Projector(stage.run, stage.teacher, stage.rubrics, stage.texts, arguments.language)
    name, variant_name = f"critiques-{arm}", variant if arm == "parrot" else ""
    if arm == "direct":
        stage.run.check_winners()
        return stage.work(
            name, lambda: direct_tasks(stage.run.pairs(stage.shard, arguments.limit)), ask, {"variant": variant_name}
        )
    rationales = _rationales(stage)
    if arm == "unfiltered":
        return stage.work(name, lambda: projection_tasks(rationales, None), ask, {"variant": variant_name})
    stage.run.needed_files(f"checks-{variant}", f"check --variant {variant}")
    return stage.work(
        name, lambda: projection_tasks(rationales, stage.run.checks(variant)), ask, {"variant": variant_name}
    )


def own(arguments: argparse.Namespace) -> int:
    run = ParrotRun(arguments.run)
    run.check_winners()
    settings = OwnSettings(
        samples=arguments.samples,
        temperature=arguments.temperature,
        margin=arguments.margin,
        tie_margin=arguments.tie_margin,
    )
    options = EngineOptions(precision=arguments.precision, device=arguments.device, batch_size=arguments.batch_size)
    scorer = make_scorer(arguments.judge, options, rubric=_one_rubric(arguments.rubric))
    tally = draw_own(run, scorer, settings)
    print(f"own critiques: {_sentence(tally)}")
    return DONE if tally.finished else OPEN


def _one_rubric(files: list[Path]) -> Path | None:
    if len(files) > 1:
        raise ConfigError("Give --rubric once here; the judge's own rubrics are used for the other kind of request.")
    return files[0] if files else None


def _rationales(stage: StageCommand) -> Callable[[], Iterable[Rationale]]:
    """The rationales of this shard, as often as they are asked for."""
    stage.run.needed_files("rationales", "rationalize")
    return lambda: (r for r in stage.run.rationales() if stage.shard.holds(r.pair.key))


def export(arguments: argparse.Namespace) -> int:
    run = ParrotRun(arguments.run)
    settings = ExportSettings(
        arm=arguments.arm,
        form=arguments.format,
        pairwise=arguments.pairwise,
        variant=arguments.variant,
        shares=fitting_shares(sum(1 for _ in run.pairs()), arguments.dev, arguments.test),
        calibration=Calibration(margin=arguments.margin, tie_margin=arguments.tie_margin),
    )
    exporter = Exporter(run, load_rubrics(arguments.rubric), settings, arguments.out)
    counts = exporter.write()
    print(f"{arguments.out}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + ".")
    if settings.form == "trl":
        print("TRL cuts examples at 1,024 tokens and the answers with them, unless you say SFTConfig(max_length=None).")
    _warn(exporter.agreement.warning("pairs"))
    return DONE


def _warn(sentence: str) -> None:
    if sentence:
        print(sentence, file=sys.stderr)


def import_pairs(arguments: argparse.Namespace) -> int:
    run = ParrotRun(arguments.run)
    labels = Labels(arguments.labels)
    if labels is not Labels.WORDS and arguments.dataset != FOLDER.name:
        raise ConfigError(f"--labels is for the data set `{FOLDER.name}`; what {arguments.dataset} writes is known.")
    intake = Intake(run.store, ImageRoots(image_roots(arguments.source, arguments.images)), arguments.keep, labels)
    name = arguments.name or arguments.dataset
    if arguments.dataset == "miniature":
        crowd = Crowd(wrong=arguments.wrong)
        pairs = miniature_pairs(
            intake, arguments.count, arguments.seed, crowd, reserved=arguments.reserved, edits=arguments.edits
        )
    else:
        pairs = read_dataset(arguments.dataset, arguments.source, intake, arguments.split)
    path = run.folder / "pairs" / f"{name}.jsonl"
    busy = f"Another process is importing to {run.folder}; wait until it has ended."
    with storing(run.folder):
        lock = FileLock(run.folder / "import.lock", wait=False, busy=busy)
    with closing(lock):
        clear_unfinished(run.folder / "images")
        clear_unfinished(path.parent, path.name)
        counts = write_pairs(path, pairs, intake, arguments.limit)
    run.note({"stage": "import", "dataset": arguments.dataset, "pairs": counts.pairs, "skipped": dict(intake.skipped)})
    left = ", ".join(intake.left_out()) or "none"
    print(f"{path}: {counts.pairs} pairs ({counts.ties} ties); left out: {left}.")
    return DONE


def report(arguments: argparse.Namespace) -> int:
    from .report import write_parrot_report

    out = arguments.out or arguments.run / "report.html"
    write_parrot_report(
        ParrotRun(arguments.run), load_rubrics(arguments.rubric), out, arguments.samples, arguments.teacher_log
    )
    print(out)
    return DONE


def _line(tally: Tally) -> dict[str, Any]:
    return {
        "found": tally.earlier,
        "kept": tally.kept,
        "dropped": dict(tally.dropped),
        "failed": dict(tally.failed),
        "stopped": tally.stopped,
    }


def _sentence(tally: Tally) -> str:
    parts = [f"{tally.kept} kept", f"{tally.dropped.total()} dropped{_reasons(tally.dropped)}"]
    if tally.earlier:
        parts.append(f"{tally.earlier} were there already")
    if tally.failed:
        parts.append(f"{tally.failed.total()} without an answer{_reasons(tally.failed)}, run again to ask them")
    stopped = f" Stopped: {tally.stopped}" if tally.stopped else ""
    return "; ".join(parts) + "." + stopped


def _reasons(counter: Counter[str]) -> str:
    return " (" + ", ".join(f"{reason} {count}" for reason, count in counter.most_common()) + ")" if counter else ""


def _tokens(spent: dict[str, int]) -> int:
    return spent["prompt_tokens"] + spent["completion_tokens"]
