"""An adapter judges with all of its weights or not at all; peft alone would leave out what does not fit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rationalrewards_core.backends import adapter as adapters
from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature import scorer_folder
from training.sft.artefacts import merge

pytestmark = pytest.mark.model
Weights = dict[str, torch.Tensor]
RUBRIC = make_rubrics(EngineName("miniature"))["generation"]
PREFIX = "base_model.model."


def make_adapter(folder: Path, **options: Any) -> Path:
    """An adapter of peft's own making with weights that matter."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **options}
    model = load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision="fp32", device="cpu")).model
    torch.manual_seed(0)
    tuned = peft.get_peft_model(model, peft.LoraConfig(init_lora_weights=False, **settings))
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "plain")


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "adapter"))


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def renamed(old: str, new: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name.replace(old, new): weight for name, weight in weights.items()}


def load(adapter: Path | None, precision: str = "fp32") -> Any:
    config = CheckpointConfig(
        model=str(scorer_folder()), precision=precision, device="cpu", adapter=None if adapter is None else str(adapter)
    )  # type: ignore[arg-type]
    return load_checkpoint(config)


def logits(adapter: Path | None, precision: str = "fp32") -> torch.Tensor:
    checkpoint = load(adapter, precision)
    messages = critique_messages(UserRequest("a large red circle"), Image.new("RGB", (48, 48), "red"), RUBRIC)
    with torch.inference_mode():
        found: torch.Tensor = checkpoint.model(**model_inputs(checkpoint, [messages])).logits[0, -1].float()
    return found


def with_nan(weights: Weights) -> Weights:
    next(iter(weights.values()))[0, 0] = float("nan")
    return weights


def with_extra(weights: Weights) -> Weights:
    name = f"{PREFIX}model.language_model.layers.99.self_attn.q_proj.lora_A.weight"
    return {**weights, name: torch.zeros(4, 192)}


