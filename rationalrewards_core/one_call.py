"""One call from an image and a prompt to a critique with its reward: no event loop, no scorer to be made.

The judge is kept between calls, so that only the first one loads it. Calls may come from several threads, and from a
notebook, where an event loop is running already: the work is done in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from .engines import EngineOptions, make_scorer
from .images import MAX_PIXELS, open_image
from .judged import Case, Judged
from .messages import UserRequest
from .scorer import Scorer

_ONE_AT_A_TIME = threading.Lock()
_scorers: dict[tuple[str, str | None, EngineOptions], Scorer] = {}
"""The judge of the last call; another one takes its place, and its memory."""


def judge(
    image: Image.Image | str | Path,
    prompt: str,
    *,
    sources: Sequence[Image.Image] = (),
    engine: str = "miniature",
    rubric: str | Path | None = None,
    options: EngineOptions | None = None,
) -> Judged:
    """Judge an image (or an image file) against the prompt it was made from; with `sources`, an edit against them.

    `engine` is a judge's name as on the command line, such as `local:/models/RationalRewards-8B-T2I`. An image that
    could not be judged has `reward` None and an `outcome` that says why. Raises ConfigError for an unknown engine or
    rubric, RequestError for a file that is no image and a prompt that no judge can read.
    """
    picture = image if isinstance(image, Image.Image) else open_image(Path(image), MAX_PIXELS)
    case = Case(UserRequest(prompt, tuple(sources)), picture)
    with _ONE_AT_A_TIME:
        scorer = _scorer(engine, None if rubric is None else str(rubric), options or EngineOptions())
        work = asyncio.run_coroutine_threadsafe(scorer.judge_many([case]), _loop())
        try:
            return work.result()[0]
        except BaseException:
            work.cancel()  # of a user who stops waiting: nobody is left to read the answer
            raise


def _scorer(engine: str, rubric: str | None, options: EngineOptions) -> Scorer:
    key = (engine, rubric, options)
    if key not in _scorers:
        scorer = make_scorer(engine, options, rubric=rubric)
        for earlier in _scorers.values():
            asyncio.run_coroutine_threadsafe(earlier.close(), _loop()).result()
        _scorers.clear()
        _scorers[key] = scorer
    return _scorers[key]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Connections and models live in the event loop that they were first used in, so there is one for all calls."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rationalrewards-judge", daemon=True).start()
    return loop
