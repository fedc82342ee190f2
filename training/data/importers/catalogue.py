"""Every data set that can be imported, by the name the user types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rationalrewards_core.errors import ConfigError

from ..pairs import PreferencePair
from . import clicks, editreward, hpdv3, imagereward, pickapic, rapidata, sftdata
from .intake import Dataset, Intake
from .tables import read_rows

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        editreward.TABLE,
        editreward.TRAINING,
        hpdv3.HPDV3,
        rapidata.VOTES,
        rapidata.WEIGHTED,
        pickapic.PICKAPIC,
        imagereward.IMAGEREWARD,
        sftdata.SFTDATA,
        clicks.FOLDER,
    )
}


def dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise ConfigError(f"There is no data set {name!r}; there are {', '.join(DATASETS)} and miniature.")
    return DATASETS[name]


def read_dataset(name: str, source: str | None, intake: Intake, split: str = "") -> Iterator[PreferencePair]:
    """The pairs of a data set, one at a time."""
    source_of_pairs = dataset(name)
    if source is None:
        raise ConfigError(f"Say where {name} is: a file, a folder, or hub:OWNER/NAME.")
    return source_of_pairs.pairs(iter(read_rows(source, source_of_pairs.check, split)), intake)


def image_roots(source: str | None, folders: list[Path]) -> list[Path]:
    """Where pictures named by path are looked for: where the user says, else beside the table."""
    if folders or source is None or source.startswith("hub:"):
        return folders
    path = Path(source)
    if not path.exists():
        return []
    return [path if path.is_dir() or path.suffix == ".tar" else path.parent]
