"""Our exports in LLaMA-Factory and ms-swift: the labels that their own collators make are the answers and nothing else.

Each runs in an environment of its own that a variable names; without it the test is skipped and says so.

    python -m venv lf && lf/bin/pip install llamafactory       # LLAMA_FACTORY_ENVIRONMENT=lf
    python -m venv sw && sw/bin/pip install ms-swift qwen-vl-utils   # MS_SWIFT_ENVIRONMENT=sw
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.sft.exports import write_export
from training.parrot.chat import ChatFormat, dataset_table
from training.sft.records import ChatFile

ROOT = Path(__file__).resolve().parents[3]
TORCHVISION = Path(sys.prefix) / "torchvision"
CASES: dict[str, tuple[ChatFormat, str]] = {
    "LLAMA_FACTORY_ENVIRONMENT": ("llamafactory", "llamafactory_labels"),
    "MS_SWIFT_ENVIRONMENT": ("swift", "swift_labels"),
}
"""Variable -> format of the export, and the worker that asks the trainer."""


@pytest.mark.slow
@pytest.mark.parametrize("variable", CASES)
def test_the_labels_are_the_answers_and_nothing_else(variable: str, tmp_path: Path) -> None:
    form, worker = CASES[variable]
    environment = os.environ.get(variable)
    if not environment:
        pytest.skip(f"NOT RUN: {variable} is not set, so nothing shows that `--format {form}` trains in its trainer")
    if not (TORCHVISION / "torchvision").is_dir():
        pytest.skip(f"NOT RUN: {form} needs torchvision, which `make test` puts into {TORCHVISION}")
    export = write_export(tmp_path / "export", train=6, dev_pairs=1, form=form)
    (export / "dataset_info.json").write_text(json.dumps(dataset_table(["train"])))
    (tmp_path / "out").mkdir()
    python = Path(environment).expanduser() / "bin" / "python"
    words = [str(python), "-m", f"tests.training.sft.{worker}", str(export), str(TORCHVISION), str(tmp_path / "out")]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "DISABLE_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    learned = json.loads((tmp_path / "out" / "seen.json").read_text())["learned"]
    file = ChatFile(export / "train.jsonl")
    answers = sorted(file[i].answer.strip() + "<|im_end|>" for i in range(6))
    assert sorted(text.strip() for text in learned) == answers
