"""Writes the workflow files: `python -m workflows.source.export http://127.0.0.1:8188` (a ComfyUI with this pack).

    workflows/NAME.json       UI form, as the frontend itself writes it
    workflows/api/NAME.json   API form, for scripts
    subgraphs/NAME.json       the loop as a blueprint

The templates' pictures, workflows/NAME.jpg, are made by `thumbnails`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .frontend import Frontend, opened
from .graph import Graph
from .graphs import BLUEPRINT, DESCRIPTION, GRAPHS, INSIDE, SEARCH_ALIASES

FOLDER = Path(__file__).resolve().parents[1]
KEPT_PROPERTIES = ("Node name for S&R", "models", "proxyWidgets")
"""Properties of a node that a file needs; the others name the versions of the machine it was written on."""


def export(frontend: Frontend, graph: Graph) -> None:
    built = frontend.build(_plain(graph))
    ui = portable(built["ui"])
    del ui["id"]  # each opening of a template is a workflow of its own, with its own runs
    _write(FOLDER / f"{graph.name}.json", ui)
    _write(FOLDER / "api" / f"{graph.name}.json", built["api"])


def export_blueprint(frontend: Frontend) -> None:
    """The loop as one subgraph node, for the node library: subgraphs/NAME.json."""
    built = frontend.build({**_plain(BLUEPRINT), "inside": INSIDE})
    ui = portable(built["ui"])
    ui["extra"] |= {"BlueprintDescription": DESCRIPTION, "BlueprintSearchAliases": list(SEARCH_ALIASES)}
    _write(FOLDER.parent / "subgraphs" / f"{BLUEPRINT.name}.json", ui)


def portable(ui: dict[str, Any]) -> dict[str, Any]:
    """The UI form without what belongs to one machine or one moment."""
    inner = (ui.get("definitions") or {}).get("subgraphs", [])
    for node in [*ui["nodes"], *(node for subgraph in inner for node in subgraph["nodes"])]:
        node["properties"] = {key: node["properties"][key] for key in KEPT_PROPERTIES if key in node["properties"]}
    app = {name: ui["extra"][name] for name in ("linearData",) if name in ui["extra"]}
    return {**ui, "extra": {"ds": {"scale": 0.5, "offset": [60, 120]}, **app}}


def _plain(graph: Graph) -> dict[str, Any]:
    return {"id": graph.id, **asdict(graph)}


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("address", help="of a running ComfyUI with this pack, such as http://127.0.0.1:8188")
    parser.add_argument("--only", default="", help="part of a workflow's name")
    options = parser.parse_args()
    if not options.only or options.only in BLUEPRINT.name:
        with opened(options.address) as frontend:
            frontend.open()
            export_blueprint(frontend)
    for graph in (one for one in GRAPHS if options.only in one.name):
        with opened(options.address) as frontend:
            frontend.open()
            export(frontend, graph)


if __name__ == "__main__":
    main()
