"""An image goes round: the first iteration gets the one that was given, the next ones go on from the best so far."""

from __future__ import annotations

from PIL import Image

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, loop, making
from tests.comfy.test_workflows import FILES, nodes_of, read

REWARDS = "0.2 0.5 0.4 0.7 0.1 0.3"


def edited(request: str, **ends: object) -> Prompt:
    """Every iteration lays half of its own colour over the image that it was handed."""
    prompt = loop(REWARDS, request=request, **ends)
    prompt["given"] = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}}
    prompt["start"]["inputs"]["image"] = ["given", 0]
    blend = {"image1": ["start", 5], "image2": ["gen", 0], "blend_factor": 0.5, "blend_mode": "normal"}
    prompt["blend"] = {"class_type": "ImageBlend", "inputs": blend}
    for node in ("critic", "end"):
        prompt[node]["inputs"]["image"] = ["blend", 0]
    prompt["carried"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["start", 5]}}
    prompt["made"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["blend", 0]}}
    prompt["digest"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["end", 0]}}
    return prompt


def test_each_iteration_goes_on_from_the_best_so_far(client: Client) -> None:
    run, _ = making(client, edited("a grown cat", max_iterations=5))
    carried, made = run.ui("carried", "text"), run.ui("made", "text")
    assert len(set(carried)) == 4, "the given image, then those of the first, second and fourth iteration"
    assert carried[1:] == [made[0], made[1], made[1], made[3]]
    assert run.text("digest") == made[3]


def test_a_chain_is_not_made_twice_either(client: Client) -> None:
    first, made = making(client, edited("a chained cat", max_iterations=4))
    assert made == 4
    longer, made = making(client, edited("a chained cat", max_iterations=5))
    assert (made, longer.text("digest")) == (1, first.text("digest"))
    assert longer.ui("carried", "text")[-1] == first.text("digest"), "the new one goes on from the kept best"
    other = edited("a chained cat", max_iterations=4)
    other["given"]["inputs"]["color"] = 0
    assert making(client, other)[1] == 4, "another image to begin with"


def test_a_body_that_wants_to_run_every_time_carries_too(client: Client) -> None:
    prompt = edited("a restless chain", max_iterations=3)
    prompt["gen"]["inputs"]["prompt"] = ["start", 0]
    prompt["restless"] = {"class_type": "RRTest_Restless", "inputs": {"image": ["start", 5], "name": ""}}
    prompt["blend"]["inputs"]["image1"] = ["restless", 0]
    run, _ = making(client, prompt)
    assert run.ui("carried", "text")[1:] == run.ui("made", "text")[:2]


@one_mode
def test_an_unscored_beginning_starts_over_from_the_given_image(client: Client) -> None:
    prompt = edited("an unjudged cat", max_iterations=2)
    prompt["critic"]["inputs"]["script"] = "nan 0.4"
    run, _ = making(client, prompt)
    assert len(set(run.ui("carried", "text"))) == 1
    assert run.text(SHOWN["seed"]) == "8"


@one_mode
def test_a_missing_image_is_said_before_anything_runs(client: Client) -> None:
    prompt = edited("a cat without a picture", max_iterations=2)
    del prompt["start"]["inputs"]["image"]
    run = client.run(prompt)
    assert "connect an image to its image input" in run.error
    assert run.times("gen") == 0


@one_mode
def test_the_template_goes_on_from_the_best_image(client: Client, server: ComfyServer, checkpoint: str) -> None:
    """The template for image to image with a real sampler; only its models, and so its prompt, are small ones."""
    prompt = read(next(file for file in FILES if file.stem == "10_img2img_loop"))
    start, encode, end = (nodes_of(prompt, kind)[0] for kind in ("RR_LoopStart", "VAEEncode", "RR_LoopUntilScore"))
    Image.new("RGB", (64, 64), "red").save(server.folder / "input" / "example.png")
    miniature = {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded", "check": False, "max_tokens": 0}
    prompt[nodes_of(prompt, "RR_LoadScorer")[0]]["inputs"] = miniature
    prompt[nodes_of(prompt, "CheckpointLoaderSimple")[0]]["inputs"]["ckpt_name"] = checkpoint
    prompt[nodes_of(prompt, "ImageScaleToTotalPixels")[0]]["inputs"]["megapixels"] = 0.016384
    prompt[nodes_of(prompt, "KSampler")[0]]["inputs"]["steps"] = 2
    prompt[start]["inputs"]["prompt"] = "a large red circle"
    prompt[end]["inputs"] |= {"threshold": 1.0, "max_iterations": 3}
    prompt["carried"] = {"class_type": "RRTest_Digest", "inputs": {"image": [start, 5]}}
    prompt["made"] = {"class_type": "RRTest_Digest", "inputs": {"image": prompt[end]["inputs"]["image"]}}
    assert prompt[encode]["inputs"]["pixels"] == [start, 5]
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    state = run.ui(end, "rr_loop")[-1]
    rewards = [row["reward"] for row in state["iterations"]]
    carried, made = run.ui("carried", "text"), run.ui("made", "text")
    bests = [rewards.index(max(rewards[: index + 1])) for index in range(len(rewards) - 1)]
    assert carried[0] not in made
    assert carried[1:] == [made[index] for index in bests]
