"""The declared minimum works: the oldest transformers that is allowed loads the miniature and gives the same scores.

`make test` puts that transformers beside the environment (see the Makefile); each version then judges in a process of
its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from rationalrewards_core.backends.checkpoint import TRANSFORMERS, CheckpointConfig, load_checkpoint, require_packages
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import scorer_folder

ROOT = Path(__file__).parents[2]
OLDEST = Path(sys.prefix) / "minimum"
"""Where the Makefile puts the oldest transformers."""
LEAST = ".".join(map(str, TRANSFORMERS))

JUDGED = """
import asyncio, json, transformers
import numpy as np
from PIL import Image
from rationalrewards_core import Case, UserRequest, make_scorer
from rationalrewards_core.engines import EngineOptions
from rationalrewards_core.miniature.flaws import sample_edited, sample_generation

rng = np.random.default_rng([900_001, 9, 0])
cases = []
for number in range(6):
    one = sample_edited(rng) if number % 3 == 2 else sample_generation(rng)
    sources = () if one.source is None else (Image.fromarray(one.source),)
    cases.append(Case(UserRequest(one.request, sources), Image.fromarray(one.picture)))
scorer = make_scorer("miniature", EngineOptions(precision="fp32", device="cpu"))

async def judged():
    try:
        return (await scorer.score_many(cases)).outcomes
    finally:
        await scorer.close()

outcomes = asyncio.run(judged())
print("JUDGED" + json.dumps([transformers.__version__, [[o.raw, *(j.expected for j in o.judgements)] for o in outcomes]]))
"""


def judged(*folders: Path) -> tuple[str, list[list[str | float | None]]]:
    """The version of transformers that judged, and each critique's text and expected scores."""
    path = os.pathsep.join(map(str, (*folders, ROOT)))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    ran = subprocess.run([sys.executable, "-c", JUDGED], env=env, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    version, outcomes = json.loads(ran.stdout.rpartition("JUDGED")[2])
    return version, outcomes


@pytest.mark.model
@pytest.mark.slow
def test_the_oldest_and_this_transformers_write_the_same_critiques() -> None:
    if not (OLDEST / "transformers").is_dir():
        pytest.skip(f"no transformers {LEAST} in {OLDEST}: `make test` puts it there; nothing is known of the minimum")
    version, outcomes = judged(OLDEST)
    assert version == LEAST
    newest, wanted = judged()
    assert newest != version
    assert [o[0] for o in outcomes] == [o[0] for o in wanted]
    for found, there in zip(outcomes, wanted, strict=True):
        assert found[1:] == pytest.approx(there[1:], abs=1e-3)


def test_the_minimum_is_the_same_everywhere() -> None:
    wanted = f"transformers>={LEAST}"
    for name in ("pyproject.toml", "requirements.txt"):
        stated = re.findall(r"transformers>=[\d.]+", (ROOT / name).read_text(encoding="utf-8"))
        assert stated == [wanted], name
    assert f"transformers=={LEAST}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_an_older_transformers_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.50.3")
    with pytest.raises(ConfigError, match=rf"needs transformers {re.escape(LEAST)} or newer, not 4\.50\.3"):
        require_packages()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.0.0rc1")
    require_packages()


@pytest.mark.model
@pytest.mark.parametrize(
    "stated",
    [
        {"size": {"shortest_edge": 65536, "longest_edge": 16777216}},
        {"size": {"min_pixels": 65536, "max_pixels": 16777216}},
        {"min_pixels": 65536, "max_pixels": 16777216},
    ],
    ids=lambda stated: "-".join(stated),
)
def test_the_pixel_limits_hold_however_a_checkpoint_spells_them(stated: dict[str, object], tmp_path: Path) -> None:
    from PIL import Image

    folder = Path(shutil.copytree(scorer_folder(), tmp_path / "judge"))
    file = folder / "preprocessor_config.json"
    table = json.loads(file.read_text(encoding="utf-8"))
    del table["size"]
    file.write_text(json.dumps({**table, **stated}), encoding="utf-8")
    config = CheckpointConfig(model=str(folder), precision="fp32", device="cpu", max_pixels=100_000)
    processor = load_checkpoint(config).image_processor
    grids = [
        processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"][0]
        for size in ((20, 30), (1000, 800))
    ]
    small, large = (int(grid.prod()) * 16 for grid in grids)
    assert 65_536 <= small <= 80_000
    assert 80_000 <= large <= 100_000
