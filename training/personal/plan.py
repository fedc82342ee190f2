"""What will be done, how long it takes and how much memory it needs: shown before anything long starts."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from rationalrewards_core.errors import ConfigError

from ..pace import duration
from ..sft.examples import fitting_epochs
from .job import JudgeJob
from .picks import Picks
from .probe import Probe

QUESTIONS_A_PAIR: Final = 6
"""Questions to a teacher for each pair, retries included (measured with the synthetic one)."""
MEASUREMENTS: Final = 5
"""How often fine-tuning measures itself on the development picks."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the table."""

    name: str
    work: str
    seconds: float | None = None
    """At most; None where it depends on a server."""
    least: float | None = None
    """Seconds at least, where that is another number."""

    @property
    def time(self) -> str:
        """In words."""
        if self.seconds is None:
            return "depends on the server"
        return spell(self.seconds if self.least is None else self.least, self.seconds)


def spell(least: float, most: float) -> str:
    """Seconds from one number to another, in words."""
    shortest, longest = duration(least), duration(most)
    return longest if shortest == longest else f"{shortest} to {longest}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The table."""

    stages: tuple[Stage, ...]
    peak_gib: float
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """At most, of the stages whose time is known."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def least(self) -> float:
        """Seconds at least."""
        return sum(stage.seconds or 0.0 if stage.least is None else stage.least for stage in self.stages)

    def __str__(self) -> str:
        rows = [(stage.name, stage.work, stage.time) for stage in self.stages]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        table = [f"  {name:<{widths[0]}}  {work:<{widths[1]}}  {seconds}" for name, work, seconds in rows]
        more = " and the teacher's time" if any(s.seconds is None for s in self.stages) else ""
        total = f"  about {spell(self.least, self.seconds)} in all{more}; training needs about {self.peak_gib:.1f} GiB (measured)"
        return "\n".join([*table, total, *(f"  note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds, "least": self.least}


def plan(job: JudgeJob, picks: Picks, measured: Probe) -> Plan:
    """The plan for these picks, if every pair is kept: it never takes longer."""
    train, dev, test = (picks.splits[name] for name in ("train", "dev", "test"))
    examples = 2 * max(1, train)
    sft = job.sft(examples)
    per_pass = max(1, examples // sft.batch)
    steps = int(per_pass * (fitting_epochs(per_pass) if sft.epochs is None else sft.epochs))
    steps = min(steps, sft.max_steps) if sft.max_steps else steps
    step = measured.pass_seconds * sft.batch / sft.micro_batch
    images_to_judge = min(dev, sft.dev_pairs) * 2 * MEASUREMENTS
    stages = [
        Stage(name="picks", work=f"{picks.decided} pairs with a winner, {picks.ties} ties: {train} to train on, {dev} to "
              f"stop by, {test} to test", seconds=1.0),
        _explaining(job, picks, measured),
        Stage(name="training", work=f"{steps} steps of {sft.batch} critiques", seconds=steps * step + images_to_judge * measured.critique_seconds),
        Stage(name="test", work=f"{test} pairs by the judge before and after", seconds=4 * test * measured.critique_seconds),
    ]  # fmt: skip
    return Plan(stages=tuple(stages), peak_gib=measured.peak_gib, notes=tuple(_notes(job, picks, test)))


def _explaining(job: JudgeJob, picks: Picks, measured: Probe) -> Stage:
    if job.teacher:
        work = f"{job.teacher} explains every pick: about {QUESTIONS_A_PAIR * picks.pairs} questions"
        return Stage(name="explanations", work=work)
    pictures, own = 2 * picks.splits["train"], job.own
    few = min(own.at_once, own.samples)
    work = f"{pictures} pictures critiqued {few} to {own.samples} times by the judge itself, until it agrees with you"
    each = pictures * measured.critique_seconds
    return Stage(name="explanations", work=work, seconds=own.samples * each, least=few * each)


def _notes(job: JudgeJob, picks: Picks, test: int) -> list[str]:
    notes = [f"left out: {reason}" for reason in picks.left_out]
    if not job.teacher:
        notes.append(
            "without --teacher the scores learn your taste and the words do not: the judge repeats what it said by chance "
            "when it agreed with you; a teacher that sees well says why"
        )
    if test < 50:
        notes.append(f"{test} test pairs tell a gain only within {100 * 0.98 / max(1, test) ** 0.5:.0f} points")
    return notes


def agreed(text: str, *, yes: bool) -> bool:
    """Show the plan and ask once. ConfigError where nobody can answer."""
    print(text, flush=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("Nobody is here to say yes to this plan; add --yes to start it.")
    return input("Start? [y/N] ").strip().lower() in ("y", "yes")
