"""Our reward in other trainers: Flow-Factory's remote reward protocol, and a reward function for verl-omni.

    python -m training.nft.bridges --judge server:judge --port 8289          # Flow-Factory: server_url: http://127.0.0.1:8289
    reward.custom_reward_function.path=.../bridges.py  .name=verl_omni_score # verl-omni, beside `rationalrewards serve`

Both trainers know numbers only. What could not be judged is an error there, never a number; `--impute` turns it, on the
caller's own wish, into the mean of its prompt's other rewards: an advantage of zero.
"""

from __future__ import annotations

import argparse
import base64
from io import BytesIO
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web
from PIL import Image

from rationalrewards_core.engine_kinds import engine_names
from rationalrewards_core.errors import BackendError, RationalRewardsError, RequestError
from rationalrewards_core.images import data_url, open_image
from rationalrewards_core.serving.config import LOOPBACK, ServeConfig, listening_socket

from .config import RewardsConfig
from .flow_factory import FlowFactory, trainer_limits
from .rewards import CaseScorer, make_judge

MAX_PIXELS = 16_777_216


def flow_factory_app(judge: CaseScorer, *, impute: bool = False, config: ServeConfig | None = None) -> web.Application:
    """The reward server that Flow-Factory asks (`flow_factory`)."""
    return FlowFactory(judge, config or trainer_limits(), impute=impute).app()


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
        table = await answer.json()
    if table.get("reward") is None:
        reason = table.get("unscored") or table.get("error") or {}
        raise BackendError(f"The image is unscored: {reason.get('message', 'no reason given')}")
    dimensions = {f"dimension_{key}": score for key, score in table["scores"].items() if score is not None}
    return {"score": table["reward"], "response": table["critique"]["raw"], **dimensions}


def _pictured(image: Any) -> Image.Image:
    """A tensor or array `[C H W]` in 0..1 as a picture."""
    import numpy as np

    values = np.asarray(image.float().cpu() if hasattr(image, "cpu") else image, np.float32)
    values = values[0] if values.ndim == 4 else values
    if not np.isfinite(values).all():
        raise RequestError("The image cannot be judged: it holds values that are no numbers (NaN).")
    pixels = (values.transpose(1, 2, 0) * 255.0).round().clip(0, 255).astype(np.uint8)
    # Through a PNG, so that the judge sees what it would see from a file.
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return open_image(buffer.getvalue(), MAX_PIXELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--judge",
        "--engine",
        default="miniature",
        help=f"{engine_names('scalar:NAME')}; a scalar in an environment that has it",
    )
    parser.add_argument("--host", default="127.0.0.1", help="another than this machine's own is open to everybody")
    parser.add_argument("--port", type=int, default=8289)
    parser.add_argument("--impute", action="store_true", help="unscored images get their prompt's mean reward")
    arguments = parser.parse_args()
    try:
        config = trainer_limits(arguments.host, arguments.port)
        judge = make_judge(arguments.judge, RewardsConfig(judge=arguments.judge))
        listening = listening_socket(config)
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error
    if config.host not in LOOPBACK:
        print(f"Listening on {config.host}: anybody who can reach it can use it.")
    print(f"Serving {arguments.judge} on port {listening.getsockname()[1]} (POST /compute); stop with Ctrl-C.")
    app = flow_factory_app(judge, impute=arguments.impute, config=config)
    web.run_app(app, sock=listening, print=None, access_log=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
