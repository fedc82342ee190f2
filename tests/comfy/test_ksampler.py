"""A real KSampler inside the loop, judged by the real miniature scorer."""

from __future__ import annotations

import json

import pytest

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import preview, start, until


def sampled_loop(checkpoint: str) -> Prompt:
    text = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ["2", 0]}}
    sampler = {
        "model": ["1", 0],
        "positive": ["3", 0],
        "negative": ["4", 0],
        "latent_image": ["5", 0],
        "seed": ["2", 1],
        "steps": 2,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": start("a red circle"),
        "3": text,
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
        "6": {"class_type": "KSampler", "inputs": sampler},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
        "8": {
            "class_type": "RR_LoadScorer",
            "inputs": {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded"},
        },
        "9": {
            "class_type": "RR_RationalCritique",
            "inputs": {"scorer": ["8", 0], "image": ["7", 0], "prompt": ["2", 4]},
        },
        "10": until("2", image=["7", 0], critique=["9", 0], threshold=1.0, max_iterations=3, minimum_score=3.0),
        "11": preview("7"),
        "12": preview("10"),
        "13": {"class_type": "PreviewAny", "inputs": {"source": ["10", 6]}},
    }


@pytest.mark.slow
@one_mode
def test_a_ksampler_is_looped_over_three_times(client: Client, checkpoint: str) -> None:
    run = client.run(sampled_loop(checkpoint))
    assert run.error == ""
    assert (run.times("6"), run.times("7"), run.times("9")) == (3, 3, 3)
    assert (run.times("1"), run.times("4"), run.times("5"), run.times("8")) == (1, 1, 1, 1), "outside the body"
    assert len(run.ui("11", "images")) == 3
    assert len(run.ui("12", "images")) == 1
    steps = json.loads(run.text("13"))["iterations"]
    assert [step["seed"] for step in steps] == [7, 8, 9]
    addresses = [image["filename"] for image in run.ui("11", "images")]
    pictures = [client.get(f"/view?filename={name}&type=temp")[1] for name in addresses]
    assert len(set(pictures)) == 3, "three seeds give three images"


@pytest.mark.slow
@one_mode
def test_a_sampled_image_comes_back_value_for_value(client: Client, checkpoint: str) -> None:
    """A VAE's images are float32 that no smaller type holds."""
    prompt = sampled_loop(checkpoint)
    prompt["2"]["inputs"]["prompt"] = "a large red circle"
    prompt["14"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["7", 0]}}
    first = client.run(prompt)
    prompt["10"]["inputs"]["max_iterations"] = 4
    longer = client.run(prompt)
    assert (first.error, longer.error) == ("", "")
    assert len(longer.ui("10", "rr_loop")[-1]["iterations"]) == 4
    assert longer.times("6") == 2, "once skipped, once for the new iteration"
    shown = longer.ui("14", "text")  # pictures of noise may be unscored, and are then judged again
    assert set(shown[:-1]) <= set(first.ui("14", "text"))


@pytest.mark.slow
@one_mode
def test_image_to_image_goes_on_from_the_best_so_far(client: Client, checkpoint: str) -> None:
    prompt = sampled_loop(checkpoint)
    size = {"width": 128, "height": 128, "batch_size": 1, "color": 0xC02020}
    prompt["15"] = {"class_type": "EmptyImage", "inputs": size}
    prompt["2"]["inputs"]["image"] = ["15", 0]
    prompt["16"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["2", 5], "vae": ["1", 2]}}
    prompt["6"]["inputs"] |= {"latent_image": ["16", 0], "denoise": 0.5}
    prompt["17"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["2", 5]}}
    prompt["18"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["7", 0]}}
    run = client.run(prompt)
    assert run.error == ""
    rewards = [row["reward"] for row in run.ui("10", "rr_loop")[-1]["iterations"]]
    carried, made = run.ui("17", "text"), run.ui("18", "text")
    expected, best = carried[:1], None
    for reward, image in zip(rewards[:-1], made, strict=False):
        better = reward is not None and (best is None or reward > best)
        expected.append(image if better else expected[-1])
        best = reward if better else best
    assert carried == expected
