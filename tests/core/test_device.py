"""What `auto` means on this machine: the floating point the CPU has instructions for, and who says so."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.device import fast_autocast, fast_precision, resolve_precision
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.cli.parser import build_parser
from rationalrewards_core.engines import EngineName, EngineOptions, make_backend
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import scorer_folder

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file(), reason="only Linux lists its processor's instructions")
def test_a_cpu_computes_in_bf16_only_if_the_kernel_lists_the_instructions() -> None:
    flags = set(CPUINFO.read_text().replace(":", " ").split())
    has_bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    assert fast_precision("cpu") == ("bf16" if has_bf16 else "fp32")


def test_other_precisions_mean_what_they_say() -> None:
    assert [resolve_precision(name, "cpu") for name in ("bf16", "nf4", "fp16")] == ["bf16", "nf4", "fp16"]
    assert resolve_precision("auto", "cpu") == fast_precision("cpu")
    with pytest.raises(ConfigError, match="Device 'nowhere' is not available here"):
        resolve_precision("auto", "nowhere")


@pytest.mark.model
def test_an_engine_nobody_set_loads_what_is_fast_and_says_it() -> None:
    engine = make_backend(EngineName("miniature"), EngineOptions(device="cpu"))
    assert isinstance(engine, TransformersLocal)
    fast = fast_precision("cpu")
    assert engine.load().model.dtype == DTYPES[fast]
    assert f":{fast}:" in engine.identity
    explicit = make_backend(EngineName("miniature"), EngineOptions(device="cpu", precision=fast))
    assert explicit.identity == engine.identity
    engine.unload()


@pytest.mark.model
@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_what_is_not_quantised_stays_in_what_is_fast(precision: str) -> None:
    pytest.importorskip("bitsandbytes")
    config = CheckpointConfig(model=str(scorer_folder()), device="cpu", precision=precision)  # type: ignore[arg-type]
    model = load_checkpoint(config).model
    fast = DTYPES[fast_precision("cpu")]
    assert {parameter.dtype for parameter in model.model.visual.parameters()} == {fast}
    assert model.lm_head.weight.dtype == fast
    if precision == "nf4":
        assert model.model.language_model.layers[0].mlp.up_proj.compute_dtype == fast


def test_autocast_is_off_where_it_would_be_slower() -> None:
    with fast_autocast("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == DTYPES[fast_precision("cpu")]
    with fast_autocast("cpu", enabled=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_the_command_line_leaves_it_to_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_parser().parse_args(["serve"]).precision == "auto"
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "fp32 on a CPU without bf16" in " ".join(capsys.readouterr().out.split())
