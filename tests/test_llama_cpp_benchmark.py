"""The benchmark beside llama.cpp's server where there is no llama.cpp; the run itself is the command's."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import llama_cpp


@pytest.mark.parametrize("environment", ["", "missing", "bare"])
def test_without_llama_cpp_it_says_what_to_install(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if environment == "bare":  # a Python that has no llama.cpp
        (tmp_path / "bare" / "bin").mkdir(parents=True)
        (tmp_path / "bare" / "bin" / "python").symlink_to("/bin/false")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["llama_cpp", "--environment", environment])
    llama_cpp.main()
    said = capsys.readouterr().out
    assert said.startswith("llama.cpp was not found, so nothing was measured")
    assert "pip install xllamacpp gguf" in said
    assert said.count("\n") == 1, "one sentence"
