"""Small graphs in API form for the loop's tests, made of the nodes in `test_pack`."""

from __future__ import annotations

from typing import Any

from tests.comfy.comfy_client import Client, Prompt, Run

SLOTS = ("image", "reward", "prompt", "seed", "iterations", "reached", "history")
"""Outputs of Loop Until Score, in order."""
SHOWN = {"reward": "r", "prompt": "p", "seed": "s", "iterations": "n", "reached": "ok", "history": "h"}
"""Output -> id of the PreviewAny that shows it."""


def until(flow: str, **changed: Any) -> dict[str, Any]:
    """A Loop Until Score that looks at the reward alone, on the Loop Start `flow`."""
    inputs = {
        "flow": [flow, 3],
        "threshold": 0.8,
        "max_iterations": 4,
        "patience": 50,
        "minimum_gain": 0.0,
        "minimum_score": 0.0,
        "keep": "best",
        "refine_from": "best",
    }
    return {"class_type": "RR_LoopUntilScore", "inputs": {**inputs, **changed}}


def start(prompt: Any = "a cat", seed: Any = 7, seed_policy: str = "increment") -> dict[str, Any]:
    return {"class_type": "RR_LoopStart", "inputs": {"prompt": prompt, "seed": seed, "seed_policy": seed_policy}}


def generator(open_id: str, **changed: Any) -> dict[str, Any]:
    inputs = {"prompt": [open_id, 0], "seed": [open_id, 1], "batch": 1, "size": 16, "seconds": 0.0}
    return {"class_type": "RRTest_Generator", "inputs": {**inputs, **changed}}


def critic(open_id: str, image: str, script: str, refined: str = "") -> dict[str, Any]:
    inputs = {"image": [image, 0], "prompt": [open_id, 4], "iteration": [open_id, 2]}
    return {"class_type": "RRTest_Critic", "inputs": {**inputs, "script": script, "refined": refined}}


def preview(image: str, slot: int = 0) -> dict[str, Any]:
    return {"class_type": "PreviewImage", "inputs": {"images": [image, slot]}}


def loop(
    script: str,
    *,
    request: str = "a cat",
    refined: str = "",
    generates: dict[str, Any] | None = None,
    **ends: Any,
) -> Prompt:
    """start -> gen -> critic -> end, a preview that hangs off the body, one of the best image, and all outputs shown.

    `script` holds the reward of each iteration; `generates` changes the generator, `ends` Loop Until Score. A test that
    counts what runs needs a `request` of its own: the server's cache remembers what other tests ran.
    """
    prompt: Prompt = {
        "start": start(request),
        "gen": generator("start", **(generates or {})),
        "critic": critic("start", "gen", script, refined),
        "dangling": preview("gen"),
        "end": until("start", image=["gen", 0], critique=["critic", 0], **ends),
        "best": preview("end"),
    }
    for output, node_id in SHOWN.items():
        prompt[node_id] = {"class_type": "PreviewAny", "inputs": {"source": ["end", SLOTS.index(output)]}}
    return prompt


def times_made(client: Client) -> int:
    """How often the generator has run since the server was started; a node that is skipped is still said to execute."""
    return int(client.run({"made": {"class_type": "RRTest_Made", "inputs": {}}}).text("made"))


def making(client: Client, prompt: Prompt) -> tuple[Run, int]:
    """A run without an error, and how often the generator ran in it."""
    before = times_made(client)
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    return run, times_made(client) - before
