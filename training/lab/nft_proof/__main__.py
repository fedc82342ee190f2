"""Does a reward that reasons resist being gamed? One command, about an hour on two cores.

    python -m training.lab.nft_proof --out runs/nft-proof
    python -m training.lab.nft_proof --out runs/nft-proof --epochs 4 --seeds 1 --prompts 16 --rivals 4      # a smoke test

Starting from the shipped generator, the same number of rollouts is judged by (1) the miniature scorer, (2) a scalar
head on the scorer's own backbone, trained on the oracle's preferences, (3) a small scalar network trained on such
preferences alone, (4) the oracle itself. Whatever trained, the *oracle* says how true the
held-out pictures are, over training. Rivals without training: best-of-N and the refine loop on the shipped generator
and on every tuned one, at equal seconds (the demo's own comparison). Every run resumes; the report is rewritten.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rationalrewards_core.miniature.generator import GUIDANCE

from ..command import comparison_parser, run_comparison
from .arms import ARMS, Curve, NFTProofOptions, judge_of, lora_of, run_arms
from .judges import accuracies
from .report import CURVES, GRID, arm_figures, lead, picture_grid, save_training_curves, write_report
from .rivals import compared, first_images, tuned_generator, use


def prove(options: NFTProofOptions, out: Path) -> dict[str, Any]:
    """Run what is missing, and write the report after every part."""
    curves = run_arms(options, out)
    summary: dict[str, Any] = {"arms": arm_figures(curves)}
    for rival in ("head", "scalar"):
        if (gap := lead(curves, "scorer", rival)) is not None:
            summary[f"scorer_over_{rival}"] = gap
    save_training_curves(out / CURVES, curves)
    write_report(out, summary)
    summary["judges"] = accuracies({arm: judge_of(arm, out) for arm in options.arms if arm != "oracle"})
    _grid(options, out)
    write_report(out, summary)
    if options.rivals:
        for name, guidance in (("in_use", GUIDANCE), ("in_use_without_guidance", 1.0)):
            summary[name] = _in_use(options, out, curves, guidance)
            write_report(out, summary)
    return summary


def _grid(options: NFTProofOptions, out: Path, requests: int = 10) -> None:
    columns = {}
    texts, columns["shipped"] = first_images(tuned_generator(None), requests)
    for arm in options.arms:
        columns[arm] = first_images(tuned_generator(lora_of(out, arm, 0)), requests)[1]
    picture_grid(texts, columns).save(out / GRID)


def _in_use(options: NFTProofOptions, out: Path, curves: list[Curve], guidance: float) -> dict[str, Any]:
    """One image, best-of-N and the loop, with the shipped generator and with every tuned one."""
    shipped = use(tuned_generator(None, guidance), options.rivals)
    table: dict[str, Any] = {
        "requests": options.rivals,
        "guidance": guidance,
        "shipped": compared(shipped, [shipped]),
        "loop_seconds_per_request": round(shipped.loop_seconds / options.rivals, 3),
    }
    for arm in options.arms:
        loras = [lora_of(out, arm, seed) for seed in range(options.seeds)]
        table[arm] = compared(shipped, [use(tuned_generator(lora, guidance), options.rivals) for lora in loras])
    spent = {curve.arm: curve.seconds for curve in curves}
    table["training_costs_as_many_loops"] = {
        arm: round(seconds * options.rivals / shipped.loop_seconds) for arm, seconds in spent.items()
    }
    return table


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    parser = comparison_parser("nft_proof", __doc__, NFTProofOptions())
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="a setting of every run"
    )
    run_comparison(prove, NFTProofOptions, parser.parse_args())


if __name__ == "__main__":
    main()
