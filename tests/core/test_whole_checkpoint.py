"""What judges is whole: a checkpoint with missing, foreign, misshapen or broken weights is refused by name."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file

from rationalrewards_core import Case, Critique, Unscored, UserRequest, make_scorer
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint
from rationalrewards_core.engines import EngineOptions
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_generation
from rationalrewards_core.scorer_settings import ScorerSettings

pytestmark = pytest.mark.model
Weights = dict[str, torch.Tensor]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(scorer_folder(), tmp_path / "judge"))


def edit(file: Path, **changes: Any) -> None:
    table = json.loads(file.read_text(encoding="utf-8"))
    table.update(changes)
    file.write_text(json.dumps(table), encoding="utf-8")


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def load(folder: Path, **options: Any) -> Checkpoint:
    return load_checkpoint(CheckpointConfig(model=str(folder), device="cpu", **{"precision": "fp32", **options}))


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: weight for name, weight in weights.items()}


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: weight for name, weight in weights.items() if part not in name}


def as_comfy(weights: Weights) -> Weights:
    return {name.replace("model.language_model.", "model."): weight for name, weight in weights.items()}


def narrower(weights: Weights) -> Weights:
    name = "model.language_model.layers.1.self_attn.q_proj.weight"
    return {**weights, name: weights[name][:, :-2].contiguous()}


def with_extra(weights: Weights) -> Weights:
    return {**weights, "v_head.summary.weight": torch.zeros(1, 192)}


BROKEN: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "nothing in it": (lambda weights: {}, r"lacks lm_head\.weight \(and \d+ more\)"),
    "no vision tower": (without("visual"), r"lacks model\.visual\.blocks\.0\."),
    "a layer missing": (without(".layers.2."), r"lacks model\.language_model\.layers\.2\.input_layernorm\.weight"),
    "saved under DDP": (prefixed("module."), r"holds module\.model\.language_model\.embed_tokens\.weight"),
    "saved under peft": (prefixed("base_model.model."), r"holds base_model\.model\.model\."),
    "ComfyUI's names": (as_comfy, r"holds model\.embed_tokens\.weight, which fits nowhere"),
    "another model's layer": (with_extra, r"holds v_head\.summary\.weight, which fits nowhere"),
    "misshapen": (narrower, r"q_proj\.weight has the shape \(192, 190\) where \(192, 192\)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_checkpoint_that_is_not_whole_is_refused_by_the_name_of_a_weight(kind: str, copy: Path) -> None:
    change, named = BROKEN[kind]
    rewrite(copy, change)
    with pytest.raises(BackendError, match=named) as caught:
        load(copy)
    assert caught.value.reason == "load_failed"
    assert "\n" not in str(caught.value)


def test_an_untied_checkpoint_without_a_head_is_refused(copy: Path) -> None:
    text = json.loads((copy / "config.json").read_text())["text_config"]
    edit(copy / "config.json", tie_word_embeddings=False, text_config={**text, "tie_word_embeddings": False})
    with pytest.raises(BackendError, match=r"lacks lm_head\.weight;"):
        load(copy)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_at_every_precision(precision: str, value: float, copy: Path) -> None:
    if precision in ("int8", "nf4"):
        pytest.importorskip("bitsandbytes")
    name = "model.language_model.layers.1.self_attn.q_proj.weight"

    def break_one(weights: Weights) -> Weights:
        weights[name][3, 5] = value
        return weights

    rewrite(copy, break_one)
    with pytest.raises(BackendError, match=r"q_proj\.weight holds values that are no numbers"):
        load(copy, precision=precision)


def test_whole_numbers_without_their_scales_are_no_weights(copy: Path) -> None:
    """transformers would take them as they are: a judge of such weights scores, and its scores are nothing."""
    name = "model.language_model.layers.1.self_attn.q_proj.weight"
    rewrite(copy, lambda weights: {**weights, name: (weights[name] * 100).to(torch.int8)})
    with pytest.raises(
        BackendError, match=rf"quantised in a way that its config\.json does not say: {re.escape(name)}"
    ):
        load(copy)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4"])
@pytest.mark.parametrize("part", ["language_model.layers.1.mlp.up_proj", "visual.blocks.0.attn.qkv"])
def test_a_matrix_of_one_value_is_refused_at_every_precision(precision: str, part: str, copy: Path) -> None:
    """A download that made the file at its full size and then broke off leaves zeros."""
    if precision in ("int8", "nf4"):
        pytest.importorskip("bitsandbytes")
    name = f"model.{part}.weight"
    rewrite(copy, lambda weights: {**weights, name: torch.zeros_like(weights[name])})
    with pytest.raises(BackendError, match=rf"{re.escape(name)} holds one and the same value throughout") as caught:
        load(copy, precision=precision)
    assert caught.value.reason == "load_failed"


def test_vectors_of_one_value_are_whole(copy: Path) -> None:
    """Biases of zero and norms of one are what training begins with, and may stay."""

    def untouched(weights: Weights) -> Weights:
        norms = {name: torch.ones_like(w) for name, w in weights.items() if w.ndim == 1 and "norm" in name}
        biases = {name: torch.zeros_like(w) for name, w in weights.items() if name.endswith("bias")}
        assert norms
        assert biases
        return {**weights, **norms, **biases}

    rewrite(copy, untouched)
    load(copy)


def test_large_weights_are_numbers(copy: Path) -> None:
    """Their sum overflows; they do not."""

    def enlarge(weights: Weights) -> Weights:
        weights["model.language_model.norm.weight"] = torch.full((192,), 3e38, dtype=torch.bfloat16)
        return weights

    rewrite(copy, enlarge)
    load(copy)


def test_a_broken_checkpoint_scores_nothing_and_fails_every_case(copy: Path) -> None:
    rewrite(copy, without("visual"))
    scorer = make_scorer(f"local:{copy}", EngineOptions(precision="fp32", device="cpu"))
    case = Case(UserRequest("a large red circle"), Image.new("RGB", (48, 48)))
    outcomes = asyncio.run(scorer.score_many([case, case])).outcomes
    assert all(isinstance(outcome, Unscored) and outcome.reason == "load_failed" for outcome in outcomes)


def test_files_that_lie_beside_the_weights_are_asked_for(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(BackendError, match=r"copy chat_template\.jinja"):
        load(copy)
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match="copy that of the model"):
        load(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no \*\.safetensors file"):
        load(copy)


def test_a_pointer_in_place_of_the_weights_is_told(copy: Path) -> None:
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 7628728\n")
    with pytest.raises(BackendError, match="get its files again"):
        load(copy)


def pictures(count: int) -> list[Case]:
    rng = np.random.default_rng([900_001, 6, 0])
    examples = [sample_generation(rng) for _ in range(count)]
    return [Case(UserRequest(one.request), Image.fromarray(one.picture)) for one in examples]


def scores(folder: Path) -> list[Any]:
    options = EngineOptions(precision="fp32", device="cpu")
    scorer = make_scorer(f"local:{folder}", options, settings=ScorerSettings(max_tokens=300, ask_again=0))

    async def judged() -> Any:
        try:
            return (await scorer.score_many(pictures(4), "score")).outcomes
        finally:
            await scorer.close()

    outcomes = asyncio.run(judged())
    assert all(isinstance(outcome, Critique) for outcome in outcomes)
    # How the cases fell into batches may move the last digits.
    return [(o.raw, [j.expected and round(j.expected, 3) for j in o.judgements]) for o in outcomes]


@pytest.fixture(scope="module")
def right() -> list[Any]:
    return scores(scorer_folder())


def test_a_decoding_setting_of_the_checkpoint_changes_nothing(copy: Path, right: list[Any]) -> None:
    edit(
        copy / "generation_config.json",
        do_sample=True,
        temperature=0.7,
        top_p=0.8,
        top_k=20,
        repetition_penalty=1.5,
        num_beams=3,
        no_repeat_ngram_size=3,
        min_new_tokens=250,
        suppress_tokens=[20, 21, 22],
        begin_suppress_tokens=[23],
        bad_words_ids=[[30]],
        sequence_bias=[[[31], -5.0]],
        forced_eos_token_id=5,
        exponential_decay_length_penalty=[5, 1.5],
        max_length=20,
        use_cache=False,
    )
    edit(copy / "tokenizer_config.json", clean_up_tokenization_spaces=True)
    assert scores(copy) == right


def test_the_older_template_file_and_a_missing_pad_token_are_no_obstacle(copy: Path, right: list[Any]) -> None:
    template = (copy / "chat_template.jinja").read_text(encoding="utf-8")
    (copy / "chat_template.jinja").unlink()
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    for file, key in (("tokenizer_config.json", "pad_token"), ("generation_config.json", "pad_token_id")):
        table = json.loads((copy / file).read_text())
        del table[key]
        (copy / file).write_text(json.dumps(table))
    assert scores(copy) == right


def quantised(folder: Path, four: bool) -> None:
    """Write the miniature over a copy of itself as bitsandbytes quantises it."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("bitsandbytes")
    how = transformers.BitsAndBytesConfig(load_in_4bit=four, load_in_8bit=not four, bnb_4bit_quant_type="nf4")
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        scorer_folder(), quantization_config=how, dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)


