"""A scalar reward in another environment, behind the protocol of `training.nft.bridges` (`POST /compute`, `GET /health`).

Published rewards need libraries of years ago; there they have them, and here is asked.
"""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final

from PIL import Image

from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.images import data_url
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.numerals import finite_number

SECONDS: Final = 600.0
GREETING_SECONDS: Final = 10.0


class RemoteScalar:
    """Rewards by HTTP. ConfigError at once if nobody answers."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            with urllib.request.urlopen(f"{self._url}/health", timeout=GREETING_SECONDS) as answer:  # noqa: S310
                answer.read()
        except (OSError, HTTPException, ValueError) as error:
            raise ConfigError(
                f"No scalar reward answers at {self._url} ({error}); start one there with `python -m training.nft.bridges "
                "--judge scalar:NAME`."
            ) from error

    def __call__(self, request: UserRequest, candidate: Image.Image) -> float:
        return self.rewards([(request, candidate)])[0]

    def rewards(self, questions: Sequence[tuple[UserRequest, Image.Image]]) -> list[float]:
        """One number per question, in order. BackendError if they could not be had."""
        body = {
            "prompt": [request.text for request, _ in questions],
            "image": [_encoded(candidate) for _, candidate in questions],
            "condition_images": [[_encoded(source) for source in request.sources] for request, _ in questions],
        }
        table = self._compute(body)
        rewards = table.get("rewards")
        if not isinstance(rewards, list) or len(rewards) != len(questions):
            raise BackendError(
                f"{self._url} gave no rewards: {table.get('error', table)!s:.300}", reason="scalar_server"
            )
        numbers = [finite_number(value) for value in rewards]
        return [math.nan if number is None else number for number in numbers]

    def _compute(self, body: dict[str, Any]) -> dict[str, Any]:
        call = urllib.request.Request(  # noqa: S310 - the user's own address
            f"{self._url}/compute", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(call, timeout=SECONDS) as answer:  # noqa: S310
                table = json.loads(answer.read())
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise BackendError(f"{self._url} did not answer: {error}", reason="scalar_server") from error
        return table if isinstance(table, dict) else {}


def _encoded(picture: Image.Image) -> str:
    return data_url(picture).partition(",")[2]
