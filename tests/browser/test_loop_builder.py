"""From an ordinary graph to a loop by one entry of a node's menu, taken back by one undo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.layout import boxes_of, crowded
from workflows.source.frontend import Frontend

OURS = ["RR_LoadScorer", "RR_LoopStart", "RR_LoopUntilScore", "RR_PromptRefine", "RR_RationalCritique"]
ENTRY = "Loop until score"
OFFERED = "type => app.canvas.graph.nodes.filter(n => n.type === type).map(n => app.collectNodeMenuItems(n).find(i => i?.content === 'Loop until score'))"


def node(kind: str, at: list[int], widgets: dict[str, Any] | None = None, **wires: str) -> dict[str, Any]:
    return {"type": kind, "at": at, "size": [300, 130], "title": "", "widgets": widgets or {}, "wires": wires}


def ordinary(checkpoint: str, **negative: str) -> dict[str, Any]:
    """A text-to-image graph as the core's first workflow was for years: seven nodes."""
    nodes = {
        "model": node("CheckpointLoaderSimple", [0, 0], {"ckpt_name": checkpoint}),
        "size": node("EmptyLatentImage", [0, 250], {"width": 128, "height": 128}),
        "wanted": node("CLIPTextEncode", [350, 0], {"text": "a red circle"}, clip="model.CLIP"),
        "unwanted": node("CLIPTextEncode", [350, 250], {"text": "text, watermark"}, clip="model.CLIP"),
        "sampler": node(
            "KSampler",
            [700, 0],
            {"seed": 5, "steps": 2},
            model="model.MODEL",
            positive="wanted.CONDITIONING",
            negative="unwanted.CONDITIONING",
            latent_image="size.LATENT",
        ),
        "decode": node("VAEDecode", [1050, 0], samples="sampler.LATENT", vae="model.VAE"),
        "save": node("SaveImage", [1400, 0], images="decode.IMAGE"),
    }
    return {"id": "00000000-0000-4000-8000-000000000088", "name": "ordinary", "nodes": nodes, "groups": []}


def choose(frontend: Frontend, kind: str) -> None:
    """Right click on a node's title, and choose the entry."""
    frontend.show()
    x, y = frontend.page.evaluate(
        """kind => { const n = app.canvas.graph.nodes.find(n => n.type === kind), { scale, offset } = app.canvas.ds;
             const box = app.canvas.canvas.getBoundingClientRect();
             return [box.x + (n.pos[0] + 60 + offset[0]) * scale, box.y + (n.pos[1] - 14 + offset[1]) * scale]; }""",
        kind,
    )
    frontend.page.mouse.click(x, y, button="right")
    frontend.page.get_by_text(ENTRY, exact=True).first.click()
    frontend.page.wait_for_timeout(900)


def said(prompt: dict[str, Any]) -> dict[str, Any]:
    """Nodes by type; of two of one type, the first."""
    kinds: dict[str, Any] = {}
    for key, one in prompt.items():
        kinds.setdefault(one["class_type"], {"id": key, **one["inputs"]})
    return kinds


def check_loop(prompt: dict[str, Any]) -> dict[str, Any]:
    kinds = said(prompt)
    assert set(OURS) <= set(kinds)
    start, end, image = (kinds[name]["id"] for name in ("RR_LoopStart", "RR_LoopUntilScore", "VAEDecode"))
    assert kinds["RR_RationalCritique"]["prompt"] == [start, 4], "judged by the original prompt"
    assert kinds["RR_RationalCritique"]["image"] == kinds["RR_LoopUntilScore"]["image"] == [image, 0]
    assert kinds["RR_LoopUntilScore"]["flow"] == [start, 3]
    assert kinds["RR_LoopUntilScore"]["refined_prompt"] == [kinds["RR_PromptRefine"]["id"], 0]
    assert kinds["RR_PromptRefine"]["prompt"] == [start, 0]
    assert kinds["SaveImage"]["images"] == [end, 0], "the best image is saved"
    return kinds


def check_negative(kinds: dict[str, Any]) -> None:
    assert kinds["RR_PromptRefine"]["negative_prompt"] == [kinds["RR_LoopStart"]["id"], 6]
    assert kinds["RR_LoopUntilScore"]["refined_negative"] == [kinds["RR_PromptRefine"]["id"], 4]


