"""The benchmark for one GPU runs through on the CPU at tiny shapes: every precision, every way of decoding, an NFT step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")
pytest.importorskip("bitsandbytes")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from benchmarks import gpu
from rationalrewards_core.backends.decoding.pass_cost import WIDTHS, PassCost

WAYS = ["plain generate()", "before", "ours: first critique", "ours: second critique"]


@pytest.mark.slow
def test_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "gpu.json"
    options = ["--shape", "tiny", "--device", "cpu", "--batches", "1,2", "--tokens", "24", "--json", str(output)]
    monkeypatch.setattr("sys.argv", ["gpu", *options])
    monkeypatch.setattr(PassCost, "relative", lambda *_: 1.0)  # how wide passes are shall not depend on a busy machine
    gpu.main()
    figures = json.loads(output.read_text(encoding="utf-8"))
    assert "One NFT step" in capsys.readouterr().out
    for precision, batches in {"bf16": [1, 2], "nf4": [1, 2], "int8": [1]}.items():
        judged = figures[precision]
        assert list(judged["passes"]) == list(map(str, WIDTHS))
        assert all(plain > 0 and recorded is None for plain, recorded in judged["passes"].values())
        assert [(row["batch"], row["way"]) for row in judged["critiques"]] == [(b, w) for b in batches for w in WAYS]
        for row in judged["critiques"]:
            assert row["seconds"] > 0
            assert row["seconds"] == pytest.approx(row["batch"] * row["s per critique"])
            if row["way"] == "ours: second critique":
                assert row["tokens per pass"] > 1.5, "the first critique's words are drafted"
    assert figures["nft"]["three policies apart: seconds"] > 0
    assert figures["nft"]["first step, all equal: seconds"] > 0
