"""Miniature Generate: pictures by diffusion and by the renderer, known to ComfyUI, and interrupted between pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.comfy_stub import ExecutionBlocker, InterruptProcessingException, Pack

PROMPT = "a large red circle left of a small blue square"


@pytest.fixture
def generate(pack: Pack) -> Any:
    node = pack.module("nodes.miniature_generate").MiniatureGenerate
    defaults = {entry.id: entry.default for entry in node.define_schema().inputs}
    return lambda **typed: node.execute(**{**defaults, "prompt": PROMPT, **typed})


class Drawer:
    """Instead of the weights: remembers what it was asked."""

    def __init__(self, on_call: Any = lambda: None) -> None:
        self.calls: list[list[int]] = []
        self.tunings: list[tuple[Path | None, float]] = []
        self.on_call = on_call

    def tune(self, lora: Path | None, strength: float = 1.0) -> None:
        self.tunings.append((lora, strength))

    def generate_many(self, requests: list[str], seeds: list[int]) -> list[Any]:
        from PIL import Image

        self.calls.append(seeds)
        self.on_call()
        return [Image.new("RGB", (48, 48), (seed % 256, 0, 0)) for seed in seeds]


@pytest.fixture
def drawer(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> Drawer:
    drawer = Drawer()
    resident = pack.module("nodes.models.miniature").GENERATOR
    monkeypatch.setattr(resident, "_generator", drawer)
    monkeypatch.setattr(resident, "_tuned", None)
    return drawer


@pytest.fixture
def lora(pack: Pack) -> Iterator[Path]:
    """A file in models/loras; nobody reads what is in it."""
    import folder_paths

    file = Path(folder_paths.get_folder_paths("loras")[0]) / "runs" / "tuned.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"first")
    yield file
    file.unlink()
    file.parent.rmdir()


def test_a_batch_counts_its_seeds(generate: Any, drawer: Drawer) -> None:
    image = generate(seed=2**64 - 2, batch_size=6)[0]
    assert image.shape == (6, 48, 48, 3)
    assert drawer.calls == [[2**64 - 2, 2**64 - 1, 0, 1], [2, 3]]


def test_it_is_known_to_model_management_and_can_be_evicted(pack: Pack, generate: Any, drawer: Drawer) -> None:
    import comfy.model_management as management

    resident = pack.module("nodes.models.miniature").GENERATOR
    generate()
    patcher = management.loads[-1]
    assert patcher.loaded_size() == resident.size > 1_000_000
    patcher.detach()
    assert not resident.present
    assert patcher.loaded_size() == 0


def test_an_interrupt_is_obeyed_between_pictures(generate: Any, drawer: Drawer) -> None:
    import comfy.model_management as management

    drawer.on_call = lambda: setattr(management, "interrupted", True)
    with pytest.raises(InterruptProcessingException):
        generate(batch_size=64)
    assert len(drawer.calls) == 1


def test_scale_makes_squares_of_pixels(generate: Any) -> None:
    small, large = generate(method="render")[0], generate(method="render", scale=3)[0]
    assert large.shape == (1, 144, 144, 3)
    assert large[:, ::3, ::3].equal(small)
    assert large[:, 2::3, 1::3].equal(small)


def test_render_is_exact_and_has_no_source(generate: Any) -> None:
    image, source = generate(method="render", batch_size=2).args
    assert image.shape == (2, 48, 48, 3)
    assert not image[0].equal(image[1])
    assert isinstance(source, ExecutionBlocker)


def test_render_an_edit(pack: Pack, generate: Any) -> None:
    edit = {"method": "render an edit", "edit": "make the circle green"}
    image, source = generate(**edit, batch_size=3).args
    assert image.shape == (3, 48, 48, 3)
    assert source.shape == (1, 48, 48, 3)
    assert generate(**edit, seed=99)[1].equal(source), "another seed edits the same picture"
    with pytest.raises(pack.core("errors").RequestError, match="needs an edit"):
        generate(method="render an edit")


@pytest.mark.parametrize("method", ["draw", "render"])
def test_a_prompt_without_a_shape_is_refused(pack: Pack, generate: Any, drawer: Drawer, method: str) -> None:
    with pytest.raises(pack.core("errors").OutOfScopeError, match="does not know 'castle'"):
        generate(prompt="a castle", method=method)


def test_words_beside_a_shape_are_left_to_the_model(pack: Pack, generate: Any, drawer: Drawer) -> None:
    """A judge of another world writes such prompts; a loop must not die of one."""
    assert generate(prompt="a red circle, cinematic light")[0].shape == (1, 48, 48, 3)
    with pytest.raises(pack.core("errors").RequestError, match="The miniature only knows requests such as"):
        generate(prompt="a red circle, cinematic light", method="render")


def test_a_lora_is_put_on_once_and_taken_off(pack: Pack, generate: Any, drawer: Drawer, lora: Path) -> None:
    node = pack.module("nodes.miniature_generate").MiniatureGenerate
    offered = next(entry for entry in node.define_schema().inputs if entry.id == "lora")
    assert offered.options == ["none", "runs/tuned.safetensors"]
    chosen = {"lora": "runs/tuned.safetensors", "strength": 0.5}
    for _ in range(2):
        generate(**chosen, batch_size=6)
    assert drawer.tunings == [(lora, 0.5)]
    os.utime(lora, ns=(1, 1))
    generate(**chosen)
    generate()
    generate()
    assert drawer.tunings == [(lora, 0.5), (lora, 0.5), (None, 1.0)]


def test_a_lora_that_is_gone_is_named(pack: Pack, generate: Any, drawer: Drawer) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match=r"no LoRA 'gone\.safetensors' in models/loras"):
        generate(lora="gone.safetensors")
    assert drawer.calls == []


@pytest.mark.model
@pytest.mark.slow
def test_the_shipped_generator_draws(pack: Pack, generate: Any) -> None:
    pytest.importorskip("diffusers")
    first, again, other = generate(seed=3)[0], generate(seed=3)[0], generate(seed=4)[0]
    assert first.equal(again)
    assert not first.equal(other)
    pack.module("nodes.models.miniature").GENERATOR.leave()
