"""The guide and the proof's arithmetic: commands are understood, settings and files exist, figures are what they say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np

from training.nft.__main__ import build_parser, resolved
from training.nft.config import NFTConfig
from training.nft.families import MODULES
from training.nft.policy import DECAYS
from training.nft.proof import Curve, ProofOptions, arm_config, figures, read_curve, write_report

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "nft.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if "-m training.nft " in line]


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line: str) -> None:
    words = shlex.split(line, comments=True)
    arguments = build_parser().parse_args(words[words.index("training.nft") + 1 :])
    assert resolved(arguments.preset, None, arguments.set)


def test_settings_families_and_files_exist() -> None:
    config = NFTConfig()
    sections = "|".join(vars(config))
    for section, name in re.findall(rf"`({sections})\.(\w+)", GUIDE):
        assert hasattr(getattr(config, section), name), f"{section}.{name}"
    table = GUIDE.split("## Families")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(MODULES)
    assert all(name in GUIDE for name in DECAYS)
    for file in re.findall(r"`((?:tests|training|benchmarks)/[\w/.]+)`", GUIDE):
        assert (ROOT / file).exists(), file


def test_every_arm_differs_in_its_judge_alone(tmp_path: Path) -> None:
    options = ProofOptions(settings=("optimiser.lr=1e-4",))
    arms = {arm: arm_config(arm, 1, options, tmp_path) for arm in options.arms}
    judges = {arm: config.rewards.judge for arm, config in arms.items()}
    assert judges == {"scorer": "miniature", "scalar": f"scalar:{tmp_path / 'scalar'}", "oracle": "oracle"}
    assert {config.rewards.held_out_judge for config in arms.values()} == {"oracle"}
    assert len({(c.model, c.rollout, c.loss, c.policy, c.optimiser, c.run) for c in arms.values()}) == 1
    assert arms["oracle"].optimiser.lr == 1e-4


def test_gains_are_paired_request_by_request(tmp_path: Path) -> None:
    rows = [{"epoch": 0, "rewards": [0.2, 0.8]}, {"epoch": 5, "rewards": [0.5, 0.9]}]
    (tmp_path / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = read_curve(tmp_path, "oracle", 0)
    assert curve.means == pytest.approx([0.5, 0.7])
    gain, (low, high) = curve.gain
    assert gain == pytest.approx(0.2)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.3)
    other = Curve("oracle", 1, (0, 5), np.array([[0.2, 0.8], [0.2, 0.8]]))
    found = figures([curve, other])["oracle"]
    assert (found["seeds"], found["gain"]) == (2, pytest.approx(0.1))
    write_report(tmp_path, [curve, other], {"arms": {"oracle": found}})
    assert "<polyline" in (tmp_path / "report.html").read_text()
