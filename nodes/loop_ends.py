"""The two ends of a loop, by the ids of their nodes. Apart from `loop_graph`, which is imported when a loop runs."""

from __future__ import annotations

from typing import Final

OPEN_CLASS: Final = "RR_LoopStart"
CLOSE_CLASS: Final = "RR_LoopUntilScore"
