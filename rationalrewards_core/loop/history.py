"""The history of a loop: one JSON line per step, appended as it happens, images beside it.

    history.jsonl     a header (request, policy, base seed), then one line per step
    step_000.png ...  the candidates

A run that was killed is re-opened from it and goes on where it was: a line that was torn is cut off by the next
writer (`jsonl`). One process writes a history at a time. Steps that are missing, doubled or out of order are refused.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from PIL import Image

from ..critique import Critique, Unscored, critique_from_json
from ..errors import ConfigError, RationalRewardsError, RequestError
from ..images import MAX_PIXELS, open_image, png_bytes
from ..jsonl import DamagedLine, JsonLine, LineWriter, Row, whole_lines
from ..messages import UserRequest
from ..storage import clear_unfinished, replace_file
from .policy import RefinePolicy
from .refine import Origin, RefineState, RefineStep

FILE = "history.jsonl"
VERSION = 1
FORMER_NAMES = {
    "minimum": "minimum_score",
    "minimums": "minimum_scores",
    "margin": "minimum_gain",
    "max_images": "max_iterations",
}
"""What rules of the loop were called in older histories."""
_ENDLESS = 1e9
"""No seconds of a step and no score of a rubric are more."""


class History:
    """Appends the steps of one loop to a folder.

    While it is entered as a context manager nobody else can write there: ConfigError if somebody does. StorageError
    where the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE
        self._lines: LineWriter | None = None

    def __enter__(self) -> History:
        self._lines = self._writer()
        clear_unfinished(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()

    def start(self, state: RefineState) -> None:
        """Write the header of a new run; ConfigError if the folder already holds one."""
        if has_begun(self.folder):
            raise ConfigError(f"{self.folder} already holds a run; continue it, or choose another folder.")
        sources = []
        for number, source in enumerate(state.request.sources):
            name = f"source_{number}.png"
            replace_file(self.folder / name, [png_bytes(source)])
            sources.append(name)
        header = {
            "version": VERSION,
            "request": state.request.text,
            "sources": sources,
            "base_seed": state.base_seed,
            "policy": {**asdict(state.policy), "minimum_scores": dict(state.policy.minimum_scores)},
        }
        self._append(header)

    def add(self, step: RefineStep) -> None:
        """Save the step's image, then its line: a line never names an image that is not there."""
        name = ""
        if step.image is not None:
            name = f"step_{step.index:03d}.png"
            replace_file(self.folder / name, [png_bytes(step.image)])
        self._append(step_to_json(step, name))

    def _append(self, row: Row) -> None:
        with self._writer() if self._lines is None else nullcontext(self._lines) as lines:
            lines.append(row)

    def _writer(self) -> LineWriter:
        busy = f"Another process is writing {self.file}; wait until that loop has ended, or choose another folder."
        return LineWriter(self.file, busy=busy)


def step_to_json(step: RefineStep, image_file: str) -> Row:
    return {
        "index": step.index,
        "request": step.request,
        "seed": step.seed,
        "origin": step.origin,
        "outcome": step.outcome.to_json(),
        "reward": step.reward,
        "accepted": step.accepted,
        "proposal": step.proposal,
        "generate_seconds": round(step.generate_seconds, 4),
        "judge_seconds": round(step.judge_seconds, 4),
        "image_file": image_file or step.image_file,
    }


def load_history(folder: Path) -> RefineState:
    """Re-open a run. ConfigError, in one sentence, if the folder holds none, or one that is damaged or out of order."""
    file = folder / FILE
    check_there(folder)
    lines = list(whole_lines(file))
    if not lines:
        raise ConfigError(f"{folder} holds no run: it was ended before it began; start it anew.")
    state, names = _header(lines[0])
    steps = tuple(_step_at(place, line) for place, line in enumerate(lines[1:]))
    try:
        request = UserRequest(state.request.text, tuple(_image(folder, name) for name in names))
        steps = tuple(replace(s, image=_image(folder, s.image_file) if s.image_file else None) for s in steps)
    except RequestError as error:
        raise ConfigError(
            f"{error} Without it the run in {folder} cannot go on: put it back, or start anew."
        ) from error
    return replace(state, request=request, steps=steps)


def has_begun(folder: Path) -> bool:
    """Whether a run's header is there: before that, nothing of it is."""
    return next(whole_lines(folder / FILE), None) is not None


def check_there(folder: Path) -> None:
    """ConfigError if the folder holds no history at all."""
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder} holds no run: there is no {FILE}.")


