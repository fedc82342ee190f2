"""What the students are trained and measured on: nested subsets of the exports, and clean held-out pairs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.world import is_reserved, parse_request

from ...data.importers.intake import Intake
from ...data.importers.miniature import Crowd, miniature_pairs
from ...data.labelled_pairs import PAIRS_FILE, LabelledPair, write_pairs
from ...data.pairs import PreferencePair
from ...data.store import ImageRoots, ImageStore


def subset(export: Path, pairs: int, out: Path) -> Path:
    """The export cut to its first `pairs` training pairs; development pairs stay. Smaller ones are inside larger ones.

    The first pairs are the same in every arm's export: they come in the order in which they were collected.
    """
    if (out / PAIRS_FILE).is_file():
        return out
    rows = [json.loads(line) for line in (export / PAIRS_FILE).read_text(encoding="utf-8").splitlines()]
    train = [row for row in rows if row["split"] == "train"][:pairs]
    if len(train) < pairs:
        raise ConfigError(f"{export} has {len(train)} training pairs, not {pairs}; collect more or cut the sizes.")
    # Made aside and put in place at once: several steps may want the same subset at the same time.
    temporary = out.with_name(f"{out.name}.{os.getpid()}.partial")
    temporary.mkdir(parents=True, exist_ok=True)
    (temporary / "images").symlink_to(os.path.relpath(export / "images", temporary))
    for rubric in export.glob("rubric_*.toml"):
        shutil.copyfile(rubric, temporary / rubric.name)
    keys = {row["key"] for row in train}  # of the pairs as collected; their images have other names in an export
    with (export / "train.jsonl").open(encoding="utf-8") as lines, (temporary / "train.jsonl").open("w") as file:
        file.writelines(line for line in lines if json.loads(line)["provenance"]["pair"] in keys)
    subset_rows = [*train, *(row for row in rows if row["split"] == "dev")]
    (temporary / PAIRS_FILE).write_text("".join(json.dumps(row) + "\n" for row in subset_rows), encoding="utf-8")
    try:
        temporary.rename(out)
    except OSError:  # another step was first; its subset is the same
        shutil.rmtree(temporary)
    return out


def make_test(count: int, seed: int, out: Path) -> Path:
    """Pairs of reserved requests with the true preference; undecided ones are not counted. Returns their folder.

    Requests of one thing are never reserved, so all of these ask for two things.
    """
    if (out / PAIRS_FILE).is_file():
        return out
    intake = Intake(ImageStore(out), ImageRoots([]))
    pairs: list[LabelledPair] = []
    for pair in _endless(intake, seed):
        if len(pairs) == count:
            break
        if is_reserved(parse_request(pair.request)) and pair.preference is not Verdict.TIE:
            pairs.append(LabelledPair(pair, "test"))
    write_pairs(pairs, out)
    return out


def _endless(intake: Intake, seed: int) -> Iterator[PreferencePair]:
    yield from miniature_pairs(intake, 1_000_000, seed, Crowd(wrong=0.0), reserved=True)
