"""The stages of a personal judge. Each goes on where it stopped, so the whole command may be killed anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.storage import replace_file

from ..data.job import Tally
from ..data.splits import assign_splits
from ..parrot import commands
from ..parrot.calibration import Calibration
from ..parrot.export import Exporter, ExportSettings
from ..parrot.options import build_parser as parrot_parser
from ..parrot.own_critiques import draw_own
from ..parrot.project import Arm
from ..parrot.run import ParrotRun, Rubrics
from ..run_settings import settle
from ..sft.examples import planned_steps
from ..sft.trainer import SftTrainer
from .gain import Gain, example_critiques, measured_gain
from .job import JudgeJob, check_base, rubrics_of
from .page import write_page
from .picks import Picks, read_picks
from .placing import FOLDER, place
from .plan import Plan, plan
from .probe import saved_probe


@dataclass(frozen=True, kw_only=True)
class PersonalJudge:
    """What the command made."""

    adapter: Path
    page: Path
    gain: Gain
    placed: Path | None
    """Where ComfyUI finds it; None if no ComfyUI was named."""

    def to_json(self) -> dict[str, Any]:
        return {
            "adapter": str(self.adapter), "page": str(self.page), **asdict(self.gain),
            "placed": None if self.placed is None else str(self.placed),
        }  # fmt: skip


def prepare(job: JudgeJob) -> tuple[Picks, Plan]:
    """Read the picks and measure this machine. ConfigError for everything that cannot work."""
    check_base(job)
    job.sft(0)  # settings that cannot work are said before anything is read
    job.run.mkdir(parents=True, exist_ok=True)
    settle(
        job.run / "judge.json", job.to_json(), begun=(job.run / "probe.json").exists(),
        holds=f"{job.run} holds a judge made with other settings", advice="use another --run",
    )  # fmt: skip
    run = ParrotRun(job.run / "parrot")
    picks = read_picks(job.picks.expanduser(), run, job.labels)
    return picks, plan(job, picks, saved_probe(job, run))


def make_judge(
    job: JudgeJob, picks: Picks, comfyui: Path | None, name: str, say: Callable[[str], None] = print
) -> PersonalJudge:
    """Every stage to its end. Raises ConfigError, or BackendError if a teacher has stopped answering."""
    run = ParrotRun(job.run / "parrot")
    scorer = job.scorer()
    rubrics = rubrics_of(scorer)
    say("[1/5] explanations")
    if job.teacher:
        _taught(job, run, rubrics)
    else:
        parts = assign_splits(run.pairs(), picks.shares)
        _finished(draw_own(run, scorer, job.own, accepts=lambda pair: parts[pair.key] == "train"))
    say("[2/5] examples")
    examples = _exported(job, run, rubrics, picks)
    say(f"[3/5] training on {examples} critiques")
    adapter = _trained(job, examples)
    say("[4/5] test on held-out picks")
    gain = measured_gain(job)
    say(f"[5/5] page: {gain.sentence}")
    page = write_page(job, run, rubrics, gain, example_critiques(job))
    placed = None if comfyui is None else place(adapter, comfyui / FOLDER / name)
    judge = PersonalJudge(adapter=adapter, page=page, gain=gain, placed=placed)
    replace_file(job.run / "made.json", [json.dumps(judge.to_json(), indent=2).encode()])
    return judge


def _taught(job: JudgeJob, run: ParrotRun, rubrics: Rubrics) -> None:
    """Stages 1 to 3 of PARROT with the teacher."""
    words = ["--run", str(run.folder), "--teacher", job.teacher, *_rubric_words(job, rubrics)]
    if job.servers is not None:
        words += ["--config", str(job.servers)]
    for stage in (commands.rationalize, commands.check, commands.project):
        arguments = parrot_parser().parse_args([stage.__name__, *words])
        if stage(arguments) != commands.DONE:
            raise BackendError(
                f"The teacher left some questions of `{stage.__name__}` open; start the same command again to ask them.",
                reason="still_open",
            )


def _rubric_words(job: JudgeJob, rubrics: Rubrics) -> list[str]:
    """The rubrics as files: the teacher writes in the student's own."""
    from rationalrewards_core.rubric_file import rubric_to_toml

    words = []
    for rubric in (rubrics.generation, rubrics.edit):
        file = job.run / f"rubric_{rubric.kind}.toml"
        replace_file(file, [rubric_to_toml(rubric).encode()])
        words += ["--rubric", str(file)]
    return words


def _finished(tally: Tally) -> None:
    if not tally.finished:
        why = tally.stopped or ", ".join(f"{reason} {count}" for reason, count in tally.failed.most_common())
        raise BackendError(
            f"Some pictures are not critiqued yet ({why}); start the same command again.", reason="still_open"
        )


def _exported(job: JudgeJob, run: ParrotRun, rubrics: Rubrics, picks: Picks) -> int:
    """Training examples. ConfigError if hardly anything was kept."""
    arm: Arm = "parrot" if job.teacher else "own"
    settings = ExportSettings(arm=arm, shares=picks.shares, calibration=Calibration())
    exporter = Exporter(run, rubrics, settings, job.export)
    examples = exporter.write()["train critiques"]
    if examples < 8:
        who = f"the teacher {job.teacher}" if job.teacher else "the judge itself"
        raise ConfigError(
            f"Of {picks.splits['train']} training pairs only {examples // 2} could be explained: {who} does not see what you "
            "see; give another --teacher, or draw more --samples."
        )
    return examples


def _trained(job: JudgeJob, examples: int) -> Path:
    config = job.sft(examples)
    planned_steps(config, examples)
    return SftTrainer(config, job.run / "sft").train()
