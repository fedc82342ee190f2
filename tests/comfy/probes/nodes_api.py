"""Every node of the pack under ComfyUI's real V3 interface: schema, the table the frontend gets, and execution."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pack
import torch
import utils.install_util  # noqa: F401 - as main.py does, before `nodes` puts a `utils` of its own in front
from rr_pack.nodes.judge.engines import miniature_engine
from rr_pack.nodes.judge.scorers import LoadedScorer

PROMPT = 'a large red circle left of a small blue square with the word "OK"'


def plain(value: Any) -> Any:
    """An output as JSON: tensors by their shape, what has no JSON by its class."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) else type(value).__name__


def execute(node: Any, **typed: Any) -> Any:
    """As ComfyUI executes it: a clone of the class, the normalised function, widgets at their defaults."""
    _, inputs = defaults(node)
    clone = node.PREPARE_CLASS_CLONE(None)
    done = getattr(clone, clone.FUNCTION)(**{**inputs, **typed})
    return pack.run(done) if asyncio.iscoroutine(done) else done


def defaults(node: Any) -> tuple[Any, dict[str, Any]]:
    schema = node.GET_SCHEMA()
    return schema, {entry.id: entry.default for entry in schema.inputs if getattr(entry, "default", None) is not None}


def main() -> None:
    import folder_paths

    folder_paths.set_temp_directory(str(pack.FOLDER / "temp"))
    with torch.inference_mode():
        extension = asyncio.run(pack.rr_pack.comfy_entrypoint())
        nodes = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
        infos = {name: node.GET_NODE_INFO_V1() for name, node in nodes.items()}
        pack.report({"infos": json.loads(json.dumps(infos, allow_nan=False)), "results": results(nodes)})


def results(nodes: dict[str, Any]) -> dict[str, Any]:
    scorer = LoadedScorer(engine=miniature_engine())
    drawn = execute(nodes["RR_MiniatureGenerate"], prompt=PROMPT, method="render", batch_size=2, scale=4)
    edit = execute(nodes["RR_MiniatureGenerate"], prompt=PROMPT, method="render an edit", edit="make the circle green")
    image = drawn[0]
    critique = execute(nodes["RR_RationalCritique"], scorer=scorer, image=image, prompt=PROMPT)
    edited = execute(
        nodes["RR_RationalCritique"],
        scorer=scorer,
        image=edit[0],
        prompt="make the circle green",
        source_image=edit[1],
    )
    wrong = execute(nodes["RR_RationalCritique"], scorer=scorer, image=image[:1], prompt="a small green triangle")
    rubric = execute(nodes["RR_CustomRubric"], weights="text_rendering=0", scorer=scorer)
    score = execute(
        nodes["RR_MultiDimScore"], scorer=scorer, images=image, prompt=PROMPT, threshold=0.5, rubric=rubric[0]
    )
    done = {
        "RR_MiniatureGenerate": drawn,
        "edit": edit,
        "RR_RationalCritique": critique,
        "edited": edited,
        "RR_CustomRubric": rubric,
        "RR_MultiDimScore": score,
        "RR_PromptRefine": execute(
            nodes["RR_PromptRefine"], critique=wrong[0], prompt="a small green triangle <lora:a:1>"
        ),
        "RR_PickBest": execute(nodes["RR_PickBest"], images=[image], critique=[critique[0]]),
        "RR_CompareImages": execute(
            nodes["RR_CompareImages"], scorer=scorer, image_a=image[:1], image_b=image[1:], prompt=PROMPT
        ),
        "RR_CritiqueToText": execute(nodes["RR_CritiqueToText"], critique=critique[0], format="scores only"),
    }
    scales = [
        score_of(nodes, scorer, execute(nodes["RR_MiniatureGenerate"], prompt=PROMPT, method="render", scale=scale)[0])
        for scale in (1, 4, 8)
    ]
    outputs = {name: {"args": plain(list(out.args)), "ui": out.ui} for name, out in done.items()}
    return {**json.loads(json.dumps(outputs)), "scales": scales}


def score_of(nodes: dict[str, Any], scorer: Any, image: Any) -> list[Any]:
    out = execute(nodes["RR_MultiDimScore"], scorer=scorer, images=image, prompt=PROMPT)
    return plain(list(out.args[:6]))


main()
