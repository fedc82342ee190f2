"""Five hundred cases of which a fifth is spoilt in five ways: pictures that say their number, and a server that spoils them."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Collection
from pathlib import Path

from PIL import Image

from tests.core.fault_server import Answer, Ask, FaultServer, Script, completion, fault, half_body, reset

COUNT = 500
FAULTS: dict[str, Callable[[str], Answer]] = {
    "server_error": lambda _: fault(503),
    "connection": lambda _: reset(),
    "bad_reply": lambda _: half_body(),
    "truncated": lambda text: completion(text[: len(text) // 2], "length"),
    "no_judgement": lambda _: completion("I would rather not say."),
}
"""What the outcome must be called -> what the server does."""
SEVERAL = {"bad_reply": {"bad_reply", "connection"}}
"""A body that ends early is told as either, by the moment at which the connection is seen to be closed."""
UNANSWERED = ("server_error", "connection", "bad_reply")
"""Faults after which nobody has judged anything."""


def score_of(number: int) -> float:
    return 1.0 + number % 31 / 10


def reward_of(number: int) -> float:
    """With a quality of 2.5."""
    return ((score_of(number) - 1) / 3 + 0.5) / 2


def spoilt(draw: random.Random, kinds: Collection[str] = tuple(FAULTS)) -> dict[int, str]:
    """Case -> its fault: exactly a fifth of the cases, each kind equally often."""
    numbers = draw.sample(range(COUNT), COUNT // 5)
    return {number: list(kinds)[place % len(kinds)] for place, number in enumerate(numbers)}


def is_called(reason: str, fault_kind: str) -> bool:
    return reason in SEVERAL.get(fault_kind, {fault_kind})


def picture_of(number: int) -> bytes:
    """A PNG whose colour is its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (number // 256, number % 256, 77)).save(buffer, format="PNG")
    return buffer.getvalue()


def number_in(ask: Ask) -> int:
    """Of the last picture that was sent."""
    content = ask.body["messages"][-1]["content"]
    url = [part["image_url"]["url"] for part in content if part["type"] == "image_url"][-1]
    colour = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB").getpixel((0, 0))
    assert isinstance(colour, tuple)
    return int(colour[0] * 256 + colour[1])


def spoiling(faults: dict[int, str], reply_text: Callable[..., str]) -> Script:
    def script(ask: Ask) -> Answer:
        number = number_in(ask)
        text = reply_text(score_of(number), 2.5)
        return FAULTS[faults[number]](text) if number in faults else completion(text)

    return script


def config_file(server: FaultServer, path: Path) -> Path:
    """A user's config file that names it `judge`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'[servers.judge]\nurl = "http://127.0.0.1:{server.port}/v1"\nmodel = "judge-8b"\nretries = 0\n'
        'structured = "none"\nconcurrency = 16\ncheck_sight = false\nprobe = false\n'
    )
    return path
