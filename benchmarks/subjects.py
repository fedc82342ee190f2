"""What the benchmarks judge: rendered pictures of the miniature world, and the miniature's engine."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.flaws import sample_generation
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings


def cases(count: int, seed: int = 31) -> list[Case]:
    rng = np.random.default_rng([900_001, seed])
    examples = [sample_generation(rng, reserved=True) for _ in range(count)]
    return [Case(UserRequest(e.request), Image.fromarray(e.picture)) for e in examples]


def engine(batch_size: int = 16, precision: str = "auto") -> TransformersLocal:
    config = CheckpointConfig(model=str(scorer_folder()), precision=precision, device="cpu")  # type: ignore[arg-type]
    return TransformersLocal(config, batch_size=batch_size)


def scorer(backend: TransformersLocal, *, guided: bool = True, alternatives: int = 10) -> Scorer:
    """A scorer without a memo to speak of: every call is paid for."""
    settings = ScorerSettings(guided=guided, alternatives=alternatives, ask_again=0, max_tokens=400)
    return Scorer(backend, make_rubrics(EngineName("miniature")), settings, Memo(limit=0))
