"""The schemas of the pack's nodes, as the stub of ComfyUI sees them."""

from __future__ import annotations

from typing import Any

from tests.nodes.comfy_stub import ROOT, Pack

__all__ = ["ROOT", "inputs_of", "schemas_of"]


def schemas_of(pack: Pack) -> dict[str, Any]:
    extension = pack.module("nodes.extension")
    nodes = [getattr(pack.module(f"nodes.{module}"), name) for module, name in extension.NODES.items()]
    return {schema.node_id: schema for schema in (node.define_schema() for node in nodes)}


def inputs_of(schema: Any) -> dict[str, Any]:
    """Name in a workflow -> input; an option's inputs are `combo.input`."""
    found = {}
    for entry in schema.inputs:
        found[entry.id] = entry
        found |= {f"{entry.id}.{inner.id}": inner for inner in entry.nested[1:]}
    return found
