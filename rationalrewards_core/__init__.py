"""RationalRewards: a reward model that critiques before it scores.

Reading order: `rubric` (what is judged), `messages` (how it is asked), `backends` (who answers),
`replies` and `critique` (what came back), `reward` (the number), `scorer` (all of that in one call),
`judged` (both together), `loop` (generate, critique, refine), `one_call` (without a scorer of one's own), `serving` (the same over HTTP).

Importing this package imports no torch, no transformers and nothing of ComfyUI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison, Verdict
    from .critique import Critique, Judgement, Refinement, Unscored, render_critique
    from .engines import EngineOptions, make_scorer
    from .judged import Case, Judged, ScoreBatch
    from .loop.policy import RefinePolicy
    from .loop.refine import RefineState, RefineStep
    from .loop.refine_loop import LoopEnd, RefineLoop
    from .messages import UserRequest
    from .one_call import judge
    from .replies.parsing import parse_critique
    from .rubric import Dimension, Rubric
    from .rubric_file import edit_rubric, generation_rubric, load_rubric
    from .rubric_writing import write_rubric
    from .scorer import Scorer
    from .scorer_settings import ScorerSettings

__version__ = "0.1.0"

_WHERE = {
    "comparison": ("Comparison", "Verdict"),
    "critique": ("Critique", "Judgement", "Refinement", "Unscored", "render_critique"),
    "engines": ("EngineOptions", "make_scorer"),
    "judged": ("Case", "Judged", "ScoreBatch"),
    "loop.policy": ("RefinePolicy",),
    "loop.refine": ("RefineState", "RefineStep"),
    "loop.refine_loop": ("LoopEnd", "RefineLoop"),
    "messages": ("UserRequest",),
    "one_call": ("judge",),
    "replies.parsing": ("parse_critique",),
    "rubric": ("Dimension", "Rubric"),
    "rubric_file": ("edit_rubric", "generation_rubric", "load_rubric"),
    "rubric_writing": ("write_rubric",),
    "scorer": ("Scorer",),
    "scorer_settings": ("ScorerSettings",),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}
__all__ = [
    "Case",
    "Comparison",
    "Critique",
    "Dimension",
    "EngineOptions",
    "Judged",
    "Judgement",
    "LoopEnd",
    "RefineLoop",
    "RefinePolicy",
    "RefineState",
    "RefineStep",
    "Refinement",
    "Rubric",
    "ScoreBatch",
    "Scorer",
    "ScorerSettings",
    "Unscored",
    "UserRequest",
    "Verdict",
    "edit_rubric",
    "generation_rubric",
    "judge",
    "load_rubric",
    "make_scorer",
    "parse_critique",
    "render_critique",
    "write_rubric",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that importing the package stays cheap."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE[name]}", __name__), name)
    globals()[name] = value
    return value