MISFITS: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "empty": (lambda weights: {}, "holds no weights"),
    "ComfyUI's names": (renamed(PREFIX, "diffusion_model."), r"diffusion_model\.\S+lora_A\.weight fits nowhere"),
    "no prefix": (
        renamed(PREFIX, ""),
        r"model\.language_model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight fits nowh",
    ),
    "a layer too many": (with_extra, r"layers\.99\.\S+ fits nowhere"),
    "half": (lambda w: {n: t for n, t in w.items() if ".layers.2." not in n}, r"lacks \S+layers\.2\.\S+lora_A\.weight"),
    "one missing": (
        lambda w: {n: t for n, t in w.items() if "layers.3.self_attn.v_proj.lora_B" not in n},
        r"lacks \S+layers\.3\.self_attn\.v_proj\.lora_B\.weight\.",
    ),
    "NaN": (with_nan, r"lora_A\.weight holds values that are no numbers"),
    "zeros": (
        lambda weights: {name: torch.zeros_like(weight) for name, weight in weights.items()},
        "all of its weights are zero",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_an_adapter_that_does_not_fit_is_refused_by_the_name_of_a_weight(kind: str, copy: Path) -> None:
    change, named = MISFITS[kind]
    rewrite(copy, change)
    with pytest.raises(BackendError, match=named) as caught:
        load(copy)
    assert caught.value.reason == "load_failed"
    assert "\n" not in str(caught.value)


def test_merging_refuses_the_same(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, renamed(PREFIX, "diffusion_model."))
    with pytest.raises(BackendError, match="fits nowhere"):
        merge(str(scorer_folder()), copy, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_another_rank_than_the_config_says_is_refused(copy: Path) -> None:
    edit(copy, r=16)
    with pytest.raises(BackendError, match=r"has the shape \(4, 192\) where \(16, 192\) is needed"):
        load(copy)


@pytest.mark.parametrize(
    "names",
    [("model.language_model.layers.", "model.layers."), ("model.language_model.", "language_model.model.")],
)
def test_a_text_only_model_names_the_same_layers(names: tuple[str, str], copy: Path, plain: Path) -> None:
    rewrite(copy, renamed(PREFIX + names[0], PREFIX + names[1]))
    assert torch.equal(logits(copy), logits(plain))
    assert not torch.equal(logits(copy), logits(None))


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"target_modules": r".*language_model.*\.(q_proj|o_proj)"},
        {"target_modules": ["q_proj"], "layers_to_transform": [0]},
        {"rank_pattern": {r"layers\.[01]\.self_attn\.q_proj": 8}, "alpha_pattern": {"q_proj": 32}},
        {"modules_to_save": ["lm_head"]},
        {"lora_bias": True},
    ],
    ids=lambda options: "-".join(options),
)
def test_adapters_of_every_kind_answer_as_peft_has_them(options: dict[str, Any], tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", **options)
    checkpoint = load(None)
    messages = critique_messages(UserRequest("a large red circle"), Image.new("RGB", (48, 48), "red"), RUBRIC)
    inputs = model_inputs(checkpoint, [messages])
    base = logits(None)
    tuned = peft.PeftModel.from_pretrained(checkpoint.model, str(folder)).eval()
    with torch.inference_mode():
        wanted = tuned(**inputs).logits[0, -1].float()
    torch.testing.assert_close(logits(folder), wanted, atol=2e-3, rtol=1e-3)
    assert (wanted - base).abs().max() > 0.05


def test_biases_of_an_adapter_judge_and_cannot_be_merged(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", lora_bias=True)
    assert not torch.equal(logits(folder), logits(None))
    with pytest.raises(ConfigError, match="lora_bias"):
        merge(str(scorer_folder()), folder, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_dora_without_its_magnitudes_is_refused(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", use_dora=True)
    first = "layers.0.self_attn.q_proj.lora_magnitude_vector"

    def without(part: str) -> Callable[[Weights], Weights]:
        def kept(weights: Weights) -> Weights:
            left = {name: weight for name, weight in weights.items() if part not in name}
            assert len(left) < len(weights)
            return left

        return kept

    rewrite(folder, without(first))
    with pytest.raises(BackendError, match=rf"lacks \S+{re.escape(first)}\.$"):
        load(folder)
    rewrite(folder, without("lora_magnitude_vector"))
    with pytest.raises(BackendError, match=rf"lacks \S+{re.escape(first)} \(and \d+ more\)"):
        load(folder)


def test_magnitudes_that_the_config_does_not_know_are_refused(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", use_dora=True)
    edit(folder, use_dora=False)
    with pytest.raises(BackendError, match=r"lora_magnitude_vector\S* fits nowhere"):
        load(folder)


def test_biases_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", lora_bias=True)
    rewrite(folder, lambda weights: {name: w for name, w in weights.items() if "lora_B.bias" not in name})
    with pytest.raises(BackendError, match=r"lacks \S+lora_B\.bias \(and"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_alpha": float("nan")}, "lora_alpha .* must be a number other than 0, not nan"),
        ({"lora_alpha": float("inf")}, "not inf"),
        ({"lora_alpha": 0}, "lora_alpha .* not 0;"),
        ({"lora_alpha": 10**400}, "lora_alpha .* must be a number"),
        ({"lora_alpha": "8"}, "lora_alpha .* not '8'"),
        ({"lora_alpha": True}, "lora_alpha .* not True"),
        ({"lora_alpha": None}, "lora_alpha .* not None"),
        ({"r": 0}, "r in the adapter_config.json .* must be a whole number above 0, not 0"),
        ({"r": -4}, "not -4"),
        ({"r": 4.5}, r"not 4\.5"),
        ({"r": [4]}, r"not \[4\]"),
        ({"alpha_pattern": {"q_proj": float("nan")}}, "alpha_pattern of q_proj .* not nan"),
        ({"alpha_pattern": [1]}, "alpha_pattern .* is no table"),
        ({"rank_pattern": {"q_proj": "many"}}, "rank_pattern of q_proj .* not 'many'"),
    ],
    ids=str,
)
def test_a_strength_that_is_no_number_of_use_is_refused(changes: dict[str, Any], message: str, copy: Path) -> None:
    """peft multiplies all that an adapter learned by alpha over rank: NaN judges nothing, 0 judges as the base."""
    edit(copy, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_an_adapter_that_learned_nothing_is_whole_and_changes_nothing(copy: Path) -> None:
    """As peft begins them: numbers in lora_A, zeros in lora_B. A strength below 0 takes away what was learned."""
    edit(copy, lora_alpha=-0.5)
    assert not torch.equal(logits(copy), logits(None))
    rewrite(copy, lambda weights: {n: torch.zeros_like(w) if "lora_B" in n else w for n, w in weights.items()})
    torch.testing.assert_close(logits(copy), logits(None))


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules", "alpha_pattern"])
def test_a_pattern_that_never_ends_is_refused(key: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "PATTERN_SECONDS", 0.1)
    endless = r"((\w|\.|[a-z])*)*\d$"
    edit(copy, **{key: {endless: 8} if key == "alpha_pattern" else endless})
    with pytest.raises(ConfigError, match=f"{key} .* takes for ever"):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_modules": "(("}, "no regular expression"),
        ({"target_modules": "nothing_like_it"}, "no layer has a name"),
        ({"modules_to_save": ["(lm|head)+"]}, "only plain names"),
        ({"peft_type": "IA3"}, "only LORA is taken"),
    ],
)
def test_a_config_that_cannot_be_used_is_told_in_one_sentence(
    changes: dict[str, Any], message: str, copy: Path
) -> None:
    edit(copy, **changes)
    with pytest.raises((BackendError, ConfigError), match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_a_folder_without_its_weights_asks_no_hub(copy: Path) -> None:
    (copy / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has no adapter_model\.safetensors"):
        load(copy)