def test_a_quantised_folder_keeps_its_own_precision_and_says_so(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    quantised(copy, four=True)
    with caplog.at_level(logging.WARNING, "rationalrewards"):
        kept = load(copy, precision="bf16").model
    assert "quantised already (bitsandbytes nf4)" in caplog.text
    layer = dict(kept.named_modules())["model.language_model.layers.0.self_attn.q_proj"]
    assert type(layer).__name__ == "Linear4bit"
    load(copy, precision="nf4")  # it is what it says
    with pytest.raises(ConfigError, match=r"quantised already \(bitsandbytes nf4\)"):
        load(copy, precision="int8")


def test_a_folder_of_another_quantisation_is_not_quantised_again(copy: Path) -> None:
    edit(copy / "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(ConfigError, match=r"quantised already \(awq\).*choose precision auto"):
        load(copy, precision="nf4")


def test_a_head_of_our_own_is_whole_too(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from training.rewards.picture_head import FILE, ScalarHead, scalar_judge

    weights = ScalarHead().state_dict()
    first = next(iter(weights))
    save_file({name: weight for name, weight in weights.items() if name != first}, tmp_path / FILE)
    with pytest.raises(BackendError, match=rf"does not fit: Missing key\(s\).*{re.escape(first)}"):
        scalar_judge(tmp_path)
    save_file({**weights, first: torch.full_like(weights[first], float("nan"))}, tmp_path / FILE)
    with pytest.raises(BackendError, match=f"{re.escape(first)} holds values that are no numbers"):
        scalar_judge(tmp_path)
    save_file({**weights, first: torch.zeros_like(weights[first])}, tmp_path / FILE)
    with pytest.raises(BackendError, match=f"{re.escape(first)} holds one and the same value throughout"):
        scalar_judge(tmp_path)
    save_file(weights, tmp_path / FILE)
    scalar_judge(tmp_path)