def texts(prompt: dict[str, Any]) -> list[Any]:
    """Of the text encoders, in the order of their ids."""
    order = sorted(prompt, key=lambda key: [int(part) for part in key.split(":")])
    return [prompt[key]["inputs"]["text"] for key in order if prompt[key]["class_type"] == "CLIPTextEncode"]


@pytest.mark.parametrize("kind", ["KSampler", "VAEDecode"])
def test_an_ordinary_graph_runs_as_a_loop_after_one_entry(
    frontend: Frontend, checkpoint: str, pictures: Path, kind: str
) -> None:
    page = frontend.page
    page.reload()  # the list of checkpoints is read with the page
    frontend.wait()
    frontend.load(frontend.build(ordinary(checkpoint))["ui"])
    before = frontend.prompt()
    choose(frontend, kind)
    kinds = check_loop(frontend.prompt())
    whole = "a red circle\nNegative prompt: text, watermark"
    assert (kinds["RR_LoopStart"]["prompt"], kinds["RR_LoopStart"]["seed"]) == (whole, 5)
    start = kinds["RR_LoopStart"]["id"]
    assert texts(frontend.prompt()) == [[start, 0], [start, 6]]
    check_negative(kinds)
    assert kinds["KSampler"]["seed"] == [start, 1]
    (pictures / f"one_action_{kind}.png").write_bytes(page.screenshot())
    assert not page.evaluate(OFFERED, kind)[0], "there is a loop now"
    assert crowded(boxes_of(frontend)) == []
    page.evaluate("() => app.extensionManager.command.execute('Comfy.Undo')")
    page.wait_for_timeout(900)
    assert frontend.prompt() == before
    if kind == "KSampler":
        runs(frontend)


def runs(frontend: Frontend) -> None:
    choose(frontend, "VAEDecode")
    frontend.page.evaluate(
        """() => { for (const n of app.graph.nodes) for (const w of n.widgets ?? []) {
             if (n.type === 'RR_LoadScorer' && w.name === 'engine') { w.value = 'miniature'; w.callback?.(w.value); }
             if (n.type === 'RR_LoopUntilScore' && w.name === 'max_iterations') w.value = 2; } }"""
    )
    frontend.queue()
    frontend.page.wait_for_function("() => document.querySelectorAll('.rr-frame').length === 2", timeout=120_000)
    frontend.idle()
    assert frontend.errors == []


@pytest.mark.parametrize(
    ("template", "kind", "prompt", "seeds"),
    [
        ("sdxl_simple_example", "VAEDecode", "evening sunset scenery", 2),
        ("flux_schnell", "KSampler", "a bottle with a beautiful rainbow galaxy", 1),
        ("flux_dev_checkpoint_example", "KSampler", "Beautiful photography", 1),
        ("image_flux2_text_to_image", "SamplerCustomAdvanced", "high fashion, vintage couture", 1),
    ],
)
def test_graphs_of_the_cores_templates_become_loops(
    frontend: Frontend, template: str, kind: str, prompt: str, seeds: int
) -> None:
    """SDXL with its refiner and primitives, FLUX, and FLUX inside a subgraph."""
    fetched = "async name => { const r = await fetch(`/templates/${name}.json`); return r.ok ? r.json() : null; }"
    graph = frontend.page.evaluate(fetched, template)
    if graph is None:
        pytest.skip(f"this ComfyUI has no template {template}")
    frontend.load(graph, template)
    frontend.page.evaluate(
        "() => { const s = app.graph.nodes.find(n => n.subgraph); if (s) app.canvas.openSubgraph(s.subgraph, s); }"
    )
    frontend.page.wait_for_timeout(600)
    frontend.page.evaluate(f"type => {{ ({OFFERED})(type)[0].callback(); }}", kind)
    frontend.page.wait_for_timeout(600)
    made = frontend.prompt()
    kinds = check_loop(made)
    assert str(kinds["RR_LoopStart"]["prompt"]).startswith(prompt)
    wired = [
        one
        for one in made.values()
        for name in ("seed", "noise_seed")
        if one["inputs"].get(name) == [kinds["RR_LoopStart"]["id"], 1]
    ]
    assert len(wired) == seeds
    unwanted = [text for text in texts(made) if text == [kinds["RR_LoopStart"]["id"], 6]]
    assert len(unwanted) == (2 if template.startswith("sdxl") else 0), "a FLUX sampler without guidance heeds none"
    if unwanted:
        assert str(kinds["RR_LoopStart"]["prompt"]).endswith("\nNegative prompt: text, watermark")
        check_negative(kinds)


