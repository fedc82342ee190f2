"""The commands that make images: demo and refine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..engines import EngineOptions, make_scorer
from ..errors import BackendError, ConfigError
from ..generators import make_generator
from ..images import png_bytes
from ..loop.endings import ending, titles_of
from ..loop.history import has_begun, load_history
from ..loop.policy import RefinePolicy
from ..loop.refine import RefineState
from ..loop.refine_loop import LoopEnd, RefineLoop
from ..messages import UserRequest
from ..report import Figure, ReportRow, write_report
from ..rewording import split_negative, with_negative
from ..rubric_file import generation_rubric
from ..storage import replace_file, replace_text
from .judge_commands import DONE, FAILED, UNSCORED, check_rubric, request_of, run, scorer_of, show_json


def refine_command(arguments: argparse.Namespace) -> int:
    saved = _saved_run(arguments) if arguments.resume else None
    if saved is None and not arguments.prompt:
        raise ConfigError("refine needs --prompt, or --resume with the --out folder of an earlier run.")
    request = saved.request if saved is not None else _request(arguments)
    policy = replace(saved.policy if saved is not None else RefinePolicy(), **_given_rules(arguments))
    check_rubric(arguments, request)
    scorer = scorer_of(arguments)

    def show(state: RefineState) -> None:
        step = state.steps[-1]
        reward = "unscored" if step.reward is None else f"reward {step.reward:.2f}"
        print(f"{step.index + 1}. {reward}{' (best so far)' if step.accepted else ''}: {step.request}", file=sys.stderr)

    loop = RefineLoop(
        scorer,
        make_generator(arguments.generator, negative=policy.refine_negative),
        policy,
        folder=arguments.out,
        on_step=None if arguments.json else show,
    )
    work = loop.run(request, arguments.seed or 0) if saved is None else loop.resume(policy)
    try:
        end = run(scorer, work)
    except BackendError as error:
        hint = f"{error} What was finished is kept in {arguments.out}; go on with --resume."
        raise BackendError(hint, reason=error.reason, status=error.status) from error
    rubric = scorer.rubric_for(end.state.request)
    why = ending(end.state, end.reason, titles_of(rubric))
    write_report(
        arguments.out / "report.html",
        [ReportRow(end.state, end.reason, rubric)],
        title="Generate, critique, refine",
        lead=why,
    )
    if end.best is not None and end.best.image is not None:
        replace_file(arguments.out / "best.png", [png_bytes(end.best.image)])
    _print_end(end, why, arguments)
    return DONE if end.best is not None else UNSCORED


def _request(arguments: argparse.Namespace) -> UserRequest:
    """What the command asks for; a negative prompt stands behind the prompt, as in the files that other programs write.

    ConfigError if the prompt has one already.
    """
    request = request_of(arguments)
    if arguments.negative_prompt is None:
        return request
    if split_negative(request.text)[0] != request.text:
        raise ConfigError("--prompt holds a negative prompt already: give it as --negative-prompt alone.")
    return replace(request, text=with_negative(request.text, arguments.negative_prompt))


def _saved_run(arguments: argparse.Namespace) -> RefineState | None:
    """The run in --out; None if it did not begin yet and --prompt says what it is about.

    ConfigError if the command asks for another request than the run was about.
    """
    if arguments.prompt and not has_begun(arguments.out):
        return None
    saved = load_history(arguments.out)
    prompt, negative = split_negative(saved.request.text) if saved.policy.refine_negative else (saved.request.text, "")
    options = {
        "--prompt": (arguments.prompt, prompt),
        "--negative-prompt": (arguments.negative_prompt, negative),
        "--seed": (arguments.seed, saved.base_seed),
    }
    for option, (typed, saved_value) in options.items():
        if typed is not None and typed != saved_value:
            raise ConfigError(
                f"The run in {arguments.out} has {option} {saved_value!r}; leave {option} out to go on with it."
            )
    return saved


def _given_rules(arguments: argparse.Namespace) -> dict[str, Any]:
    """The rules of the loop named on the command line; all others keep their (or the saved run's) values."""
    rules = {f.name: getattr(arguments, f.name, None) for f in fields(RefinePolicy)}
    rules["refine_negative"] = None if arguments.negative_prompt is None else True
    return {name: value for name, value in rules.items() if value is not None}


def _print_end(end: LoopEnd, why: str, arguments: argparse.Namespace) -> None:
    best = end.best
    if arguments.json:
        best_row = None if best is None else {"reward": best.reward, "request": best.request, "seed": best.seed}
        steps = len(end.state.steps)
        show_json(
            {"reason": end.reason.value, "ending": why, "steps": steps, "best": best_row, "out": str(arguments.out)}
        )
        return
    print(f"Ended after {len(end.state.steps)} image{'s'[: len(end.state.steps) != 1]}. {why}")
    if best is not None:
        print(f"Best: reward {best.reward:.2f}, seed {best.seed}, prompt: {best.request}")
    print(f"Images, history and report: {arguments.out}")


def demo_command(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..miniature import generator_folder
    from ..miniature.demo import THRESHOLD, DemoOptions, run_demo, summarise
    from ..miniature.generator import MiniatureGenerator

    started = time.perf_counter()
    policy = RefinePolicy(
        threshold=THRESHOLD, max_iterations=arguments.images, first=arguments.first, patience=arguments.images
    )
    options = DemoOptions(prompts=arguments.prompts, seed=arguments.seed, policy=policy)
    if options.prompts < 2:
        raise ConfigError("The demo needs at least 2 prompts.")
    scorer = make_scorer("miniature", EngineOptions(batch_size=32, device="cpu"))
    generator = MiniatureGenerator.load(generator_folder())
    bar: Any = tqdm(disable=arguments.json, file=sys.stderr, unit="")

    def progress(stage: str, count: int, total: int) -> None:
        bar.set_description(stage)
        bar.total, bar.n = total, count
        bar.refresh()

    async def work() -> Any:
        return await run_demo(scorer, generator, options, progress)

    runs, clock = run(scorer, work())
    bar.close()
    summary = {**summarise(runs, clock), "wall_seconds": round(time.perf_counter() - started, 1)}
    replace_text(arguments.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    _demo_report(arguments.out / "report.html", runs, summary)
    if arguments.json:
        show_json(summary)
    else:
        print(_demo_text(summary, arguments.out))
    return FAILED if summary["unscored"] > 0.05 * summary["images_generated"] else DONE


def _demo_figures(summary: dict[str, Any]) -> list[Figure]:
    low, high = summary["ci95"]
    lead_low, lead_high = summary["lead_ci95"]
    return [
        Figure(f"{summary['oracle_before']:.2f} → {summary['oracle_after']:.2f}", "truth (oracle), first image → best", f"gain {summary['oracle_gain']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"),
        Figure(f"{summary['reward_before']:.2f} → {summary['reward_after']:.2f}", "reward by the judge"),
        Figure(f"{summary['best_of_n_oracle']:.2f}", "truth of best-of-N, at least the same seconds", f"the loop leads by {summary['lead_over_best_of_n']:+.3f} ({lead_low:+.3f} to {lead_high:+.3f})"),
        Figure(f"{summary['perfect_before']:.0%} → {summary['perfect_after']:.0%}", "requests answered perfectly", f"best-of-N: {summary['best_of_n_perfect']:.0%}"),
        Figure(str(summary["images_generated"]), "images by the loop", f"best-of-N: {summary['best_of_n_images']}"),
        Figure(f"{summary['generator_seconds']:.1f} s + {summary['judge_seconds']:.1f} s", "generator + judge"),
        Figure(str(summary["unscored"]), "unscored"),
    ]  # fmt: skip


def _demo_report(path: Path, runs: Any, summary: dict[str, Any]) -> None:
    from ..miniature.demo import mean_curve
    from ..report.parts import Line

    rows = [
        ReportRow(
            run.end.state,
            run.end.reason,
            generation_rubric(),
            f"oracle {run.loop_curve[0][1]:.2f} → {run.loop_curve[-1][1]:.2f}",
        )
        for run in runs
    ]
    loop, rival = [run.loop_curve for run in runs], [run.rival_curve for run in runs]
    lines = [
        Line("loop, judge", mean_curve(loop, 0), "#4c6ef5"),
        Line("loop, oracle", mean_curve(loop, 1), "#12b886"),
        Line("best-of-N, oracle", mean_curve(rival, 1), "#f08c00", dashed=True),
    ]
    write_report(
        path,
        rows,
        title="Generate, critique, refine: the miniature",
        lead=(
            f"{summary['n_prompts']} requests that no model here was trained on. A small generator draws each one; a small "
            "reward model judges the picture in words and scores and rewrites the request; the generator tries again. "
            "The oracle knows the truth of this world of shapes; it takes no part in the loop."
        ),
        figures=_demo_figures(summary),
        lines=lines,
        footer=(
            "Best-of-N draws from the original request for as many seconds as the loop used, judging included, and keeps "
            "the image with the highest reward. Scores go from 1 to 4; rewards and the oracle's truth from 0 to 1."
        ),
    )


def _demo_text(summary: dict[str, Any], out: Path) -> str:
    low, high = summary["ci95"]
    lead_low, lead_high = summary["lead_ci95"]
    return "\n".join(
        [
            "",
            f"{summary['n_prompts']} held-out requests, {summary['images_generated']} images by the loop, {summary['wall_seconds']:.0f} s in all",
            f"  judge's reward    {summary['reward_before']:.3f} -> {summary['reward_after']:.3f}",
            f"  truth (oracle)    {summary['oracle_before']:.3f} -> {summary['oracle_after']:.3f}   gain {summary['oracle_gain']:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"  best-of-N, truth  {summary['best_of_n_oracle']:.3f}   the loop leads by {summary['lead_over_best_of_n']:+.3f} [{lead_low:+.3f}, {lead_high:+.3f}]",
            f"  unscored          {summary['unscored']}",
            f"  seconds           generator {summary['generator_seconds']:.1f}, judge {summary['judge_seconds']:.1f} ({summary['judge_processor_seconds']:.1f} of the processor, {1e3 * summary['judge_processor_seconds'] / summary['images_generated']:.0f} ms a critique)",
            f"Report: {out / 'report.html'}",
        ]
    )
