"""A workflow as its author thinks of it: named nodes, named widgets, named wires. `export` makes files of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = uuid.UUID("6f1d3c3e-4b43-4c39-9d2f-2b8c6d9a1e55")
"""Of the ids that workflows are built under; the blueprint keeps its own for ever."""

Widget = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of somebody else's, by the core's own convention for templates."""

    name: str
    url: str
    directory: str
    """Below models/."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of a workflow."""

    type: str
    at: tuple[int, int]
    """Upper left corner, in the canvas's units."""
    size: tuple[int, int]
    title: str | None = None
    widgets: Mapping[str, Widget] = field(default_factory=dict)
    """By name, in the order in which they are set: an engine before its own settings."""
    wires: Mapping[str, str] = field(default_factory=dict)
    """Input name -> `node.output`."""
    collapsed: bool = False
    """Shown as its title alone."""
    models: tuple[ModelFile, ...] = ()
    """Files that its widgets name: where the frontend finds them when they are missing."""


@dataclass(frozen=True, kw_only=True)
class Group:
    title: str
    around: tuple[str, ...]
    """Names of the nodes it frames."""
    color: str = "#3f789e"


@dataclass(frozen=True, kw_only=True)
class App:
    """What the frontend's app mode shows of a workflow: a page without the graph."""

    inputs: tuple[str, ...]
    """`node.widget`, from top to bottom; the pack's own views are widgets too."""
    outputs: tuple[str, ...]
    """Names of the nodes whose pictures are shown."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One workflow file."""

    name: str
    """File name without extension."""
    nodes: Mapping[str, Node]
    groups: tuple[Group, ...] = ()
    app: App | None = None
    """None for a workflow that says nothing about app mode."""

    @property
    def id(self) -> str:
        return str(uuid.uuid5(NAMESPACE, self.name))