def looped(frontend: Frontend, checkpoint: str, change: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ordinary graph with something changed, before and after it became a loop."""
    frontend.page.reload()
    frontend.wait()
    frontend.load(frontend.build(ordinary(checkpoint))["ui"])
    frontend.page.evaluate(
        f"""() => {{ const find = fits => app.graph.nodes.find(fits);
          const n = {{ sampler: find(n => n.type === 'KSampler'), text: find(n => n.widgets?.[0]?.value === 'text, watermark'),
            wanted: find(n => n.widgets?.[0]?.value === 'a red circle') }};
          const wire = node => {{ const source = LiteGraph.createNode('PrimitiveStringMultiline'); app.graph.add(source);
            source.widgets[0].value = 'wired'; source.connect(0, node, node.findInputSlot('text')); }};
          {change}; }}"""
    )
    before = frontend.prompt()
    frontend.page.evaluate(f"type => {{ ({OFFERED})(type)[0].callback(); }}", "KSampler")
    frontend.page.wait_for_timeout(600)
    return before, frontend.prompt()


def test_an_empty_negative_prompt_goes_round(frontend: Frontend, checkpoint: str) -> None:
    """A critique may name the first thing that should not be there."""
    _, made = looped(frontend, checkpoint, "n.text.widgets[0].value = ''")
    kinds = check_loop(made)
    assert kinds["RR_LoopStart"]["prompt"] == "a red circle"
    check_negative(kinds)


@pytest.mark.parametrize(
    "change",
    [
        "n.sampler.widgets.find(w => w.name === 'cfg').value = 1",
        "n.wanted.widgets[0].value += ' Negative prompt: dark'",
        "n.wanted.connect(0, n.sampler, n.sampler.findInputSlot('negative'))",
        "wire(n.text)",
        "wire(n.wanted)",
    ],
    ids=["no guidance", "one in the prompt", "the prompt itself", "wired", "prompt wired"],
)
def test_a_negative_prompt_that_cannot_go_round_stays(frontend: Frontend, checkpoint: str, change: str) -> None:
    before, made = looped(frontend, checkpoint, change)
    kinds = check_loop(made)
    assert "refined_negative" not in kinds["RR_LoopUntilScore"]
    assert texts(made)[1] == texts(before)[1] != [kinds["RR_LoopStart"]["id"], 6]


def test_a_subgraph_before_the_sampler_is_no_obstacle(frontend: Frontend, checkpoint: str) -> None:
    """The page's own `getInputNode` of a subgraph node answers for its outputs, and fails where there are fewer of them."""
    frontend.page.reload()
    frontend.wait()
    frontend.load(frontend.build(ordinary(checkpoint))["ui"])
    frontend.page.evaluate(
        """() => { const text = app.graph.nodes.find(n => n.type === 'CLIPTextEncode' && n.widgets[0].value.includes('watermark'));
          app.graph.convertToSubgraph(new Set([text])); }"""
    )
    frontend.page.wait_for_timeout(300)
    assert frontend.page.evaluate("() => app.graph.nodes.some(n => n.subgraph && n.inputs.length >= n.outputs.length)")
    frontend.page.evaluate(f"type => {{ ({OFFERED})(type)[0].callback(); }}", "KSampler")
    frontend.page.wait_for_timeout(600)
    kinds = check_loop(frontend.prompt())
    assert kinds["RR_LoopStart"]["prompt"] == "a red circle\nNegative prompt: text, watermark"
    assert [kinds["RR_LoopStart"]["id"], 6] in texts(frontend.prompt())
    assert frontend.errors == []


def test_no_loop_is_offered_where_there_is_no_prompt_or_seed(frontend: Frontend) -> None:
    graph = {
        "id": "00000000-0000-4000-8000-000000000089",
        "name": "none",
        "nodes": {"image": node("LoadImage", [0, 0]), "shown": node("PreviewImage", [400, 0], images="image.IMAGE")},
        "groups": [],
    }
    frontend.load(frontend.build(graph)["ui"])
    assert frontend.page.evaluate(OFFERED, "LoadImage") == [None]
