"""What the reward server counts, as JSON and in Prometheus' text format."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from typing import Any

from ..critique import Critique
from ..judged import Outcome
from ..memo import Memo

WINDOW = 1000
"""Items over which latency quantiles are taken."""
QUANTILES = (0.5, 0.9, 0.99)


class ServerMetrics:
    """Counters since the start, and latencies of the last WINDOW items."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.requests = 0
        self.items = 0
        self.critiques = 0
        self.unscored: Counter[str] = Counter()
        self.rejected: Counter[int] = Counter()
        """HTTP statuses of requests that were turned away."""
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def add(self, outcome: Outcome, seconds: float) -> None:
        self.items += 1
        self._seconds.append(seconds)
        if isinstance(outcome, Critique):
            self.critiques += 1
        else:
            self.unscored[outcome.reason] += 1

    def quantiles(self) -> dict[float, float]:
        """Latency per item in seconds, by nearest rank; empty before the first item."""
        ordered = sorted(self._seconds)
        if not ordered:
            return {}
        return {q: ordered[math.ceil(q * len(ordered)) - 1] for q in QUANTILES}

    def to_json(self, waiting: int, memo: Memo) -> dict[str, Any]:
        failed = self.unscored.total()
        return {
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "requests": self.requests,
            "items": self.items,
            "scored": self.critiques,
            "unscored": dict(self.unscored),
            "failure_rate": failed / self.items if self.items else 0.0,
            "rejected": {str(status): count for status, count in self.rejected.items()},
            "waiting": waiting,
            "latency_seconds": {f"p{100 * q:g}": round(v, 4) for q, v in self.quantiles().items()},
            "memo": {"hits": memo.hits, "misses": memo.misses},
        }

    def to_prometheus(self, waiting: int, memo: Memo) -> str:
        rows: list[tuple[str, str, str, list[tuple[str, float]]]] = [
            ("requests_total", "counter", "Requests received.", [("", self.requests)]),
            ("items_total", "counter", "Items judged, scored or not.", [("", self.items)]),
            ("scored_total", "counter", "Items with a critique.", [("", self.critiques)]),
            ("unscored_total", "counter", "Items without one, by reason.", _labelled("reason", self.unscored)),
            ("rejected_total", "counter", "Requests turned away, by status.", _labelled("status", self.rejected)),
            ("waiting", "gauge", "Items queued or being judged.", [("", waiting)]),
            ("memo_hits_total", "counter", "Critiques served from the memo.", [("", memo.hits)]),
            ("memo_misses_total", "counter", "Questions the memo could not answer.", [("", memo.misses)]),
            (
                "latency_seconds",
                "gauge",
                f"Seconds per item, quantiles of the last {WINDOW}.",
                [(f'{{quantile="{q:g}"}}', v) for q, v in self.quantiles().items()],
            ),
        ]
        lines = []
        for name, kind, text, values in rows:
            lines += [f"# HELP rationalrewards_{name} {text}", f"# TYPE rationalrewards_{name} {kind}"]
            lines += [f"rationalrewards_{name}{label} {value!r}" for label, value in values]
        return "\n".join(lines) + "\n"


def _labelled(label: str, counts: Counter[Any]) -> list[tuple[str, float]]:
    return [(f'{{{label}="{key}"}}', count) for key, count in sorted(counts.items(), key=lambda row: str(row[0]))]
