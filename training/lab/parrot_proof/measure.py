"""All judges on the same held-out pairs, by the evaluation's own code; their figures and differences."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from ...data.labelled_pairs import PairFolder
from ...evaluate.running import JudgeSettings, judge_pairs
from ...rewards.figures import Share, accuracy, coverage, difference, failures
from ...rewards.opinions import Opinion, opinion_from_json
from ...rewards.ties import PROTOCOLS, TieProtocol
from .efficiency import efficiency
from .options import ParrotProofOptions
from .students import chosen_head_lr, chosen_lr, head_run, student_run


@dataclass(frozen=True, kw_only=True)
class VerdictReading:
    """One way to turn a judge's words into right and wrong."""

    folder: str
    """Where the opinions lie."""
    protocol: str
    told: str


READINGS: Final = {
    "forced": VerdictReading(folder="judged", protocol="forced", told="scores as written; a tie is wrong"),
    "half": VerdictReading(folder="judged", protocol="half", told="scores as written; a tie earns one half"),
    "expected": VerdictReading(folder="expected", protocol="forced", told="expected scores; a tie is wrong"),
}
"""Every test pair has a winner. Development goes by the first; a scalar head has no words and is the same in all."""


def judge(options: ParrotProofOptions, out: Path, name: str) -> None:
    """Ask one judge, such as `filtered-900`, `scalar-300`, `base` or `scorer`; its opinions go to `judged/NAME`."""
    _ask(_settings(options, out, name), out, out / "judged" / name)


def judge_expected(options: ParrotProofOptions, out: Path, name: str) -> None:
    """The same for a judge that writes, with its scores as expectations; its opinions go to `expected/NAME`."""
    _ask(replace(_settings(options, out, name), mode="expected"), out, out / "expected" / name)


def _ask(settings: JudgeSettings, out: Path, opinions: Path) -> None:
    torch.set_num_threads(1)
    folder = PairFolder(out / "test")
    judge_pairs(settings, folder, folder.pairs("test"), opinions)


def _settings(options: ParrotProofOptions, out: Path, name: str) -> JudgeSettings:
    if name == "scorer":
        return _words("miniature", None)
    base = f"local:{out / 'base' / 'checkpoint'}"
    if name == "base":
        return _words(base, None)
    arm, _, size = name.partition("-")
    if arm == "scalar":
        run = head_run(out, int(size), chosen_head_lr(options, out))
        return JudgeSettings(judge=f"head:{run / 'head'}", device="cpu")
    return _words(base, str(student_run(out, arm, int(size), chosen_lr(options, out)) / "adapter"))


def _words(judge: str, adapter: str | None) -> JudgeSettings:
    """As development is measured: replies are not held to the grammar, so a student that cannot write fails."""
    return JudgeSettings(
        judge=judge, adapter=adapter, precision="fp32", device="cpu", batch_size=32, max_tokens=300, guided=False
    )


def opinions(out: Path, name: str, folder: str) -> list[Opinion]:
    """What a judge said, in one order for all."""
    (file,) = (out / ("judged" if name.startswith("scalar") else folder) / name).glob("*.jsonl")
    rows = [opinion_from_json(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda opinion: opinion.key)


def figures(options: ParrotProofOptions, out: Path) -> dict[str, Any]:
    """Reading -> accuracies and paired differences of every judge."""
    return {name: _figures(options, out, reading) for name, reading in READINGS.items()}


def _figures(options: ParrotProofOptions, out: Path, reading: VerdictReading) -> dict[str, Any]:
    names = sorted(path.name for path in (out / "judged").iterdir())
    opinions_by_judge = {name: opinions(out, name, reading.folder) for name in names}
    rule = PROTOCOLS[reading.protocol]
    largest = max(options.sizes)
    compared = [(f"filtered-{largest}", f"{arm}-{largest}") for arm in ("unfiltered", "direct")]
    compared += [(f"filtered-{size}", f"scalar-{size}") for size in options.sizes]
    compared += [(f"{kind}-{largest}", f"{kind}-{min(options.sizes)}") for kind in ("filtered", "scalar")]
    return {
        "told": reading.told,
        "efficiency": efficiency(
            *([opinions_by_judge[f"{arm}-{size}"] for size in options.sizes] for arm in ("filtered", "scalar")),
            options.sizes,
            rule,
        ),
        "judges": {judge: _judge(own, rule) for judge, own in opinions_by_judge.items()},
        "differences": {
            f"{first} minus {second}": _share(difference(opinions_by_judge[first], opinions_by_judge[second], rule))
            for first, second in compared
        },
    }


def _judge(opinions: list[Opinion], rule: TieProtocol) -> dict[str, Any]:
    return {
        **_share(accuracy(opinions, rule)),
        "decided": round(coverage(opinions), 4),
        "reasons": dict(failures(opinions)),
    }


def _share(share: Share) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(share).items()}
