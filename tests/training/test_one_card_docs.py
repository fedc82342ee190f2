"""The page about one 24 GB card: its commands are understood, its files work, its figures are what the estimates say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from training.data.splits import fitting_shares
from training.evaluate.__main__ import build_parser as evaluate_parser
from training.nft.__main__ import build_parser as nft_parser
from training.nft.__main__ import resolved
from training.nft.estimate import estimate as nft_estimate
from training.nft.preflight import check_prompts
from training.nft.prompts import make_prompts
from training.parrot.options import build_parser as parrot_parser
from training.sft.__main__ import build_parser as sft_parser
from training.sft.__main__ import settings
from training.sft.estimate import estimate as sft_estimate

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "one-card.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("python -m ")]
PARSERS = {
    "training.parrot": parrot_parser, "training.sft": sft_parser, "training.evaluate": evaluate_parser,
    "training.nft": nft_parser,
}  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, module, *words = shlex.split(line)
    arguments = PARSERS[module]().parse_args(words)
    monkeypatch.chdir(ROOT)
    if getattr(arguments, "config", None) and module == "training.sft":
        settings(arguments)


def test_the_generators_file_has_enough_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = resolved("single_24gb", ROOT / "training/configs/generator_24gb.toml", [])
    prompts, held_out = (
        make_prompts(name, config.prompts, 0) for name in (config.prompts.source, config.prompts.held_out)
    )
    check_prompts(config, prompts, held_out)
    trained = {one.request.text for one in prompts.draw(0, 36)}
    assert not trained & {one.request.text for one in held_out.draw(0, 16)}


def test_its_figures_are_the_estimates() -> None:
    words = ["estimate", "--preset", "qwen3-vl-8b-qlora-24gb"]
    student = sft_estimate(settings(sft_parser().parse_args(words)))
    assert f"{student.total:.1f} GiB at 4,096 tokens" in TEXT
    stages = nft_estimate(resolved("single_24gb", None, [])).stages
    for size in stages.values():
        assert f"{size / 2**30:.1f} GiB while" in TEXT
    shares = fitting_shares(500)
    assert (round(500 * shares.dev), round(500 * shares.test)) == (100, 50)
