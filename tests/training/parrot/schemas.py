"""Small data sets with the exact columns of the real ones, in the file formats that they come in."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

SFT_ANSWER = """# Detailed Judgement
1. Text Faithfulness:
## Justification: Image A follows the request, Image B does not.
## Score A: 3.5
## Score B: 2.0
## Winner: Image A
2. Physical and Visual Quality:
## Justification: Both are clean.
## Score A: 3.0
## Score B: 3.0
## Winner: It's a tie
3. Text Rendering:
## Justification: None was asked for.
## Score A: N/A
## Score B: N/A
## Winner: N/A
# Summary: Image A is better."""


def image(number: int, form: str = "PNG") -> bytes:
    """A small picture unlike all others."""
    noise = np.random.default_rng(number).integers(0, 255, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form)
    return buffer.getvalue()


def struct(number: int) -> dict[str, Any]:
    """A picture as the hub's image feature stores it."""
    return {"bytes": image(number), "path": f"{number}.png"}


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def images_in(folder: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(100 + number, "JPEG" if name.endswith("jpg") else "PNG"))


def editreward(folder: Path) -> Path:
    """Three votes, one of each kind, and one of an unknown kind."""
    rows = [
        {
            "key": f"k{n}",
            "unique_key": f"u{n}",
            "pair_index": n,
            "instruction": f"make the sky {colour}",
            "source_img": struct(3 * n),
            "left_output_image": struct(3 * n + 1),
            "right_output_image": struct(3 * n + 2),
            "left_model": "one",
            "right_model": "two",
            "left_overall_score": 6.0,
            "left_instruction_following_score": 3.0,
            "left_quality_aesthetic_score": 3.0,
            "right_overall_score": 3.0,
            "right_instruction_following_score": 2.0,
            "right_quality_aesthetic_score": 1.0,
            "vote_type": vote,
            "metadata_index": n,
            "left_img_rel": f"l{n}.png",
            "right_img_rel": f"r{n}.png",
        }
        for n, (colour, vote) in enumerate(
            [("red", "leftvote"), ("blue", "rightvote"), ("grey", "tie"), ("green", "skipped")]
        )
    ]
    return parquet(folder / "data" / "train-00000-of-00001.parquet", rows)


def editreward_json(folder: Path) -> Path:
    """Sixteen rows whose preferred edit is always `path1`, and one tie."""
    names = [name for n in range(17) for name in (f"src/{n}.png", f"out/{n}_a.png", f"out/{n}_b.png")]
    images_in(folder, names)
    rows = [
        {
            "prompt": f"turn lamp {n} on",
            "choice_dist": [3, 0],
            "confidence": 1.0,
            "path_src": f"src/{n}.png",
            "path1": f"out/{n}_a.png",
            "path2": f"out/{n}_b.png",
            "model1": "winner",
            "model2": "loser",
            "model1_dim1_score": 4,
            "model1_dim2_score": 3,
            "model1_overall_score": 7,
            "model2_dim1_score": 2,
            "model2_dim2_score": 2,
            "model2_overall_score": 4,
            "tie_case": n == 16,
        }
        for n in range(17)
    ]
    path = folder / "train.json"
    path.write_text(json.dumps(rows))
    return path


def hpdv3(folder: Path) -> Path:
    """Sixteen rows beside a tar of images, one row whose image is in no tar."""
    names = [name for n in range(16) for name in (f"images/{n}_win.jpg", f"images/{n}_lose.jpg")]
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "images.tar", "w") as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            content = image(number, "JPEG")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    rows = [
        {
            "prompt": f"a cat number {n}",
            "source": "internal",
            "choice_dist": [12, 7],
            "confidence": 0.9,
            "path1": f"images/{n}_win.jpg",
            "path2": f"images/{n}_lose.jpg" if n < 16 else "images/absent.jpg",
            "model1": "flux",
            "model2": "sd",
        }
        for n in [*range(16), 0]
    ]
    rows.append({**rows[0], "prompt": "another cat", "path2": "images/absent.jpg"})
    path = folder / "train.json"
    path.write_text(json.dumps(rows, indent=1))
    return path


