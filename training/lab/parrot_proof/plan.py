"""Which steps there are, and what each waits for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .base import train_base
from .data import make_test
from .lessons import ARMS, make_lessons
from .measure import judge, judge_expected
from .options import ParrotProofOptions
from .steps import Step
from .students import chosen_head_lr, chosen_lr, train_head, train_student


def student_names(options: ParrotProofOptions) -> list[tuple[str, int]]:
    """(arm, size) of every student: all arms at the largest size, the filtered one at all sizes."""
    largest = max(options.sizes)
    return [(arm, largest) for arm in ARMS] + [("filtered", size) for size in options.sizes if size != largest]


def plan(options: ParrotProofOptions, out: Path) -> list[Step]:
    """Learning rates are tried first, at the middle size; the runs that win there are not run again."""
    size = options.tuned_at
    tuning = [
        Step(
            name=f"try-student-{lr:g}",
            run=partial(train_student, options, out, "filtered", size, lr),
            after=("base", "lessons"),
        )
        for lr in options.lrs
    ]
    head_tuning = [
        Step(name=f"try-head-{lr:g}", run=partial(train_head, options, out, size, lr), after=("base", "lessons"))
        for lr in options.head_lrs
    ]
    tried, head_tried = tuple(s.name for s in tuning), tuple(s.name for s in head_tuning)
    steps = [
        Step(name="base", run=partial(train_base, options.base, out / "base")),
        Step(name="lessons", run=partial(make_lessons, options.lessons, out)),
        Step(name="test", run=partial(make_test, options.test_pairs, options.test_seed, out / "test")),
        *tuning,
        *head_tuning,
    ]
    for arm, pairs in student_names(options):
        after = tried
        if (arm, pairs) != ("filtered", size):
            steps.append(Step(name=f"{arm}-{pairs}", run=partial(_student, options, out, arm, pairs), after=tried))
            after = (f"{arm}-{pairs}",)
        name = f"{arm}-{pairs}"
        steps.append(Step(name=f"judge-{name}", run=partial(judge, options, out, name), after=(*after, "test")))
    for pairs in reversed(options.sizes):
        after = head_tried
        if pairs != size:
            steps.append(Step(name=f"scalar-{pairs}", run=partial(_head, options, out, pairs), after=head_tried))
            after = (f"scalar-{pairs}",)
        name = f"scalar-{pairs}"
        steps.append(Step(name=f"judge-{name}", run=partial(judge, options, out, name), after=(*after, "test")))
    for name, needs in (("base", ("base", "test")), ("scorer", ("test",))):
        steps.append(Step(name=f"judge-{name}", run=partial(judge, options, out, name), after=needs))
    writers = ["scorer", "base", *(f"{arm}-{pairs}" for arm, pairs in student_names(options))]
    steps += [
        Step(name=f"expect-{name}", run=partial(judge_expected, options, out, name), after=(f"judge-{name}",))
        for name in writers
    ]
    return steps


def _student(options: ParrotProofOptions, out: Path, arm: str, size: int) -> None:
    train_student(options, out, arm, size, chosen_lr(options, out))


def _head(options: ParrotProofOptions, out: Path, size: int) -> None:
    train_head(options, out, size, chosen_head_lr(options, out))
