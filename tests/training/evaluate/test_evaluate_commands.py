"""The commands of the evaluation: settings, leakage, judging the miniature."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from tests.training.evaluate.judging import DARK
from tests.training.sft.exports import labelled_pairs, png, write_export
from training.data.labelled_pairs import LabelledPair, PairFolder, write_pairs
from training.data.pairs import PreferencePair
from training.data.store import ImageStore
from training.evaluate.__main__ import main
from training.evaluate.gate import gate
from training.evaluate.leakage import leakage
from training.evaluate.running import JudgeSettings


class TestSettings:
    def test_names_tell_judges_apart(self) -> None:
        names = [
            JudgeSettings(judge="local:models/mine", precision="nf4").name,
            JudgeSettings(judge="local:models/mine", adapter="runs/a/adapter").name,
            JudgeSettings(judge="head:runs/a/head").name,
            JudgeSettings(judge="head:runs/b/head").name,
            JudgeSettings(judge="server:gpt").name,
        ]
        fast = resolve_precision("auto")
        assert names == ["mine nf4", f"mine {fast} + a/adapter", "head a/head", "head b/head", "server:gpt"]

    def test_the_gate_wants_a_model_it_can_load(self, folder: PairFolder) -> None:
        with pytest.raises(ConfigError, match="The gate needs a model it can load itself"):
            gate(JudgeSettings(judge="server:gpt"), ["bf16"], folder, folder.pairs(), folder.path / "out")


class TestLeakage:
    def test_requests_and_pixels_are_found(self, folder: PairFolder, tmp_path: Path) -> None:
        training = tmp_path / "training"
        store = ImageStore(training)
        other, same = (store.add(png(np.full((8, 8, 3), shade, np.uint8))) for shade in (90, DARK))
        fresh = PreferencePair(request="unseen", first=other, second=other, preference=Verdict.A, origin="t")
        asked = PreferencePair(request="REQUEST  3", first=other, second=other, preference=Verdict.A, origin="t")
        write_pairs([LabelledPair(fresh, "train"), LabelledPair(asked, "train")], training)
        found = leakage(folder, folder.pairs("test"), PairFolder(training))
        assert found.requests == (folder.pairs("test")[3].pair.key,)
        assert found.images == ()
        seen = PreferencePair(request="unseen", first=other, second=same, preference=Verdict.A, origin="t")
        write_pairs([LabelledPair(seen, "train")], training)
        assert len(leakage(folder, folder.pairs("test"), PairFolder(training)).images) == 6

    def test_held_out_splits_of_the_export_are_no_leak(self, folder: PairFolder) -> None:
        pairs = folder.pairs("test")
        fresh = PreferencePair(
            request="unseen", first="images/none.png", second="images/none.png", preference=Verdict.A, origin="t"
        )
        write_pairs([*pairs, LabelledPair(fresh, "train")], folder.path)
        found = leakage(folder, pairs, folder)
        assert found.clean
        assert found.unreadable == 1

    def test_the_command_ends_in_2(self, folder: PairFolder, capsys: pytest.CaptureFixture[str]) -> None:
        write_pairs([LabelledPair(p.pair, "train") for p in folder.pairs()], folder.path)
        assert main(["leakage", str(folder.path), str(folder.path)]) == 2
        assert "6 of 6 pairs have a request that occurs in training" in capsys.readouterr().out


@pytest.mark.model
class TestCommands:
    def test_judge_report_and_gate_on_the_miniature(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "pairs"
        write_export(folder, train=1, dev_pairs=4)
        out = tmp_path / "results"
        gate = ["gate", str(folder), "--split", "dev", "--out", str(out), "--device", "cpu", "--max-tokens", "300"]
        code = main([*gate, "--precisions", "bf16", "nf4"])
        table = capsys.readouterr().out
        assert "| bf16 | " in table
        assert "rank correlation" in table
        assert code == (0 if table.count("| pass |") == 2 else 2)
        judged = ["judge", str(folder), "--split", "dev", "--out", str(out), "--device", "cpu", "--max-tokens", "300"]
        before = (out / "miniature_bf16_pointwise.jsonl").read_text()
        assert main(judged) == 0
        assert (out / "miniature_bf16_pointwise.jsonl").read_text() == before, "known opinions are not asked again"
        assert main(["report", str(out)]) == 0
        shown = capsys.readouterr().out
        for protocol in ("forced", "half", "decided", "three-class"):
            assert f"tie protocol `{protocol}`" in shown
        assert "miniature bf16 pointwise" in shown
        assert json.loads((out / "miniature_bf16_pointwise.json").read_text())["cost"]["replies"] == 2.0
        assert (out / "report.md").read_text() == shown.split("results: " + str(out) + "\n")[1].removesuffix("\n")

    def test_retest_needs_a_temperature(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        store = ImageStore(tmp_path)
        write_pairs(labelled_pairs(store, 2), tmp_path)
        assert main(["retest", str(tmp_path), "--device", "cpu"]) == 1
        assert "A retest needs a temperature above 0" in capsys.readouterr().err
        warm = [
            "retest",
            str(tmp_path),
            "--device",
            "cpu",
            "--temperature",
            "0.8",
            "--times",
            "2",
            "--max-tokens",
            "300",
        ]
        assert main(warm) == 0
        assert "asked 2 times about 2 pairs" in capsys.readouterr().out