def _header(line: JsonLine) -> tuple[RefineState, tuple[str, ...]]:
    """The state before the first step, and the names of the files of the request's sources."""

    def build(row: Row) -> tuple[RefineState, tuple[str, ...]]:
        if row["version"] != VERSION:
            raise ValueError(row["version"])
        names = tuple(_typed(name, str) for name in _typed(row["sources"], list))
        request, seed = UserRequest(_typed(row["request"], str)), _number(row["base_seed"], 2**32 - 1)
        return RefineState(request=request, base_seed=seed, policy=_policy(row["policy"])), names

    try:
        return line.build(build)
    except RationalRewardsError as error:
        raise ConfigError(f"{line.path} is not a history of this version; start anew in another folder.") from error


def _policy(rules: Row) -> RefinePolicy:
    return RefinePolicy(**{FORMER_NAMES.get(name, name): value for name, value in rules.items()})


def _step_at(place: int, line: JsonLine) -> RefineStep:
    try:
        step = line.build(_step)
        why = "" if step.index == place else f"holds step {step.index} where step {place} belongs"
    except DamagedLine:
        why = "cannot be read"
    if why:
        raise ConfigError(
            f"{line.path}, line {line.number} {why}; delete it and every line after it to go on from there."
        )
    return step


def _step(row: Row) -> RefineStep:
    """Without its image."""
    outcome = _outcome(_typed(row["outcome"], dict))
    reward, origin = row["reward"], row["origin"]
    accepted = _typed(row["accepted"], bool)
    if isinstance(outcome, Unscored) != (reward is None) or origin not in get_args(Origin):
        raise ValueError(reward, origin)
    if accepted and reward is None:
        raise ValueError(accepted)
    if reward is not None:
        _number(reward, 1.0)
    return RefineStep(
        index=_typed(row["index"], int),
        request=_typed(row["request"], str),
        seed=_typed(row["seed"], int),
        origin=origin,
        outcome=outcome,
        reward=reward,
        accepted=accepted,
        proposal=_typed(row.get("proposal"), str, type(None)),  # absent before there were proposals
        generate_seconds=_number(row["generate_seconds"], _ENDLESS),
        judge_seconds=_number(row["judge_seconds"], _ENDLESS),
        image_file=_typed(row["image_file"], str),
    )


def _outcome(table: Row) -> Critique | Unscored:
    if "unscored" not in table:
        return _checked(critique_from_json(table))
    reason, message, raw = (_typed(table[name], str) for name in ("unscored", "message", "raw"))
    return Unscored(reason=reason, message=message, raw=raw)


def _checked(critique: Critique) -> Critique:
    """The critique, if everything in it that the loop's rules and reports look at is of its kind."""
    for judgement in critique.judgements:
        _typed(judgement.key, str)
        _typed(judgement.justification, str)
        for number in (judgement.score, judgement.expected, judgement.spread):
            if number is not None:
                _number(number, _ENDLESS, -_ENDLESS)
    texts = [critique.summary, critique.analysis, critique.raw, critique.rubric]
    if critique.refinement is not None:
        texts += [critique.refinement.comments, critique.refinement.request]
    for text in texts:
        _typed(text, str)
    return critique


def _typed(value: Any, *kinds: type) -> Any:
    """`value`, if it is of one of the kinds; a truth value is no number."""
    if type(value) not in kinds:
        raise TypeError(value)
    return value


def _number(value: Any, highest: float, lowest: float = 0.0) -> Any:
    """`value`, if it is a number from `lowest` to `highest`."""
    if not lowest <= _typed(value, int, float) <= highest:
        raise ValueError(value)
    return value


def _image(folder: Path, name: str) -> Image.Image:
    if Path(name).name != name:
        raise RequestError(f"{name!r} is no name of a picture beside {FILE}.")
    return open_image(folder / name, MAX_PIXELS)
