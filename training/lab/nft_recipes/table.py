"""The recipes that are compared, and how long each may train for the same work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rationalrewards_core.miniature.generator import GUIDANCE

from ...nft.__main__ import resolved
from ...nft.estimate import estimate

BACKWARD: Final = 3
"""A pass with gradients costs about as much as three without."""
REFINED: Final = "refined.jsonl"


@dataclass(frozen=True)
class Recipe:
    """One way to train, and how its generator is used."""

    settings: tuple[str, ...]
    """What differs from the preset, as on the trainer's command line; `{out}` is the folder of the comparison."""
    label: str
    colour: str
    guidance: float = GUIDANCE
    """With which the trained generator is used."""
    shift_weight: float | None = None
    """Used guided by the shipped generator, with what training changed added at this weight (`shift`)."""
    trained_as: str = ""
    """The recipe whose runs these are, if only the use differs."""

    def settings_in(self, out: Path) -> list[str]:
        return [setting.replace("{out}", str(out)) for setting in self.settings]


SHIFT_WEIGHT: Final = GUIDANCE / 2
_PASSES: Final = (f"rollout.guidance={GUIDANCE}", "loss.dropped=0.2")
RECIPES: Final[dict[str, Recipe]] = {
    "plain": Recipe((), "as published", "#868e96"),
    "kl": Recipe(("loss.kl_weight=1.0",), "KL weight 1", "#d9730d"),
    "guided": Recipe((f"rollout.guidance={GUIDANCE}", "loss.guided=true"), "guided velocity", "#3b5bdb"),
    "passes": Recipe(_PASSES, "guided rollouts, passes apart", "#b3382c"),
    "distil": Recipe(
        ("loss.kl_weight=1.0", f"loss.kl_guidance={GUIDANCE}"), "guidance distilled, used without", "#12805c", 1.0
    ),
    "refined": Recipe(
        (*_PASSES, f'prompts.refined="file:{{out}}/{REFINED}"'), "passes apart, refined words too", "#862e9c"
    ),
    "plain-shift": Recipe(
        (), "as published, its change added", "#212529", shift_weight=SHIFT_WEIGHT, trained_as="plain"
    ),
    "passes-shift": Recipe(
        _PASSES, "passes apart, its change added", "#e8590c", shift_weight=SHIFT_WEIGHT, trained_as="passes"
    ),
}
"""Name -> recipe. `plain` is the preset itself: DiffusionNFT as published, without guidance anywhere."""
PLAIN: Final = "plain"
FIRST_SEED: Final = 42


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """How much is run."""

    recipes: tuple[str, ...] = tuple(RECIPES)
    seeds: int = 3
    epochs: int = 15
    """Of `plain`; the others get as many as cost the same work."""
    judge: str = "oracle"
    """The reward."""
    milestones: int = 3
    """A run is stopped, measured and resumed at so many equal parts of its work."""
    development: int = 96
    """Requests that recipes are chosen by: reserved ones, none of them among the held-out."""
    refinements: int = 64
    """Training requests that the shipped loop is run on, for the recipe that trains refined words."""
    held_out: int = 64
    """The demo's own requests, for the last table: `plain` and the chosen recipe against the shipped generator; 0
    leaves it out."""
    images: int = 4
    """Budget of best-of-N and the loop there, in images a request."""
    settings: tuple[str, ...] = ()
    """Further settings of every run."""


def run_settings(name: str, seed: int, options: RecipeOptions, out: Path) -> list[str]:
    """What a run is told on top of the preset `miniature_cpu`, but for how long it trains."""
    return [
        f'rewards.judge="{options.judge}"',
        'prompts.held_out=""',
        f"run.seed={FIRST_SEED + seed}",
        "run.evaluate_every=0",
        "run.audit_every=0",
        *RECIPES[name].settings_in(out),
        *options.settings,
    ]


def work(settings: Sequence[str]) -> int:
    """Passes without gradients that an epoch's work is equal to."""
    counted = estimate(resolved("miniature_cpu", None, list(settings)))
    return counted.forwards + BACKWARD * counted.backwards


def milestones(name: str, options: RecipeOptions, out: Path) -> list[int]:
    """Epochs at which a recipe has had equal parts of the work that `plain` may spend, the last of them all of it."""
    share = work(run_settings(PLAIN, 0, options, out)) / work(run_settings(name, 0, options, out))
    parts = options.milestones
    return [max(1, round(options.epochs * share * part / parts)) for part in range(1, parts + 1)]
