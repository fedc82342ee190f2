"""The guide and the proof's arithmetic: commands are understood, settings and files exist, figures are what they say."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
from PIL import Image

from training.lab.nft_proof.arms import Curve, NFTProofOptions, read_curve, settings_of
from training.lab.nft_proof.report import CURVES, arm_figures, lead, picture_grid, save_training_curves, write_report
from training.lab.nft_proof.rivals import Ways, compared
from training.nft.__main__ import build_parser, resolved
from training.nft.config import NFTConfig
from training.nft.families import MODULES
from training.nft.policy import DECAYS

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


def test_recipes_for_other_trainers_name_what_exists() -> None:
    keys = dict(re.findall(r"(reward\.[\w.]+)=([\w./]+)", GUIDE))
    prefix = "reward.custom_reward_function."
    assert set(keys) == {f"{prefix}path", f"{prefix}name"}, "verl-omni's diffusion trainer reads no other keys"
    module = import_module(keys[f"{prefix}path"].removesuffix(".py").replace("/", "."))
    assert callable(getattr(module, keys[f"{prefix}name"]))
    assert {"rational_rewards_t2i", "rational_rewards_edit"} <= set(re.findall(r"`(\w+)`", GUIDE)), "Flow-Factory's own"


def test_every_arm_differs_in_its_judge_alone(tmp_path: Path) -> None:
    options = NFTProofOptions(settings=("optimiser.lr=1e-4",))
    arms = {arm: resolved("miniature_cpu", None, settings_of(arm, 1, options, tmp_path)) for arm in options.arms}
    judges = {arm: config.rewards.judge for arm, config in arms.items()}
    assert judges == {
        "scorer": "miniature",
        "head": f"head:{tmp_path / 'head' / 'run' / 'head'}",
        "scalar": f"scalar:{tmp_path / 'scalar'}",
        "oracle": "oracle",
    }
    assert {config.rewards.held_out_judge for config in arms.values()} == {"oracle"}
    assert len({(c.model, c.rollout, c.loss, c.policy, c.optimiser, c.run) for c in arms.values()}) == 1
    assert arms["oracle"].optimiser.lr == 1e-4


def test_gains_are_paired_request_by_request(tmp_path: Path) -> None:
    rows = [{"epoch": 0, "rewards": [0.1, 0.3, 0.8, 0.8]}, {"epoch": 5, "rewards": [0.5, 0.5, 0.8, 1.0]}]
    (tmp_path / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.json").write_text(json.dumps({"run": {"evaluate_group": 2}}))
    metrics = [{"step": 0, "seconds": 1.0, "held_out_diversity": 0.3}, {"step": 1, "seconds": 3.0, "reward": 0.4}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    curve = read_curve(tmp_path, "oracle", 0)
    assert (curve.epochs, curve.judge, curve.diversity, curve.seconds) == ((0, 5), (0.4,), (0.3,), 3.0)
    assert curve.means == pytest.approx([0.5, 0.7])
    assert curve.perfect == pytest.approx([0.0, 0.25])
    assert curve.gains == pytest.approx([0.3, 0.1])
    assert curve.perfect_gains == pytest.approx([0.0, 0.5])
    gain, (low, high) = curve.gain
    assert (gain, low, high) == pytest.approx((0.2, 0.1, 0.3))


def curve(arm: str, seed: int, before: float, after: float) -> Curve:
    return Curve(arm, seed, (0, 5), np.array([[[before], [before]], [[after], [after]]]), (0.4,) * 6, (0.3, 0.2), 9.0)


def test_an_arm_is_the_mean_of_its_seeds_and_leads_by_the_difference(tmp_path: Path) -> None:
    curves = [curve("scorer", 0, 0.5, 0.7), curve("scorer", 1, 0.5, 0.5), curve("scalar", 0, 0.5, 0.3)]
    found = arm_figures(curves)["scorer"]
    assert (found["seeds"], found["gain"], found["gain_of_each_seed"]) == (2, 0.1, [0.2, 0.0])
    assert (found["truth_after"], found["best_epoch"], found["diversity_after"]) == (0.6, 5, 0.2)
    assert lead(curves, "scorer", "scalar") == {"gain": pytest.approx(0.3), "ci95": [pytest.approx(0.3)] * 2}
    assert lead(curves, "scorer", "oracle") is None
    save_training_curves(tmp_path / CURVES, curves)
    write_report(tmp_path, {"arms": {"scorer": found}})
    assert "data:image" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["arms"]["scorer"]["gain"] == 0.1


def test_ways_are_compared_with_the_shipped_generator_request_by_request() -> None:
    shipped = Ways(np.array([0.2, 0.4]), np.array([0.4, 0.4]), np.array([0.5, 0.7]), 3.0)
    tuned = [Ways(np.array([0.4, 0.6]), np.array([0.4, 0.4]), np.array([0.9, 0.9]), 3.0)]
    found = compared(shipped, tuned)
    assert found["one_image"] == {
        "truth": 0.5,
        "over_shipped": {"gain": 0.2, "ci95": [0.2, 0.2]},
        "over_shipped_loop": {"gain": -0.1, "ci95": [-0.1, -0.1]},
    }
    assert found["refine_loop"]["over_shipped_loop"]["gain"] == pytest.approx(0.3)  # type: ignore[index]


def test_the_grid_has_a_row_per_request_and_a_column_per_generator() -> None:
    pictures = [Image.new("RGB", (48, 48), "red"), Image.new("RGB", (48, 48), "blue")]
    sheet = picture_grid(["a red one", "a blue one " * 9], {"shipped": pictures, "tuned": pictures[::-1]})
    left, right = sheet.width - 2 * (96 + 6) + 10, sheet.width - 20
    assert sheet.getpixel((left, 60)) == (255, 0, 0)
    assert sheet.getpixel((right, 60)) == (0, 0, 255)
    assert sheet.getpixel((right, 160)) == (255, 0, 0)
