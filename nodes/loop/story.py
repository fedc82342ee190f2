"""What the pictures of one run of a loop have to tell: how each was made, and the workflow that makes it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .ends import IMAGE_SLOT, ITERATION_SLOT
from .graph import LoopBody, image_varies
from .made_with import ENTRY, made_with, parameters, settings_of
from .picture_workflow import chain_values, page_text, picture_values, with_inputs, with_widgets
from .state import LoopPlace

Graph = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LoopStory:
    """It holds no picture, so that it can be remembered for as long as the page shows the run."""

    place: LoopPlace
    body: LoopBody
    request: str
    """What the user asked for."""
    queued: Graph
    """What was queued, in API form; a copy, because the core writes into its own."""
    workflow: Graph | None
    """The same as a workflow file; None where a script sent none."""

    def texts(self, row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, str]:
        """Texts of the file of one iteration, by their names. `row` is what the page shows of it, `size` (width, height)."""
        table, step = made_with(row, self.request), (row["prompt"], row["seed"], row["index"])
        texts = {
            "parameters": parameters(table, settings_of(self.body, self.queued), size),
            "prompt": json.dumps(self._edited(with_inputs, self.queued, *step)),
            ENTRY: json.dumps({self.place.node: table}),
        }
        if self.workflow is not None:
            texts["workflow"] = json.dumps(self.edited_workflow(self.workflow, *step))
        return texts

    def edited_workflow(self, workflow: Graph, prompt: str, seed: int | None, iteration: int) -> Graph:
        """A workflow file that makes one iteration's picture; the seed is None where none counts."""
        return self._edited(with_widgets, workflow, page_text(prompt), seed, iteration)

    def _edited(self, change: Any, graph: Graph, prompt: str, seed: int | None, iteration: int) -> Graph:
        if iteration > 0 and self._is_chained:
            start, end = chain_values(iteration)
        else:
            start, end = picture_values(prompt, seed)
        changed = change(change(graph, self.place.start, start), self.place.node, end)
        return dict(changed)

    @property
    def _is_chained(self) -> bool:
        """Whether prompt and seed alone do not make an iteration's picture again."""
        return image_varies(self.body, frozenset({IMAGE_SLOT, ITERATION_SLOT}))
