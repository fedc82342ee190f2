"""A negative prompt goes round with the prompt: each iteration has what the critiques before it said should not be there."""

from __future__ import annotations

import json

import pytest

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.graphs import SHOWN, loop, making

REWARDS = "0.2 0.3 0.4 0.5"
FLAWS = "There is an unwanted watermark.|There are extra fingers.|There is an extra finger and an unwanted watermark."


def refining(request: str, refined: str, **ends: object) -> Prompt:
    """The loop of the other tests, with Prompt Refine and the negative prompt wired as the help page says.

    Every test has words of its own: iterations of the same words are not made twice.
    """
    prompt = loop(REWARDS, request=request, refined=refined, **ends)
    prompt["critic"]["inputs"]["flaws"] = FLAWS
    refine = {
        "critique": ["critic", 0],
        "prompt": ["start", 0],
        "style": "full rewrite",
        "minimum": 3.0,
        "minimums": "",
    }
    rules = {"trigger_words": "", "prefix": "", "suffix": "", "max_length": 1500, "index": -1}
    prompt["refine"] = {"class_type": "RR_PromptRefine", "inputs": {**refine, **rules, "negative_prompt": ["start", 6]}}
    prompt["end"]["inputs"] |= {"refined_prompt": ["refine", 0], "refined_negative": ["refine", 4]}
    for name, wire in (("positive", ["start", 0]), ("negative", ["start", 6]), ("original", ["start", 4])):
        prompt[name] = {"class_type": "PreviewAny", "inputs": {"source": wire}}
    return prompt


def test_what_should_not_be_there_goes_round(client: Client) -> None:
    run, made = making(
        client, refining("a walking cat\nNegative prompt: blurry", "a better cat", max_iterations=4, patience=4)
    )
    assert made == 4
    assert run.ui("negative", "text") == [
        "blurry",
        "blurry, watermark",
        "blurry, watermark, extra fingers",
        "blurry, watermark, extra fingers, extra finger",
    ]
    assert run.ui("positive", "text") == ["a walking cat", "a better cat 1", "a better cat 2", "a better cat 3"]
    assert set(run.ui("original", "text")) == {"a walking cat"}
    assert (
        run.text(SHOWN["prompt"]) == "a better cat 3\nNegative prompt: blurry, watermark, extra fingers, extra finger"
    )
    history = json.loads(run.text(SHOWN["history"]))
    assert history["iterations"][1]["request"] == "a better cat 1\nNegative prompt: blurry, watermark"


def test_iterations_with_a_negative_prompt_are_not_made_twice(client: Client) -> None:
    text = "a kept cat\nNegative prompt: blurry"
    assert making(client, refining(text, "a well kept cat", max_iterations=3, patience=4))[1] == 3
    run, made = making(client, refining(text, "a well kept cat", max_iterations=4, patience=4))
    assert made == 1
    assert run.ui("negative", "text")[-1] == "blurry, watermark, extra fingers, extra finger"
    other = "a kept cat\nNegative prompt: dark"
    assert making(client, refining(other, "a well kept cat", max_iterations=1))[1] == 1, (
        "another negative prompt is another picture"
    )


@pytest.mark.parametrize("first", ["bare", "wired"])
def test_a_prompt_stays_whole_where_the_negative_prompt_is_not_wired(client: Client, first: str) -> None:
    """Also when the wire comes or goes, and the server's cache remembers the node from before."""
    text = f"an undivided cat, {first} first\nNegative prompt: blurry"
    wired, bare = (refining(text, "a whole cat", max_iterations=1) for _ in range(2))
    del bare["negative"], bare["end"]["inputs"]["refined_negative"], bare["refine"]["inputs"]["negative_prompt"]
    for prompt in (bare, wired) if first == "bare" else (wired, bare):
        run, _ = making(client, prompt)
        if prompt is bare:
            assert run.ui("positive", "text") == [text]
        else:
            whole, negative = text.split("\nNegative prompt: ")
            assert (run.ui("positive", "text"), run.ui("negative", "text")) == ([whole], [negative])
