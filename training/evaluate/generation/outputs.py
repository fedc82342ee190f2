"""What a generation benchmark is made of: expected images, questions about each, and where their scores count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.images import PICTURE_SUFFIXES

from .wording import BenchmarkWording, WordingChoice

Scores: TypeAlias = tuple[float, ...]
"""Numbers read from one reply, or what one image is worth in each column of a table."""
Overall = Literal["categories", "images", "none"]
"""What a table's last line is: the mean of its categories, the mean of everything counted in it, or nothing."""


@dataclass(frozen=True, kw_only=True)
class QuestionPicture:
    """An image as a question shows it."""

    of: Literal["source", "output"]
    like_source: bool = False
    """Scaled to the source's size."""
    box: tuple[float, float, float, float] | None = None
    """x, y, width and height of the part that is shown, where the longer side of the whole has 1024 pixels."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkQuestion:
    """One thing the judge is asked about one output."""

    name: str
    """Unique for the output."""
    parts: tuple[str | QuestionPicture, ...]
    """In reading order."""
    read: Callable[[str], Scores] = field(repr=False)
    """Reads a reply; CritiqueParseError for one that does not say exactly what was asked."""


@dataclass(frozen=True)
class Sheet:
    """One table of a benchmark."""

    name: str
    overall: Overall = "none"


@dataclass(frozen=True)
class SheetLine:
    """A line of a table."""

    sheet: Sheet
    category: str


@dataclass(frozen=True, kw_only=True)
class Output:
    """One image that a generator should have made."""

    key: str
    """Unique in the benchmark."""
    request: str
    path: Path | None
    """None if the image is missing."""
    places: tuple[SheetLine, ...]
    """Where it counts; one place may occur several times."""
    questions: tuple[BenchmarkQuestion, ...]
    sources: tuple[str, ...] = ()
    """References of the source images of an edit."""
    unit: str = ""
    """What outputs of one request share: they are resampled together; empty is the key."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Which images are judged, and where everything is."""

    benchmark: Path
    """The user's copy of the benchmark's data."""
    outputs: Path
    """The generator's images, named as the benchmark says."""
    out: Path
    """Folder of the run; images that lie inside tables are copied there."""
    checkout: Path | None = None
    """The benchmark's repository, for its prompts; None looks among the data."""
    images: tuple[Path, ...] = ()
    """More folders or tars of source images."""
    prompts: WordingChoice = "auto"
    parts: tuple[str, ...] = ()
    """Languages or prompt sets; empty is the benchmark's first."""
    per_prompt: int = 4
    """Images of each prompt, where a benchmark takes several."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a benchmark's folder holds."""

    outputs: list[Output]
    wording: BenchmarkWording
    left_out: Counter[str] = field(default_factory=Counter)
    """Questions of the benchmark that cannot be asked, by reason."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One benchmark: how it is loaded, what its scores mean, and what its published numbers were made with."""

    name: str
    """What the user types."""
    title: str
    protocol: str
    """Where and as of when its protocol was read."""
    judges: tuple[str, ...]
    """Beginnings of the names of the judges behind its published numbers, the usual one first."""
    columns: tuple[str, ...]
    scale: str
    complete: int | None
    """Images of one whole part; None if it is not known."""
    load: Callable[[Setup], Expected] = field(repr=False)
    marks: Callable[[Output, Mapping[str, Scores]], Sequence[Scores]] = field(repr=False)
    """What an output is worth at each of its places, from its answers by question."""
    edits: bool = True
    """Whether its images are edits of source images."""
    parts: tuple[str, ...] = ()
    """Languages or prompt sets it has; the first is the one usually published."""

    def chosen(self, names: Sequence[str]) -> tuple[str, ...]:
        """The parts to judge. ConfigError for one that the benchmark does not have."""
        for part in names:
            if part not in self.parts:
                raise ConfigError(
                    f"{self.name} has no part {part!r}; it has {', '.join(self.parts) or 'no parts at all'}."
                )
        return tuple(dict.fromkeys(names)) or self.parts[:1]


def image_named(folder: Path, *stems: str) -> Path | None:
    """The first image of these names without their endings; None if there is none."""
    for stem in stems:
        for suffix in PICTURE_SUFFIXES:
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return path
    return None


def safe_name(name: str, where: str) -> str:
    """A name from a benchmark's table as part of a path. ConfigError if it could lead out of its folder."""
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise ConfigError(f"{where} names an image {name!r}, which is no file name.")
    return name
