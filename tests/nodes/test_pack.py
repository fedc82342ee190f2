"""The pack as ComfyUI meets it: it loads, every node has a schema, and nothing heavy comes along."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from tests.nodes.comfy_stub import ROOT, Pack

NODE_IDS = {
    "RR_LoadScorer": "Load Rational Scorer",
    "RR_UnloadScorer": "Unload Scorer",
    "RR_RationalCritique": "Rational Critique",
    "RR_MultiDimScore": "Multi-Dim Score",
    "RR_PromptRefine": "Prompt Refine",
    "RR_LoopStart": "Loop Start",
    "RR_LoopUntilScore": "Loop Until Score",
    "RR_PickBest": "Pick Best",
    "RR_CompareImages": "Judge Two Images",
    "RR_CritiqueToText": "Critique to Text",
    "RR_CustomRubric": "Custom Rubric",
    "RR_WriteRubric": "Write Rubric",
    "RR_MiniatureGenerate": "Miniature Generate",
    "RR_PreferencePick": "Preference Pick",
}
"""Ids are in people's workflows: they never change."""


@pytest.fixture(scope="module")
def schemas(pack: Pack) -> dict[str, Any]:
    extension = asyncio.run(pack.root.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {schema.node_id: schema for schema in (node.define_schema() for node in nodes)}


def test_every_node_is_there_under_its_name(schemas: dict[str, Any]) -> None:
    assert {node_id: schema.display_name for node_id, schema in schemas.items()} == NODE_IDS
    assert {schema.category for schema in schemas.values()} == {"RationalRewards"}
    assert all(schema.description for schema in schemas.values())


def test_every_input_and_output_says_what_it_is(schemas: dict[str, Any]) -> None:
    for node_id, schema in schemas.items():
        for entry in schema.inputs:
            for each in entry.nested:
                assert each.tooltip, f"{node_id}.{each.id} has no tooltip"
        for output in schema.outputs:
            assert output.tooltip, f"{node_id}.{output.id} has no tooltip"


def test_combos_offer_their_default(schemas: dict[str, Any]) -> None:
    for node_id, schema in schemas.items():
        for each in (inner for entry in schema.inputs for inner in entry.nested if inner.io_type == "COMBO"):
            if each.default is not None:
                assert each.default in each.options, f"{node_id}.{each.id}"


def test_a_second_copy_of_the_pack_says_so_and_adds_nothing(
    pack: Pack, schemas: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its nodes would take the first one's places, and its loops have a Stop that nobody hears."""
    assert schemas
    second = pack.module("nodes.extension").RationalRewardsExtension()
    assert asyncio.run(second.get_node_list()) == []
    assert "installed twice" in caplog.text
    assert str(ROOT) in caplog.text


def test_keywords_that_this_comfyui_does_not_know_are_left_out(pack: Pack) -> None:
    made = pack.module("nodes.schema").schema(node_id="x", search_aliases=["y"], has_intermediate_output=True, z=1)
    assert made.node_id == "x"
    assert not hasattr(made, "search_aliases")


LOADING = """
import asyncio, sys, tempfile, time
from pathlib import Path
from tests.nodes.comfy_stub import load_pack, stubbed
with stubbed(Path(tempfile.mkdtemp())):
    pack = load_pack()
    extension = asyncio.run(pack.root.comfy_entrypoint())
    for node in asyncio.run(extension.get_node_list()):
        node.define_schema()
    heavy = ("torch", "transformers", "diffusers", "peft", "bitsandbytes", "accelerate", "xgrammar", "safetensors")
    print([name for name in heavy if name in sys.modules])
    late = (".critique", ".judged", ".messages", ".reply_layout", ".servers", ".gguf.header", ".hub.releases", ".judge.judging",
        ".judge.thresholds", ".judge.scorers", ".show.cards", ".show.markdown", ".tensors")
    print([name for name in sys.modules if name.startswith(pack.root.__name__) and name.endswith(late)])
"""


def test_loading_the_pack_imports_nothing_heavy_and_nothing_that_only_running_needs() -> None:
    done = subprocess.run([sys.executable, "-B", "-c", LOADING], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n[]\n"
