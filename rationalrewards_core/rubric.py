"""The rubric: the one place that knows the dimensions, their headings, their scale and the prompt's words.

Prompt (`messages`), grammar (`grammar`), parser (`parsing`), reward (`reward`), node outputs and
docs all derive from a `Rubric`. Rubrics are TOML files (`rubric_file` reads and writes them); the
built-in ones are read through the same loader as a user's own.

The headings and their order are those of the released RationalRewards weights (arXiv 2604.11626).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from .errors import ConfigError
from .judge_profile import JudgeProfile
from .spelling import plain, squeezed

Kind = Literal["generation", "edit"]

ANALYSIS = "User Request Analysis"
JUDGEMENT = "Detailed Judgement"
JUSTIFICATION = "Justification"
SCORE = "Score"
SUMMARY = "Summary"
REFINEMENT = "User Request Refinement"
COMMENTS = "Refinement Comments"
REFINED = "Refined Request"
SCORE_A = f"{SCORE} A"
SCORE_B = f"{SCORE} B"
WINNER = "Winner"
WINNERS: Final = ("Image A", "Image B", "It's a tie")
"""What a comparison's reply says under `Winner`."""
NOT_APPLICABLE = "N/A"

RESERVED: Final = frozenset(
    squeezed(name)
    for name in (
        *(ANALYSIS, JUDGEMENT, JUSTIFICATION, SCORE, SCORE_A, SCORE_B, WINNER),
        *(SUMMARY, REFINEMENT, COMMENTS, REFINED),
    )
)
"""Headings of the reply itself; no dimension can have them as its title."""
MAX_TITLE_CHARACTERS: Final = 80


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The range of a score. Scores are decimal numbers; anchors sit on whole ones."""

    minimum: float = 1.0
    """The worst score; reward 0."""
    maximum: float = 4.0
    """The best score; reward 1."""
    decimals: int = 1
    """Decimal places the grammar lets a model write (0 to 2); the parser accepts any number of them."""

    def __post_init__(self) -> None:
        if not self.minimum < self.maximum:
            raise ConfigError(f"scale.minimum ({self.minimum}) must be below scale.maximum ({self.maximum}).")
        within = -100 <= self.minimum <= self.maximum <= 100
        if not (within and float(self.minimum).is_integer() and float(self.maximum).is_integer()):
            raise ConfigError("scale.minimum and scale.maximum must be whole numbers from -100 to 100.")
        if self.decimals not in (0, 1, 2):
            raise ConfigError("scale.decimals must be 0, 1 or 2.")

    def contains(self, score: float) -> bool:
        return self.minimum <= score <= self.maximum

    def normalise(self, score: float) -> float:
        """Score on this scale -> reward in [0, 1]."""
        return (score - self.minimum) / (self.maximum - self.minimum)

    def format(self, score: float | None) -> str:
        if score is None:
            return NOT_APPLICABLE
        return f"{round(score, self.decimals) + 0.0:.{self.decimals}f}"  # never -0.0


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One aspect of quality that is judged and scored by itself."""

    key: str
    """Stable identifier in JSON, node outputs and metrics, such as `text_faithfulness`."""
    title: str
    """The heading the model writes, such as `Text Faithfulness`."""
    question: str = ""
    """What is judged, in a sentence of the prompt."""
    anchors: tuple[tuple[float, str], ...] = ()
    """What a score means, best first: ((4.0, "..."), ...)."""
    optional: bool = False
    """Whether the model may answer N/A; such a dimension then leaves the mean together with its weight."""
    weight: float = 1.0
    """Share in the reward, relative to the other applicable dimensions."""

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key.isidentifier():
            raise ConfigError(f"dimensions.key {self.key!r} must be an identifier such as 'text_faithfulness'.")
        _check_title(self.title)
        if not 0.0 <= self.weight <= 1000.0:
            raise ConfigError(f"dimensions.weight of {self.key!r} must be between 0 and 1000, not {self.weight}.")


