"""Saved workflows keep their wires and their values: node ids, sockets, outputs and widgets are what they were once.

A workflow file knows an output by its place and a widget's value by its place. `frozen_nodes.json` is the stored table of
both. A line of it is never changed, moved or removed; what is new is appended at the end of its list, here and there. A new
choice of a combo that brings inputs of its own brings its lines after those of the other choices: a workflow holds those of
the one choice that it made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.comfy_stub import load_pack, stubbed

Table = dict[str, dict[str, list[Any]]]

STORED: Table = json.loads((Path(__file__).parent / "frozen_nodes.json").read_text(encoding="utf-8"))
OF_FILES = {"checkpoint", "adapter", "rubric", "server", "model"}
"""Combos that list what is on the disk."""


def frozen(schemas: dict[str, Any]) -> Table:
    """What a workflow file relies on, per node id."""
    return {
        node_id: {
            "inputs": [row for entry in schema.inputs for row in input_rows(entry, "")],
            "outputs": [[output.id, output.io_type, output.is_output_list] for output in schema.outputs],
        }
        for node_id, schema in sorted(schemas.items())
    }


def input_rows(entry: Any, path: str) -> list[list[Any]]:
    """[name, type, then what belongs to the meaning of a stored value] of an input and of those inside its options."""
    meaning = [name for name in ("optional", "force_input", "control_after_generate") if entry.keywords.get(name)]
    name, options = f"{path}{entry.id}", entry.options or []
    if not (options and hasattr(options[0], "inputs")):
        choices = [] if entry.id in OF_FILES else options
        return [[name, entry.io_type, *meaning, *([list(choices)] if choices else [])]]
    rows = [[name, entry.io_type, *meaning, [option.key for option in options]]]
    return rows + [row for o in options for inner in o.inputs for row in input_rows(inner, f"{name}={o.key}.")]


def without_choices(row: list[Any]) -> list[Any]:
    return [part for part in row if not isinstance(part, list)]


def choices_of(row: list[Any]) -> list[Any]:
    return [choice for part in row if isinstance(part, list) for choice in part]


@pytest.mark.parametrize("node_id", STORED)
def test_what_saved_workflows_rely_on_is_still_in_its_place(node_id: str, schemas: dict[str, Any]) -> None:
    assert node_id in schemas, "a workflow that holds this node no longer opens"
    now = frozen(schemas)[node_id]
    outputs = STORED[node_id]["outputs"]
    assert now["outputs"][: len(outputs)] == outputs, "wires of saved workflows lead to another output"
    rows, fresh = STORED[node_id]["inputs"], now["inputs"]
    for stored, current in zip(rows, fresh, strict=False):
        assert without_choices(current) == without_choices(stored), "stored values are read by another widget"
        assert set(choices_of(stored)) <= set(choices_of(current)), "a stored choice is no longer there"
    assert len(fresh) >= len(rows)


def test_the_table_names_everything(schemas: dict[str, Any]) -> None:
    """Whatever is new is frozen from the day on which it is there."""
    now = frozen(schemas)
    assert now.keys() == STORED.keys()
    for node_id, table in now.items():
        assert len(table["outputs"]) == len(STORED[node_id]["outputs"]), f"append the new outputs of {node_id}"
        assert [row[0] for row in table["inputs"]] == [row[0] for row in STORED[node_id]["inputs"]], node_id


def test_a_rubric_with_other_dimensions_moves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dimension that the shipped rubric gains gets an output after all others; one that it loses keeps its place."""
    with stubbed(tmp_path):
        pack = load_pack()
        node, files = pack.module("nodes.multi_dim_score"), pack.core("rubric_file")
        rubric = files.edit_rubric()
        gained = rubric.dimensions[0].__class__(**{**vars(rubric.dimensions[0]), "key": "style", "title": "Style"})
        other = rubric.__class__(**{**vars(rubric), "dimensions": (gained, *rubric.dimensions[1:])})
        monkeypatch.setattr(node, "edit_rubric", lambda: other)
        outputs = [[output.id, output.io_type, output.is_output_list] for output in node._outputs()]
    stored = STORED["RR_MultiDimScore"]["outputs"]
    assert outputs[: len(stored)] == stored
    assert [output[0] for output in outputs[len(stored) :]] == ["style"]
