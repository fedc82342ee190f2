"""GGUF files that did not come whole are named before llama.cpp is started with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.gguf.header import read_header
from rationalrewards_core.gguf.pairs import GgufPair, pair
from rationalrewards_core.gguf.whole_files import whole_headers
from tests.core import gguf_files
from tests.llama_cpp import llama_python, write_miniature

MATRIX = bytes(range(1, 101)) * 40
TENSORS = {"token_embd.weight": (2, MATRIX), "output_norm.bias": (1, bytes(64)), "blk.0.ffn_up.weight": (2, MATRIX)}


def judge(folder: Path, tensors: dict[str, tuple[int, bytes]]) -> GgufPair:
    gguf_files.tower(folder / "mmproj-judge.gguf")
    return pair(gguf_files.model(folder / "judge.gguf", tensors=tensors))


def test_whole_files_pass_and_vectors_may_be_zeros(tmp_path: Path) -> None:
    files = judge(tmp_path, TENSORS)
    whole_headers(files)
    tensors = read_header(files.model).tensors
    assert [tensor.name for tensor in tensors] == list(TENSORS)
    content = files.model.read_bytes()
    assert content[tensors[2].start :].startswith(MATRIX)


def test_a_matrix_of_zeros_is_named_and_one_with_a_hole_is_not(tmp_path: Path) -> None:
    hole = MATRIX[:10] + bytes(20_000) + MATRIX
    whole_headers(judge(tmp_path, TENSORS | {"blk.0.ffn_up.weight": (2, hole)}))
    files = judge(tmp_path, TENSORS | {"blk.0.ffn_up.weight": (2, bytes(9_000))})
    with pytest.raises(ConfigError, match=r"judge\.gguf is damaged: blk\.0\.ffn_up\.weight holds only zeros; download"):
        whole_headers(files)


def test_a_tower_of_zeros_is_named(tmp_path: Path) -> None:
    files = judge(tmp_path, TENSORS)
    gguf_files.tower(files.mmproj, tensors={"v.patch_embd.weight": (4, bytes(256))})
    with pytest.raises(ConfigError, match=r"mmproj-judge\.gguf is damaged: v\.patch_embd\.weight"):
        whole_headers(files)


def test_one_cut_short_names_the_first_tensor_that_did_not_come(tmp_path: Path) -> None:
    files = judge(tmp_path, TENSORS)
    last = read_header(files.model).tensors[-1]
    files.model.write_bytes(files.model.read_bytes()[: last.start])
    with pytest.raises(ConfigError, match=r"judge\.gguf is cut short: it ends before blk\.0\.ffn_up\.weight; download"):
        whole_headers(files)


def test_every_part_is_looked_for_and_into(tmp_path: Path) -> None:
    gguf_files.tower(tmp_path / "mmproj-judge.gguf")
    first = gguf_files.model(tmp_path / "judge-00001-of-00003.gguf", tensors=TENSORS)
    gguf_files.write(tmp_path / "judge-00003-of-00003.gguf", tensors=TENSORS)
    with pytest.raises(ConfigError, match=r"has 3 parts, and judge-00002-of-00003\.gguf is not beside it"):
        whole_headers(pair(first))
    gguf_files.write(tmp_path / "judge-00002-of-00003.gguf", tensors={"blk.1.ffn_up.weight": (2, bytes(640))})
    with pytest.raises(ConfigError, match=r"judge-00002-of-00003\.gguf is damaged: blk\.1\.ffn_up\.weight"):
        whole_headers(pair(first))


@pytest.mark.parametrize("alignment", [0, 64])
def test_tensors_lie_where_the_alignment_puts_them(tmp_path: Path, alignment: int) -> None:
    path = gguf_files.model(tmp_path / "m.gguf", general__alignment=alignment, tensors=TENSORS)
    assert read_header(path).tensors[0].start % (alignment or 32) == 0, "0 is no alignment: then it is 32"


def test_the_miniature_as_llama_cpps_own_package_writes_it(tmp_path: Path) -> None:
    files = pair(write_miniature(tmp_path, llama_python()))
    whole_headers(files)
    tensors = read_header(files.model).tensors
    assert len(tensors) > 20
    place = next(tensor for tensor in tensors if tensor.axes > 1)
    end = min(tensor.start for tensor in tensors if tensor.start > place.start)
    content = bytearray(files.model.read_bytes())
    content[place.start : end] = bytes(end - place.start)
    files.model.write_bytes(content)
    with pytest.raises(ConfigError, match=f"is damaged: {place.name} holds only zeros"):
        whole_headers(files)
