"""Our reward in other trainers: Flow-Factory's remote reward protocol, and a reward function for verl-omni.

    python -m training.nft.bridges --judge server:judge --port 8289          # Flow-Factory: server_url: http://127.0.0.1:8289
    reward.custom_reward_function.path=.../bridges.py  .name=verl_omni_score # verl-omni, beside `rationalrewards serve`

Both trainers know numbers only. What could not be judged is an error there, never a number; `--impute` turns it, on the
caller's own wish, into the mean of its prompt's other rewards: an advantage of zero.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import logging
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web
from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import BackendError, RationalRewardsError, RequestError
from rationalrewards_core.images import data_url, open_image
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Case

from .config import RewardsConfig
from .rewards import Judge, failures, make_judge

log = logging.getLogger("rationalrewards.training.nft.bridges")
MAX_PIXELS = 16_777_216
MAX_BODY = 256 * 2**20


def flow_factory_app(judge: Judge, *, impute: bool = False) -> web.Application:
    """`POST /compute` {"prompt": [...], "image": [base64 ...], "condition_images": [[base64 ...] ...] or null} answers
    {"rewards": [...]} or {"error": "one sentence"}; `GET /health` says ok."""

    async def compute(request: web.Request) -> web.Response:
        try:
            cases = await asyncio.to_thread(_cases, await request.json())
            outcomes = (await judge.score_many(cases, "score")).outcomes
            rewards = [
                judge.reward(outcome, case.request) if isinstance(outcome, Critique) else None
                for outcome, case in zip(outcomes, cases, strict=True)
            ]
            if None in rewards and not impute:
                listed = ", ".join(f"{reason} {count}x" for reason, count in failures(outcomes).items())
                raise BackendError(f"{rewards.count(None)} of {len(rewards)} images are unscored ({listed}).")
            return web.json_response({"rewards": imputed(rewards, [case.request.text for case in cases])})
        except (RationalRewardsError, ValueError) as error:
            log.warning("%s", error)
            return web.json_response({"error": str(error)})

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([web.post("/compute", compute), web.get("/health", health)])
    return app


def imputed(rewards: Sequence[float | None], prompts: Sequence[str]) -> list[float]:
    """Missing rewards become the mean of their prompt's others; BackendError where there are none."""
    found: list[float] = []
    for reward, prompt in zip(rewards, prompts, strict=True):
        if reward is None:
            others = [r for r, p in zip(rewards, prompts, strict=True) if p == prompt and r is not None]
            if not others:
                raise BackendError(f"No image of the prompt {prompt!r} could be scored.")
            reward = sum(others) / len(others)
        found.append(reward)
    return found


def _cases(body: Any) -> list[Case]:
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("prompt"), list)
        or not isinstance(body.get("image"), list)
    ):
        raise RequestError("The body needs the lists prompt and image.")
    prompts, images = body["prompt"], body["image"]
    sources = body.get("condition_images") or [[] for _ in prompts]
    if not len(prompts) == len(images) == len(sources):
        raise RequestError("prompt, image and condition_images must be of one length.")
    return [
        Case(UserRequest(str(prompt), tuple(_image(s) for s in given)), _image(image))
        for prompt, image, given in zip(prompts, images, sources, strict=True)
    ]


def _image(encoded: Any) -> Image.Image:
    if not isinstance(encoded, str):
        raise RequestError("Images must be base64 texts.")
    return open_image(base64.b64decode(encoded, validate=True), MAX_PIXELS)


async def verl_omni_score(
    data_source: str,
    solution_image: Any,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    *,
    server: str = "http://127.0.0.1:8288",
    seconds: float = 600.0,
) -> dict[str, Any]:
    """verl-omni's reward function: asks `rationalrewards serve` and returns `score`, every dimension and the words.

    `solution_image` is `[C H W]` or `[1 C H W]` in 0..1; `extra_info["source_image_path"]` names the source of an edit.
    Raises BackendError for an image that could not be scored: verl-omni then applies its own rule for failed rewards.
    """
    body: dict[str, Any] = {"request": ground_truth, "image": data_url(_pictured(solution_image)), "mode": "critique"}
    if path := (extra_info or {}).get("source_image_path"):
        with open(path, "rb") as file:
            body["sources"] = [base64.b64encode(file.read()).decode("ascii")]
    async with (
        ClientSession(timeout=ClientTimeout(total=seconds)) as session,
        session.post(f"{server}/v1/critique", json=body) as answer,
    ):
        found = await answer.json()
    if found.get("reward") is None:
        reason = found.get("unscored") or found.get("error") or {}
        raise BackendError(f"The image is unscored: {reason.get('message', 'no reason given')}")
    dimensions = {f"dimension_{key}": score for key, score in found["scores"].items() if score is not None}
    return {"score": found["reward"], "response": found["critique"]["raw"], **dimensions}


def _pictured(image: Any) -> Image.Image:
    """A tensor or array `[C H W]` in 0..1 as a picture."""
    import numpy as np

    values = np.asarray(image.float().cpu() if hasattr(image, "cpu") else image, np.float32)
    values = values[0] if values.ndim == 4 else values
    pixels = (values.transpose(1, 2, 0) * 255.0).round().clip(0, 255).astype(np.uint8)
    # Through a PNG, so that the judge sees what it would see from a file.
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return open_image(buffer.getvalue(), MAX_PIXELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--judge",
        default="miniature",
        help="miniature, local:FOLDER, server:NAME, or scalar:NAME in an environment that has it",
    )
    parser.add_argument("--host", default="127.0.0.1", help="another than this machine's own is open to everybody")
    parser.add_argument("--port", type=int, default=8289)
    parser.add_argument("--impute", action="store_true", help="unscored images get their prompt's mean reward")
    arguments = parser.parse_args()
    try:
        judge = make_judge(arguments.judge, RewardsConfig(judge=arguments.judge))
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error
    web.run_app(flow_factory_app(judge, impute=arguments.impute), host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
