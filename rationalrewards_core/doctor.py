"""Whether an engine can judge, from end to end: reached, seeing, guided, quick enough, at the right sizes.

Every check is one line, and every line that is not good says what to do. It is the same for a model in this process, a
GGUF file and a server, and asks as a critique does; only where all is well does it cost more than a few short questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from PIL import Image

from .backends.base import Backend, Reply, Sampling, introduce
from .backends.server_profile import ServerProfile
from .backends.sight import sight_of
from .critique import Critique, Unscored
from .doctor_case import PROMPT, Witness, shipped_picture
from .errors import BackendError, RationalRewardsError
from .judged import Case
from .memo import Memo
from .messages import Message, UserRequest
from .picture_grid import PictureGrid, grid_of_side
from .rubric import Kind, Rubric
from .scorer import Scorer
from .scorer_settings import ScorerSettings

State = Literal["good", "poor", "stops"]
"""`poor` judges, and not as well as it could; `stops` does not judge."""

WIDE: Final = (1344, 768)
"""A usual size of generators, above the 0.8 megapixels of the released judges."""
SQUARE: Final = (1024, 1024)
"""For checkpoints that bring every picture to one number of pixels, which other proportions cannot meet in whole patches."""
MARKS: Final = 2
"""Tokens around a picture in the templates of the Qwen-VL family."""
SHORT: Final = 16
SLOW_SECONDS: Final = 60.0


@dataclass(frozen=True)
class DoctorLine:
    """What one check showed."""

    check: str
    state: State
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"check": self.check, "state": self.state, "sentence": self.sentence, **self.figures}


@runtime_checkable
class Profiled(Protocol):
    """An engine that knows what its server honours, and how pictures are scaled for it."""

    def forget(self) -> None:
        """Find that out anew: the doctor is called when something has changed."""

    @property
    def profile(self) -> ServerProfile | None: ...

    @property
    def grid(self) -> PictureGrid | None: ...


@dataclass(kw_only=True)
class Doctor:
    """The checks of one engine, in an order in which the first that stops makes the later ones meaningless."""

    backend: Backend
    rubrics: dict[Kind, Rubric]
    model: str = ""
    """The model that was asked for by name; empty if none was."""
    max_pixels: int | None = None
    """The pixel budget that it was given."""
    grid: PictureGrid | None = None
    """How its checkpoint scales pictures, where that is known beforehand."""
    max_tokens: int = 2048
    rival: Scorer | None = None
    """The local engine of the same model, if it is at hand."""
    tell: Callable[[DoctorLine], None] = lambda line: None
    """Told every line as soon as it is there."""
    lines: list[DoctorLine] = field(default_factory=list)

    async def examine(self) -> list[DoctorLine]:
        """Every line, the last of which stops if any does."""
        try:
            await self._reach()
            await self._see()
            self._honours()
            await self._judge()
        except RationalRewardsError as error:
            self._say(check_of(error), "stops", str(error))
        return self.lines

    @property
    def stopped(self) -> bool:
        return any(line.state == "stops" for line in self.lines)

    async def _reach(self) -> None:
        began = time.perf_counter()
        if isinstance(self.backend, Profiled):
            self.backend.forget()
        await introduce(self.backend)
        reply = await self._short()
        seconds = time.perf_counter() - began
        self._say(
            "reached", "good", f"It answers, {seconds:.1f} s after it was first asked.", seconds=round(seconds, 2)
        )
        if self.model and reply.model.partition("@")[0] != self.model.partition("@")[0]:
            sentence = (
                f"It was asked for {self.model!r} and answers as {reply.model!r}; serve that model, or name this one."
            )
            self._say("model", "poor", sentence, model=reply.model)
        else:
            self._say("model", "good", f"The model is {reply.model}.", model=reply.model)

    async def _see(self) -> None:
        profile = self._profile
        if profile is not None and profile.pictures:
            pictures, side = profile.pictures, profile.grid
        else:
            try:
                sight = await sight_of(self._prompt_tokens)
            except ValueError:
                sentence = "It counts no tokens, so whether it sees pictures cannot be told; look at its critiques."
                self._say("sight", "poor", sentence)
                return
            if sight.blind:
                raise BackendError(
                    f"It does not see pictures: {sight.blind}; serve a vision-language model (llama.cpp needs its mmproj too).",
                    reason="no_sight",
                )
            pictures, side = sight.pictures, sight.grid
        several = (
            "It sees pictures." if pictures > 1 else "It sees one picture a question: edits need two; raise its limit."
        )
        self._say("sight", "good" if pictures > 1 else "poor", several, pictures=pictures)
        grid = self.backend.grid if isinstance(self.backend, Profiled) else None
        await self._budget(self.grid or grid or grid_of_side(side))

    async def _budget(self, grid: PictureGrid | None) -> None:
        """Whether a picture above the budget takes the tokens that it should."""
        if grid is None or self.max_pixels is None:
            return
        size = WIDE if grid.most is None or grid.least < grid.most else SQUARE
        wide, high = grid.fit(Image.new("RGB", size), self.max_pixels).size
        expected = wide * high // grid.side**2
        tokens = await self._prompt_tokens(_question(Image.new("RGB", size))) - await self._prompt_tokens(_question())
        tokens -= MARKS
        figures = {"pixels": [wide, high], "tokens": tokens, "expected_tokens": expected}
        if abs(tokens - expected) <= MARKS:
            sentence = f"A picture of {size[0]} x {size[1]} is judged at {wide} x {high}, {expected} tokens."
            self._say("pixels", "good", sentence, **figures)
        else:
            sentence = (
                f"A picture of {size[0]} x {size[1]} takes {tokens} tokens where {expected} are right: it is scaled a second time; "
                "set processor and max_pixels in the config file to what the model was trained on."
            )
            self._say("pixels", "poor", sentence, **figures)

    def _honours(self) -> None:
        profile = self._profile
        if profile is None or not profile.probed:
            return
        good = profile.guided and profile.alternatives > 0 and profile.stop_texts > 0
        self._say("server", "good" if good else "poor", " ".join(profile.lines()), profile=profile.to_json())

    async def _judge(self) -> None:
        witness = Witness(self.backend)
        scorer = Scorer(witness, self.rubrics, ScorerSettings(max_tokens=self.max_tokens, ask_again=0), Memo(limit=0))
        case = Case(UserRequest(PROMPT), shipped_picture())
        outcome = (await scorer.score_many([case])).outcomes[0]
        if isinstance(outcome, Unscored):
            self._say("critique", "stops", f"It wrote no critique ({outcome.reason}): {outcome.message}")
            return
        self._say("critique", "good", f"It wrote a critique: {_scores(outcome)}.", scores=outcome.scores)
        self._pace(witness.replies[-1])
        certain = any(judgement.expected is not None for judgement in outcome.judgements)
        sentence = (
            "Its token probabilities give expected scores."
            if certain
            else "It gives no token probabilities, so there is no expected score; sampled critiques (--samples) show instead how sure it is."
        )
        self._say("probabilities", "good" if certain else "poor", sentence)
        if self.rival is not None:
            await self._agree(case, outcome)

    def _pace(self, reply: Reply) -> None:
        rate = reply.completion_tokens / reply.seconds if reply.seconds else 0.0
        sentence = f"A critique takes {reply.seconds:.1f} s, {rate:.0f} tokens a second."
        slow = reply.seconds > SLOW_SECONDS
        if slow:
            sentence += " That is slow: take a smaller or a quantised model, or a faster card."
        figures = {"seconds": round(reply.seconds, 2), "tokens_per_second": round(rate, 1)}
        self._say("speed", "poor" if slow else "good", sentence, **figures)

    async def _agree(self, case: Case, outcome: Critique) -> None:
        assert self.rival is not None
        local = (await self.rival.score_many([case])).outcomes[0]
        if isinstance(local, Unscored):
            sentence = f"The local engine wrote no critique ({local.reason}), so there is nothing to compare with: {local.message}"
            self._say("agreement", "poor", sentence)
            return
        pairs = [(score, local.scores.get(key)) for key, score in outcome.scores.items()]
        far = max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)
        same = far < 0.05 and all((a is None) == (b is None) for a, b in pairs)
        sentence = (
            "It gives the scores of the local engine."
            if same
            else f"The local engine scores otherwise ({_scores(local)}); check that it is the same model in the same precision."
        )
        self._say(
            "agreement", "good" if same else "poor", sentence, largest_difference=round(far, 2), local=local.scores
        )

    @property
    def _profile(self) -> ServerProfile | None:
        return self.backend.profile if isinstance(self.backend, Profiled) else None

    async def _short(self, *pictures: Image.Image) -> Reply:
        return await self.backend.reply(_question(*pictures), Sampling(max_tokens=SHORT))

    async def _prompt_tokens(self, messages: Sequence[Message]) -> int:
        return (await self.backend.reply(messages, Sampling(max_tokens=1))).prompt_tokens

    def _say(self, check: str, state: State, sentence: str, **figures: Any) -> None:
        line = DoctorLine(check, state, sentence, figures)
        self.lines.append(line)
        self.tell(line)


def check_of(error: RationalRewardsError) -> str:
    """The check that an error is an answer to."""
    rows = {
        "unauthorized": "key",
        "model_not_found": "model",
        "model_changed": "model",
        "no_sight": "sight",
        "config": "config",
    }
    return rows.get(error.reason, "reached")


def _question(*pictures: Image.Image) -> tuple[Message, ...]:
    return (Message("user", (*pictures, "Name the colours of the picture in one word.")),)


def _scores(critique: Critique) -> str:
    return ", ".join(f"{key} {'N/A' if score is None else f'{score:g}'}" for key, score in critique.scores.items())