def _check_title(title: str) -> None:
    """A title has to be recognisable as a heading in a reply, and nothing else in a reply as a title."""
    text = plain(title)
    one_line = not any(unicodedata.category(mark) in ("Cc", "Zl", "Zp") for mark in title)
    if not one_line or any(mark in text for mark in "#:*`"):
        raise ConfigError(f"dimensions.title {title!r} must be one line without '#', ':', '*' or '`'.")
    if not re.match(r"[0-9]{0,3}[^\W\d_]", text):
        raise ConfigError(f"dimensions.title {title!r} must begin with a word; its number is added by the prompt.")
    if text[-1] in ".!?。…,; ":
        raise ConfigError(f"dimensions.title {title!r} must not end with a space or a punctuation mark.")
    if len(title) > MAX_TITLE_CHARACTERS:
        raise ConfigError(f"dimensions.title {title!r} must have at most {MAX_TITLE_CHARACTERS} characters.")
    if squeezed(title) in RESERVED:
        raise ConfigError(f"dimensions.title {title!r} is a heading of the reply itself; choose another.")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which sections a reply has, and in which order; a checkpoint is asked in the layout it was trained on."""

    analysis: bool = True
    """Whether the reply opens with `# User Request Analysis`."""
    score_first: bool = False
    """Whether `## Score` precedes `## Justification` inside a dimension."""
    refinement: bool = True
    """Whether the reply ends with `# User Request Refinement`."""
    guidelines: bool = True
    """Whether the prompt spells out dimensions, anchors and output format (a checkpoint may know them by heart)."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The prompt's texts. User text is never substituted into them: messages are assembled from parts."""

    system: str = ""
    """System message; empty means no system message."""
    request_label: str = "User Instruction: "
    """Stands before the user's request."""
    images_line: str = ""
    """One line that tells which images follow."""
    source_label: str = "1. Source Image "
    """Stands before the source image of an edit."""
    candidate_label: str = "1. Generated Image "
    """Stands before the image being judged."""
    introduction: str = ""
    """Opens the guidelines."""
    not_applicable: str = ""
    """When to answer N/A."""
    methodology: str = ""
    """How to arrive at a score."""
    refinement: str = ""
    """How to write the refined request."""
    output: str = ""
    """Stands before the output format, which is derived from the dimensions."""


@dataclass(frozen=True, kw_only=True)
class PairwiseWording:
    """The texts that differ when two candidates are compared in one prompt."""

    system: str = ""
    images_line: str = ""
    first_label: str = "Image A "
    second_label: str = "Image B "
    introduction: str = ""
    methodology: str = ""


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """Ordered dimensions, their scale and the prompt's wording."""

    name: str
    """What reports and caches call this rubric."""
    kind: Kind
    """`generation` judges one image; `edit` judges an image against its source image."""
    dimensions: tuple[Dimension, ...]
    """In the order in which the model judges them."""
    scale: Scale = field(default_factory=Scale)
    layout: Layout = field(default_factory=Layout)
    wording: Wording = field(default_factory=Wording)
    pairwise: PairwiseWording = field(default_factory=PairwiseWording)
    profile: JudgeProfile | None = None
    """How a judge that was trained on another prompt is asked and read; None: in the layout and the wording above."""

    def __post_init__(self) -> None:
        if self.kind not in ("generation", "edit"):
            raise ConfigError(f"kind must be 'generation' or 'edit', not {self.kind!r}.")
        if not self.dimensions:
            raise ConfigError(f"Rubric {self.name!r} has no dimensions; add at least one [[dimensions]] table.")
        for what in ("key", "title"):
            names = [squeezed(getattr(d, what)) for d in self.dimensions]
            for name in names:
                if names.count(name) > 1:
                    raise ConfigError(f"Rubric {self.name!r} has two dimensions with {what} {name!r}.")
        if self.profile is not None:
            self.profile.check(edit=self.kind == "edit", dimensions=len(self.dimensions))
        if all(d.optional for d in self.dimensions):
            raise ConfigError(f"Rubric {self.name!r} needs at least one dimension that is not optional.")
        if not any(d.weight > 0 for d in self.dimensions if not d.optional):
            raise ConfigError(f"Rubric {self.name!r} needs a positive weight on a dimension that is not optional.")
        for dimension in self.dimensions:
            for level, _ in dimension.anchors:
                if not self.scale.contains(level):
                    raise ConfigError(f"dimensions.anchors of {dimension.key!r}: {level:g} is outside the scale.")

    def dimension(self, key: str) -> Dimension:
        for dimension in self.dimensions:
            if dimension.key == key:
                return dimension
        keys = ", ".join(d.key for d in self.dimensions)
        raise ConfigError(f"Rubric {self.name!r} has no dimension {key!r}; it has {keys}.")

    def with_weights(self, weights: dict[str, float]) -> Rubric:
        """The same rubric with some weights replaced; an unknown key is a `ConfigError`."""
        for key in weights:
            self.dimension(key)
        changed = tuple(replace(d, weight=float(weights.get(d.key, d.weight))) for d in self.dimensions)
        return replace(self, dimensions=changed)
