"""What an epoch leaves for a person: every rollout as a JSON line, and now and then a page of pictures and words.

epochs/000012/rollouts.jsonl     request, seed, scores, words or reason, reward, advantage
epochs/000012/images/*.png       the pictures (epochs with an audit page)
epochs/000012/index.html         the page: per group, picture beside critique, score and advantage
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.images import png_bytes
from rationalrewards_core.jsonl import encoded
from rationalrewards_core.judged import Outcome
from rationalrewards_core.report.page import html_page
from rationalrewards_core.report.parts import dimension_bars, escaped
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.storage import replace_file, replace_text

from .advantage import Advantages, GroupRewards
from .prompts import TrainingPrompt

STYLE = """
.group{margin:28px 0}.group>header{display:flex;gap:14px;flex-wrap:wrap;align-items:baseline}
.rollouts{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:12px;margin-top:10px}
.rollout{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px}
.rollout img{width:100%;image-rendering:pixelated;border-radius:8px}
.rollout.unused{opacity:.55}.advantage{font-weight:600}.plus{color:var(--good)}.minus{color:var(--bad)}
"""


@dataclass(frozen=True)
class EpochRecord:
    """One process's rollouts of an epoch, prompt by prompt."""

    epoch: int
    prompts: Sequence[TrainingPrompt]
    images: Sequence[Image.Image]
    outcomes: Sequence[Outcome]
    rewards: GroupRewards
    advantages: Advantages
    rubric: Rubric

    @property
    def group(self) -> int:
        return len(self.images) // len(self.prompts)


def write_record(run: Path, record: EpochRecord, *, rank: int = 0, pictures: bool = False) -> Path:
    """Write the epoch's folder anew (a resumed run may repeat an epoch); returns it."""
    folder = run / "epochs" / f"{record.epoch:06d}"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    suffix = "" if rank == 0 else f".{rank}"
    rows = [_row(record, index) for index in range(len(record.images))]
    replace_file(folder / f"rollouts{suffix}.jsonl", map(encoded, rows))
    if pictures:
        for index, image in enumerate(record.images):
            replace_file(folder / "images" / _name(record, index, suffix), [png_bytes(image)], lasting=False)
        replace_text(folder / f"index{suffix}.html", _page(record, suffix))
    return folder


def _name(record: EpochRecord, index: int, suffix: str = "") -> str:
    p, g = divmod(index, record.group)
    return f"{p:03d}_{g:03d}{suffix}.png"


def _row(record: EpochRecord, index: int) -> dict[str, Any]:
    p, g = divmod(index, record.group)
    prompt, outcome = record.prompts[p], record.outcomes[index]
    has_scores = isinstance(outcome, Critique)
    return {
        "epoch": record.epoch,
        "group": prompt.key,
        "prompt": prompt.request.text,
        "generated_with": prompt.sampled.text,
        "member": g,
        "image": f"images/{_name(record, index)}",
        "reward": round(float(record.rewards.rewards_P_G[p, g]), 6) if has_scores else None,
        "advantage": round(float(record.advantages.values_P_G[p, g]), 6) if record.advantages.used_P_G[p, g] else None,
        "outcome": outcome.to_json(),
    }


def _page(record: EpochRecord, suffix: str) -> str:
    title = f"Epoch {record.epoch}"
    groups = "".join(_group(record, p, suffix) for p in range(len(record.prompts)))
    lead = (
        f"<h1>{title}</h1>"
        f"<p class=lead>{len(record.images)} rollouts in {len(record.prompts)} groups; pale ones were not trained on: "
        "unscored, or in a group without any spread.</p>"
    )
    return html_page(title, [lead, groups], STYLE)


def _group(record: EpochRecord, p: int, suffix: str) -> str:
    prompt, statistics = record.prompts[p], record.advantages.statistics
    pills = f"<span class=pill>mean {float(statistics.mean_P[p]):.3f}</span>"
    pills += f"<span class=pill>spread {float(statistics.std_P[p]):.3f}</span>"
    pills += f"<span class=pill>{int(statistics.count_P[p])} of {record.group} scored</span>"
    if prompt.generate_with:
        pills += f"<span class=pill>drawn from: {escaped(prompt.generate_with)}</span>"
    members = "".join(_rollout(record, p * record.group + g, suffix) for g in range(record.group))
    heading = f"<header><h3>{escaped(prompt.request.text)}</h3>{pills}</header>"
    return f"<section class=group>{heading}<div class=rollouts>{members}</div></section>"


def _rollout(record: EpochRecord, index: int, suffix: str) -> str:
    p, g = divmod(index, record.group)
    outcome, used = record.outcomes[index], bool(record.advantages.used_P_G[p, g])
    image = f'<img src="images/{_name(record, index, suffix)}" alt="rollout {g} of group {p}" loading=lazy>'
    if isinstance(outcome, Critique):
        value = float(record.advantages.values_P_G[p, g])
        kind = "plus" if value > 0 else "minus"
        advantage = f"<span class='advantage {kind}'>advantage {value:+.2f}</span>" if used else "not used"
        words = f"<p>{escaped(outcome.summary)}</p>" if outcome.summary else ""
        reward = float(record.rewards.rewards_P_G[p, g])
        body = f"<p>reward {reward:.3f} · {advantage}</p>{dimension_bars(outcome, record.rubric)}{words}"
    else:
        body = f"<p class=unscored>Unscored ({escaped(outcome.reason)}): {escaped(outcome.message)}</p>"
    return f"<div class='rollout{'' if used else ' unused'}'>{image}{body}</div>"
