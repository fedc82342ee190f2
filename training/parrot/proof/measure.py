"""All judges on the same held-out pairs, by the evaluation's own code; their figures and differences."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from training.evaluate.figures import Share, accuracy, coverage, difference, failures
from training.evaluate.opinions import Opinion, opinion_from_json
from training.evaluate.pairs import PairFolder
from training.evaluate.running import JudgeSettings, judge_pairs
from training.evaluate.ties import PROTOCOLS

from .options import ProofOptions
from .students import chosen_head_lr, chosen_lr, head_run, student_run

PROTOCOL: Final = "forced"
"""All test pairs have a winner; a judge that ties or fails is wrong."""


def judge(options: ProofOptions, out: Path, name: str) -> None:
    """Ask one judge, such as `filtered-900`, `scalar-300`, `base` or `scorer`; its opinions go to `judged/NAME`."""
    torch.set_num_threads(1)
    folder = PairFolder(out / "test")
    judge_pairs(_settings(options, out, name), folder, folder.pairs("test"), out / "judged" / name)


def _settings(options: ProofOptions, out: Path, name: str) -> JudgeSettings:
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


def opinions(out: Path, name: str) -> list[Opinion]:
    """What a judge said, in the pairs' order."""
    (file,) = (out / "judged" / name).glob("*.jsonl")
    found = [opinion_from_json(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(found, key=lambda opinion: opinion.key)


def figures(options: ProofOptions, out: Path) -> dict[str, Any]:
    """Accuracies and paired differences of every judge that has been asked."""
    names = sorted(path.name for path in (out / "judged").iterdir() if any(path.glob("*.jsonl")))
    said = {name: opinions(out, name) for name in names}
    largest = max(options.sizes)
    compared = [(f"filtered-{largest}", f"{arm}-{largest}") for arm in ("unfiltered", "direct")]
    compared += [(f"filtered-{size}", f"scalar-{size}") for size in options.sizes]
    compared += [(f"{kind}-{largest}", f"{kind}-{min(options.sizes)}") for kind in ("filtered", "scalar")]
    return {
        "protocol": PROTOCOL,
        "judges": {name: _judge(said[name]) for name in names},
        "differences": {
            f"{first} minus {second}": _share(difference(said[first], said[second], PROTOCOLS[PROTOCOL]))
            for first, second in compared
            if first in said and second in said
        },
    }


def _judge(said: list[Opinion]) -> dict[str, Any]:
    return {
        **_share(accuracy(said, PROTOCOLS[PROTOCOL])),
        "decided": round(coverage(said), 4),
        "reasons": dict(failures(said)),
    }


def _share(share: Share) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(share).items()}
