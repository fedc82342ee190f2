#!/bin/sh
# aiohttp 3.14.5: a running handler is cancelled 2 * shutdown_timeout after the server is told to stop.
#
# The documentation of a graceful shutdown says that the server waits shutdown_timeout for running handlers, then cancels
# them and waits again, at most as long, for those that take time to end. A handler that does nothing but sleep, and ends
# the moment it is cancelled, should so be gone after shutdown_timeout. It is cancelled after twice that: the second wait
# comes before the cancellation. Whoever sets shutdown_timeout just below a supervisor's limit is killed instead.
#
# Seen with Python 3.11.7 and shutdown_timeout=3:
#     aiohttp 3.14.5: cancelled 6.0 s after the signal
#
# Fails (1) if the handler is cancelled at any other time. Needs python3 and pip's package index; takes half a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5

cat > "$folder/program.py" <<'PYTHON'
import asyncio
import os
import signal
import socket
import time

import aiohttp
from aiohttp import web

TIMEOUT = 3.0
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
moments = {}


async def sleeper(request):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        moments["cancelled"] = time.monotonic()
        raise


async def visit(application):
    async def ask():
        await asyncio.sleep(0.5)  # the server listens by then
        asyncio.get_running_loop().call_later(1.0, stop)
        async with aiohttp.ClientSession() as session:
            try:
                await session.get(f"http://127.0.0.1:{PORT}/")
            except aiohttp.ClientError:
                pass

    def stop():
        moments["signal"] = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)

    application["visitor"] = asyncio.create_task(ask())


application = web.Application()
application.router.add_get("/", sleeper)
application.on_startup.append(visit)
web.run_app(application, host="127.0.0.1", port=PORT, shutdown_timeout=TIMEOUT, print=None)
waited = moments["cancelled"] - moments["signal"]
print(f"aiohttp {aiohttp.__version__}: cancelled {waited:.1f} s after the signal")
raise SystemExit(not 1.8 * TIMEOUT < waited < 2.4 * TIMEOUT)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
