"""A model server in a process of its own, which can be killed: it answers every case with the score that its request names.

python -m tests.core.judge_process PORT
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from aiohttp import web

REPLY = (
    (Path(__file__).parents[1] / "replies" / "canonical_generation.md")
    .read_text(encoding="utf-8")
    .partition("---\n")[2]
)
SECONDS = 0.02


def score_of(number: int) -> float:
    """What case `number` is given."""
    return 1.0 + number % 31 / 10


async def chat(request: web.Request) -> web.Response:
    body = await request.json()
    text = "".join(part.get("text", "") for part in body["messages"][-1]["content"])
    number = int(re.findall(r"case (\d+)!", text)[0])
    await asyncio.sleep(SECONDS)
    reply = re.sub(r"(Score: *)[\d.]+", rf"\g<1>{score_of(number)}", REPLY, count=1)
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
    return web.json_response({"model": "judge", "choices": [choice], "usage": {}})


async def models(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "judge"}]})


def main() -> None:
    application = web.Application(client_max_size=2**26)
    application.router.add_post("/v1/chat/completions", chat)
    application.router.add_get("/v1/models", models)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None, handle_signals=False)


if __name__ == "__main__":
    main()
