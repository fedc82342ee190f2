"""The report: one self-contained HTML page with counts by source and reason, and samples with images beside words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import RequestError
from rationalrewards_core.report.page import html_page
from rationalrewards_core.report.parts import escaped, picture
from rationalrewards_core.storage import replace_text

from ..data.pairs import PreferencePair
from ..data.records import Record
from ..data.store import ImageStore
from .accounting import KEPT, Account, StageCount, account
from .calibration import Calibration
from .quality import RunQuality, measure
from .records import Check, Ordered, Projection
from .run import ParrotRun, Rubrics

EXTRA_STYLE = """
.run pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; margin: 12px 0 0;
  max-height: 340px; overflow-y: auto; background: var(--paper); border-radius: 8px; padding: 10px 12px; }
.strip.pictures figure { width: 150px; } .strip .chosen img { outline: 3px solid var(--good); outline-offset: 1px; }
td.number { text-align: right; } .scroll { overflow-x: auto; }
"""


def write_parrot_report(
    run: ParrotRun, rubrics: Rubrics, out: Path, samples: int, teacher_log: Path | None = None
) -> Account:
    """Write `out` (HTML) and the same counts as JSON beside it; returns them."""
    counts = account(run, rubrics, Calibration(), samples)
    quality = None if teacher_log is None else measure(run, teacher_log)
    body = [
        f"<h1>PARROT: {escaped(run.folder.name)}</h1>",
        "<p class=lead>What the teacher explained, what passed the checks, and what was dropped for which reason.</p>",
        _figures(counts),
        "<h2>By source</h2>",
        _by_source(counts),
        "<h2>By reason</h2>",
        _by_reason(counts),
        _by_orders(counts),
        _quality(quality) if quality is not None else "",
        *(_samples(stage, run.store, counts.rationales) for stage in counts.stages),
    ]
    page = html_page(f"PARROT: {run.folder.name}", body, EXTRA_STYLE)
    replace_text(out, page)
    replace_text(out.with_suffix(".json"), json.dumps(_as_json(counts, quality), indent=2))
    return counts


def _figures(counts: Account) -> str:
    tiles = [(str(counts.pairs.total()), "pairs", f"{len(counts.origins)} sources")]
    for stage in counts.stages:
        models = ", ".join(name for name, _ in stage.models.most_common(2))
        tiles.append((_percent(stage.retention()), f"{stage.title} kept", f"of {stage.total}; {models}".rstrip("; ")))
    requests = sum(stage.usage.requests for stage in counts.stages)
    tokens = sum(stage.usage.prompt_tokens + stage.usage.completion_tokens for stage in counts.stages)
    tiles.append((f"{requests:,}", "requests", f"{tokens:,} tokens, unusable replies included"))
    cells = (
        f"<div class=figure><b>{escaped(value)}</b><span>{escaped(label)}</span><small>{escaped(note)}</small></div>"
        for value, label, note in tiles
    )
    return f"<section class=figures>{''.join(cells)}</section>"


def _by_source(counts: Account) -> str:
    head = ["source", "pairs", *(stage.title for stage in counts.stages)]
    rows = []
    for origin in counts.origins:
        shares = [
            f"{stage.by_origin[origin][KEPT]} of {stage.by_origin[origin].total()} ({_percent(stage.retention(origin))})"
            if origin in stage.by_origin
            else "-"
            for stage in counts.stages
        ]
        rows.append([origin, str(counts.pairs[origin]), *shares])
    return _table(head, rows)


def _by_reason(counts: Account) -> str:
    rows = [
        [stage.title, reason, str(count), _percent(count / stage.total)]
        for stage in counts.stages
        for reason, count in stage.reasons.most_common()
    ]
    return _table(["stage", "reason", "records", "share"], rows)


def _by_orders(counts: Account) -> str:
    """A teacher that prefers a place passes one order and fails the other."""
    rows = [
        [title, *(f"{flags[name]} ({_percent(flags[name] / flags.total())})" for name in ("both", "one", "none"))]
        for title, flags in counts.orders.items()
        if flags
    ]
    if not rows:
        return ""
    return "<h2>Pairs by the orders that passed</h2>" + _table(["stage", "both", "one", "none"], rows)


def _quality(quality: RunQuality) -> str:
    rows = [
        [
            one.name,
            *("-" if share is None else str(share) for share in (one.precision, one.recall, one.bad_among_kept)),
            f"{one.dropped_bad} + {one.dropped_good}",
            f"{one.kept_bad} + {one.kept_good}",
        ]
        for one in quality.filters
    ]
    head = ["filter", "precision", "recall", "bad among kept", "dropped: bad + good", "kept: bad + good"]
    faults = [
        [fault, reason, str(count)]
        for fault, reasons in sorted(quality.faults.items())
        for reason, count in reasons.most_common()
    ]
    return (
        f"<h2>The filters against the teacher's known faults</h2>{_table(head, rows)}"
        f"<h2>What the text check made of each fault</h2>{_table(['fault', 'became', 'rationales'], faults)}"
    )


def _samples(stage: StageCount[Record], store: ImageStore, rationales: Mapping[str, str]) -> str:
    parts = [f"<h2>Samples: {escaped(stage.title)}</h2>"]
    for reason, count in stage.reasons.most_common():
        samples = stage.samples(reason)
        if samples:
            parts.append(f"<h3>{escaped(reason)}: {len(samples)} of {count}</h3>")
            parts += [_sample(record, reason, store, rationales) for record in samples]
    return "".join(parts) if len(parts) > 1 else ""


def _sample(record: Record, reason: str, store: ImageStore, rationales: Mapping[str, str]) -> str:
    """One record; pictures and preference are in the order in which its words speak of them."""
    pair = record.shown if isinstance(record, Ordered) else record.pair
    kind = "good" if reason == KEPT else "bad"
    pills = [f'<span class="pill {kind}">{escaped(reason)}</span>', *(_pill(text) for text in _facts(record, pair))]
    message = f"<p class=unscored>{escaped(record.message)}</p>" if record.message else ""
    texts = [rationales.get(record.rationale, "")] if isinstance(record, Check) else []
    words = "".join(f"<pre>{escaped(text)}</pre>" for text in [*texts, record.reply] if text)
    return (
        f"<article class=run><header><h3>{escaped(pair.request)}</h3><div>{''.join(pills)}</div></header>"
        f"{_pictures(pair, store)}{message}{words}</article>"
    )


def _facts(record: Record, pair: PreferencePair) -> list[str]:
    facts = [f"people: {pair.preference.value}", pair.origin]
    if isinstance(record, Check) and record.predicted is not None:
        facts.append(f"predicted: {record.predicted.value}")
    if isinstance(record, Projection):
        facts.append(f"critique of {record.side}")
    return facts


def _pill(text: str) -> str:
    return f"<span class=pill>{escaped(text)}</span>"


def _pictures(pair: PreferencePair, store: ImageStore) -> str:
    pictures = [(f"source {n}", name, False) for n, name in enumerate(pair.sources, 1)]
    pictures += [
        (letter, name, pair.preference.value == letter) for letter, name in (("A", pair.first), ("B", pair.second))
    ]
    return f'<div class="strip pictures">{"".join(_figure(*one, store) for one in pictures)}</div>'


def _figure(label: str, name: str, is_preferred: bool, store: ImageStore) -> str:
    try:
        image = picture(store.open(name), label)
    except RequestError as error:
        image = f"<p class=unscored>{escaped(str(error))}</p>"
    mark = " class=chosen" if is_preferred else ""
    return f"<figure{mark}>{image}<figcaption>{escaped(label)}{', preferred' if is_preferred else ''}</figcaption></figure>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escaped(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _as_json(counts: Account, quality: RunQuality | None) -> dict[str, Any]:
    table: dict[str, Any] = {
        "pairs": dict(counts.pairs),
        "stages": {
            stage.title: {
                "by_origin": {origin: dict(reasons) for origin, reasons in stage.by_origin.items()},
                "retention": stage.retention(),
                "requests": stage.usage.requests,
                "tokens": stage.usage.prompt_tokens + stage.usage.completion_tokens,
            }
            for stage in counts.stages
        },
    }
    table["pairs_by_orders_kept"] = {title: dict(row) for title, row in counts.orders.items()}
    if quality is not None:
        table["filters"] = [one.to_json() for one in quality.filters]
        table["faults"] = {fault: dict(reasons) for fault, reasons in quality.faults.items()}
        table["rationales_unknown_to_the_log"] = quality.unknown
    return table
