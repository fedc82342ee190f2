"""Self-contained HTML reports of loops: pictures beside words, no network, no script needed.

`write_report` takes finished loops; the demo adds its figures. Everything that came from a user or
a model is escaped: it is shown as text and can be nothing else.
"""

from __future__ import annotations

from .page import Figure, ReportRow, write_report

__all__ = ["Figure", "ReportRow", "write_report"]
