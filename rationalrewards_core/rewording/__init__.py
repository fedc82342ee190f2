"""One set of rules for a judge's rewriting of a prompt: what the user fixed survives, and the judge adds words only.

The loop, the command line, the nodes and the trainer's prompts all reword by `reworded`.
"""

from .negative import refined_negative, split_negative, with_negative
from .rewording import Rewording, reworded
from .rules import STYLES, RewordingRules, Style

__all__ = [
    "STYLES",
    "Rewording",
    "RewordingRules",
    "Style",
    "refined_negative",
    "reworded",
    "split_negative",
    "with_negative",
]
