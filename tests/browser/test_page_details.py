"""Small things of the page that an artist stumbles over: what is listed, coloured, folded away, and where it jumps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend

NODE = "app.graph.nodes.find(n => n.type === '{}')"


@pytest.fixture
def loop(frontend: Frontend) -> Frontend:
    frontend.load(workflow("1_miniature_loop"))
    return frontend


def workflow(name: str) -> dict[str, Any]:
    return dict(json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8")))


def test_cards_and_films_are_no_empty_entries_of_the_side_panel(loop: Frontend) -> None:
    script = f"() => {{ const n = {NODE.format('RR_LoopUntilScore')}; app.canvas.selectNodes([n]); }}"
    loop.page.evaluate(script)
    commands = loop.page.evaluate("() => app.extensionManager.command.commands.map(c => c.id)")
    toggles = [name for name in commands if "RightSidePanel" in name or "PropertiesPanel" in name]
    loop.page.keyboard.press("Escape")
    loop.page.evaluate(script)
    button = loop.page.locator(
        "button[aria-label='Toggle properties panel'], button[aria-label='Toggle right side panel']"
    )
    if button.count():
        button.first.click()
    elif toggles:
        loop.page.evaluate("name => app.extensionManager.command.execute(name)", toggles[0])
    else:
        pytest.skip("this frontend has no side panel")
    loop.page.wait_for_timeout(800)
    shown = loop.page.locator("body").inner_text()
    assert "max_iterations" in shown, "the panel is open"
    assert "rr_filmstrip" not in shown
    if button.count():
        button.first.click()


def test_the_packs_wires_have_colours_of_their_own_under_every_palette(loop: Frontend) -> None:
    seen = "() => ['RR_SCORER', 'RR_CRITIQUE', 'RR_RUBRIC', 'RR_FLOW'].map(t => app.canvas.constructor.link_type_colors[t])"
    vue = "() => getComputedStyle(document.documentElement).getPropertyValue('--color-datatype-RR_FLOW')"
    dark = loop.page.evaluate(seen)
    assert len({*dark, None, ""}) == 6, "four colours, none missing"
    setting = "name => app.extensionManager.setting.set('Comfy.ColorPalette', name)"
    loop.page.evaluate(setting, "light")
    loop.page.wait_for_timeout(900)
    assert loop.page.evaluate(seen) == dark
    assert loop.page.evaluate(vue) == dark[3]
    loop.page.evaluate(setting, "dark")
    loop.page.wait_for_timeout(500)


def test_what_few_people_turn_is_advanced(loop: Frontend) -> None:
    nodes = loop.page.evaluate("async () => (await fetch('/object_info')).json()")

    def advanced(kind: str) -> set[str]:
        inputs = {**nodes[kind]["input"].get("required", {}), **nodes[kind]["input"].get("optional", {})}
        return {name for name, spec in inputs.items() if len(spec) > 1 and spec[1].get("advanced")}

    assert advanced("RR_LoopUntilScore") >= {"patience", "minimum_gain", "keep", "refine_from"}
    assert not advanced("RR_LoopUntilScore") & {"threshold", "max_iterations", "minimum_score"}
    assert advanced("RR_PromptRefine") >= {"max_length", "index"}
    assert advanced("RR_LoadScorer") >= {"memory", "max_tokens"}
    local = next(
        one for one in nodes["RR_LoadScorer"]["input"]["required"]["engine"][1]["options"] if one["key"] == "local"
    )
    assert local["inputs"]["required"]["device"][1]["advanced"]
    assert not local["inputs"]["required"]["checkpoint"][1].get("advanced")


def test_choices_and_comments_of_the_prompt_are_resolved_as_in_the_cores_text_encoder(loop: Frontend) -> None:
    write = f"text => {{ {NODE.format('RR_LoopStart')}.widgets.find(w => w.name === 'prompt').value = text; }}"
    loop.page.evaluate(write, "a {red|red} circle // note")
    (start,) = [node for node in loop.prompt().values() if node["class_type"] == "RR_LoopStart"]
    assert start["inputs"]["prompt"].strip() == "a red circle"


def test_a_run_does_not_change_the_size_of_the_loops_node(loop: Frontend) -> None:
    size = f"() => [...{NODE.format('RR_LoopUntilScore')}.size].map(Math.round)"
    watch = f"""() => {{ window.sizes = new Set(); const node = {NODE.format("RR_LoopUntilScore")};
      node.widgets.find(w => w.name === 'max_iterations').value = 2;
      node.widgets.find(w => w.name === 'threshold').value = 1;
      window.watching = setInterval(() => window.sizes.add(node.size.map(Math.round).join(' x ')), 30); }}"""
    before = loop.page.evaluate(size)
    loop.page.evaluate(watch)
    loop.queue()
    loop.page.wait_for_function(
        "() => document.querySelectorAll('.rr-frame').length === 2"
        " && !document.querySelector('.rr-status').textContent.startsWith('Running')",
        timeout=90_000,
    )
    loop.idle()
    loop.page.wait_for_timeout(500)
    sizes = loop.page.evaluate("() => { clearInterval(window.watching); return [...window.sizes]; }")
    assert sizes == [" x ".join(map(str, before))]


def test_reports_are_shown_as_markdown(frontend: Frontend) -> None:
    frontend.load(workflow("2_miniature_edit"))
    frontend.page.wait_for_timeout(300)
    mode = f"() => {NODE.format('PreviewAny')}.widgets.find(w => w.name === 'preview_mode' || w.name === 'previewMode')?.value"
    shown = frontend.page.evaluate(mode)
    if shown is None:
        pytest.skip("this frontend shows plain text alone")
    assert shown is True


def test_a_missing_judge_is_said_before_the_run_with_the_way_to_get_it(frontend: Frontend, pictures: Path) -> None:
    frontend.load(workflow("5_sdxl_loop"))
    frontend.page.wait_for_timeout(400)
    notice = frontend.page.locator(".rr-notice")
    assert notice.count() == 1
    text = notice.inner_text()
    assert "RationalRewards-8B-T2I is not here yet." in text
    assert "hf download TIGER-Lab/RationalRewards-8B-T2I --local-dir models/LLM/RationalRewards-8B-T2I" in text
    assert notice.locator("a").get_attribute("href") == "https://huggingface.co/TIGER-Lab/RationalRewards-8B-T2I"
    frontend.show(box=[0, 380, 420, 560])
    (pictures / "judge_missing.png").write_bytes(frontend.page.screenshot())
    saved = frontend.page.evaluate("() => app.graph.serialize()")
    (values,) = [node["widgets_values"] for node in saved["nodes"] if node["type"] == "RR_LoadScorer"]
    assert not [value for value in values if "hf download" in str(value)]
    choose = f"""value => {{ const n = {NODE.format("RR_LoadScorer")}, w = n.widgets.find(w => w.name === 'engine');
      w.value = value; w.callback?.(value); n.onWidgetChanged?.('engine', value, 'local', w); }}"""
    frontend.page.evaluate(choose, "miniature")
    frontend.page.wait_for_timeout(400)
    assert notice.count() == 0
    frontend.load(workflow("7_kontext_edit_loop"))
    frontend.page.wait_for_timeout(400)
    assert "RationalRewards-8B-Edit is not here yet." in notice.inner_text()


def test_files_that_the_frontend_can_fetch_are_named_in_the_templates(frontend: Frontend) -> None:
    named = {
        model["name"]: model
        for name in ("5_sdxl_loop", "6_flux_loop", "7_kontext_edit_loop", "8_comfy_clip_loop")
        for node in workflow(name)["nodes"]
        for model in node["properties"].get("models", [])
    }
    assert {"sd_xl_base_1.0.safetensors", "flux1-dev.safetensors", "ae.safetensors"} <= set(named)
    assert all(model["url"].endswith(f"/{name}") and model["directory"] for name, model in named.items())
    frontend.load(workflow("5_sdxl_loop"))
    kept = frontend.page.evaluate(f"() => {NODE.format('CheckpointLoaderSimple')}.properties.models[0].name")
    assert kept == "sd_xl_base_1.0.safetensors"


@pytest.mark.parametrize(
    ("word", "node_id"),
    [
        ("quality", "RR_LoadScorer"),
        ("qwen", "RR_LoadScorer"),
        ("aesthetic", "RR_RationalCritique"),
        ("evaluate", "RR_MultiDimScore"),
        ("loop", "RR_LoopUntilScore"),
        ("negative prompt", "RR_PromptRefine"),
        ("compare images", "RR_CompareImages"),
    ],
)
def test_a_word_of_the_search_finds_a_node(frontend: Frontend, word: str, node_id: str) -> None:
    node = frontend.page.evaluate("async id => (await (await fetch('/object_info/' + id)).json())[id]", node_id)
    assert any(word in text.casefold() for text in (node["display_name"], *node["search_aliases"]))


def test_no_node_has_the_name_of_one_of_the_cores(frontend: Frontend) -> None:
    nodes = frontend.page.evaluate("async () => Object.values(await (await fetch('/object_info')).json())")
    ours = {node["display_name"] for node in nodes if node["name"].startswith("RR_")}
    assert ours
    assert not ours & {node["display_name"] for node in nodes if not node["name"].startswith("RR_")}