def rapidata(folder: Path) -> Path:
    """Votes 20:6, 5:21, 13:13, and none."""
    rows = [
        {
            "prompt": f"a dog number {n}",
            "image1": struct(2 * n),
            "image2": struct(2 * n + 1),
            "votes_image1": one,
            "votes_image2": two,
            "model1": "a",
            "model2": "b",
            "detailed_results": "[]",
            "image1_path": f"{n}_1.png",
            "image2_path": f"{n}_2.png",
        }
        for n, (one, two) in enumerate([(20, 6), (5, 21), (13, 13), (0, 0)])
    ]
    return parquet(folder / "train_0001.parquet", rows)


def rapidata_weighted(folder: Path) -> Path:
    rows = []
    for n, (one, two) in enumerate([(9.5, 2.0), (1.25, 8.0), (4.0, 4.1)]):
        row: dict[str, Any] = {"prompt": f"a horse number {n}", "image1": struct(2 * n), "image2": struct(2 * n + 1)}
        row |= {"model1": "a", "model2": "b"}
        for question in ("preference", "coherence", "alignment"):
            row |= {f"weighted_results_image1_{question}": one, f"weighted_results_image2_{question}": two}
            row[f"detailed_results_{question}"] = "[]"
        rows.append(row)
    return parquet(folder / "train-00000.parquet", rows)


def pickapic(folder: Path) -> Path:
    """Labels 1:0, 0:1, 0.5:0.5, a row without label, and one whose image was removed."""
    rows = [
        {
            "are_different": True,
            "best_image_uid": "x",
            "caption": f"a tree number {n}",
            "created_at": "2023-01-01",
            "has_label": known,
            "image_0_uid": f"{n}a",
            "image_0_url": "",
            "image_1_uid": f"{n}b",
            "image_1_url": "",
            "jpg_0": image(2 * n, "JPEG"),
            "jpg_1": image(2 * n + 1, "JPEG") if n != 4 else b"",
            "label_0": one,
            "label_1": two,
            "model_0": "m",
            "model_1": "m",
            "ranking_id": n,
            "user_id": 1,
            "num_example_per_prompt": 1,
        }
        for n, (one, two, known) in enumerate(
            [(1.0, 0.0, True), (0.0, 1.0, True), (0.5, 0.5, True), (0.0, 0.0, False), (1.0, 0.0, True)]
        )
    ]
    return parquet(folder / "train-00000.parquet", rows)


def imagereward(folder: Path) -> Path:
    """Two prompts with three images each, ranks 1, 2, 2 and 3, 1, 2."""
    rows = [
        {
            "image": struct(n),
            "prompt_id": f"p{n // 3}",
            "prompt": f"a boat number {n // 3}",
            "classification": "Others",
            "image_amount_in_total": 3,
            "rank": rank,
            "overall_rating": 8 - 2 * rank,
            "image_text_alignment_rating": 4,
            "fidelity_rating": 4,
        }
        for n, rank in enumerate([1, 2, 2, 3, 1, 2])
    ]
    return parquet(folder / "train-00000.parquet", rows)


def sftdata(folder: Path) -> Path:
    """A pairwise row, a pointwise row, and a row whose answer is cut off."""
    images_in(folder, [f"images/{n}.png" for n in range(6)])
    asked = "<image><image>User Instruction: a red kite over a lake\nYou are given two images:"

    def row(first: int, count: int, answer: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        return {"messages": turns, "images": [f"images/{first + n}.png" for n in range(count)]}

    rows = [row(0, 2, SFT_ANSWER), row(2, 1, "## Score: 3.0"), row(4, 2, SFT_ANSWER[:200])]
    path = folder / "t2i_pairwise.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def clicks(folder: Path) -> Path:
    images_in(folder, ["a.png", "b.png", "c.png", "before.png"])
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["request", "first", "second", "preference", "source"])
        writer.writerow(['a "red", bicycle', "a.png", "b.png", "A", ""])
        writer.writerow(["make it blue", "b.png", "c.png", "second", "before.png"])
        writer.writerow(["a car", "a.png", "c.png", "tie", ""])
        writer.writerow(["a car", "c.png", "a.png", "tie", ""])
        writer.writerow(["a car", "a.png", "../../etc/passwd", "A", ""])
        writer.writerow(["a bus", "a.png", "b.png", "maybe", ""])
    return path


SCHEMAS: dict[str, Callable[[Path], Path]] = {
    "editreward": editreward,
    "editreward-json": editreward_json,
    "hpdv3": hpdv3,
    "rapidata": rapidata,
    "rapidata-weighted": rapidata_weighted,
    "pickapic": pickapic,
    "imagereward": imagereward,
    "rationalrewards-sft": sftdata,
    "folder": clicks,
}
