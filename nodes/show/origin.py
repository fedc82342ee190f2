"""Which workflow a run comes from, and outputs that say so.

The page keeps what nodes put out by their ids, which other workflows have too; it shows nothing of a workflow that is not
the open one.
"""

from __future__ import annotations

from typing import Any

ORIGIN = "rr_workflow"
"""The output that names the workflow, beside those for the page."""


def workflow_of(extra_pnginfo: Any) -> str | None:
    """Id of the workflow that a page sends along with its prompt."""
    name = (workflow_file(extra_pnginfo) or {}).get("id")
    return name if isinstance(name, str) else None


def workflow_file(extra_pnginfo: Any) -> dict[str, Any] | None:
    """That workflow, as a page would save it; None where a script sent none."""
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    return workflow if isinstance(workflow, dict) else None


def queued_from(hidden: Any) -> str | None:
    """The same of the hidden inputs of a node, if it asks for `extra_pnginfo`."""
    return workflow_of(getattr(hidden, "extra_pnginfo", None))


def with_origin(output: dict[str, list[Any]], workflow: str | None) -> dict[str, list[Any]]:
    """What a node puts out for the page, with the id of the workflow that queued it; as it is where a script did."""
    return output if workflow is None else {**output, ORIGIN: [workflow]}
