"""Waiting for a judge inside a ComfyUI node, so that progress is shown and an interrupt is obeyed."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

LOOK_SECONDS = 0.03
"""How often a waiting node shows its progress and looks whether the user wants to stop."""


def finish_here(work: Work[T], show: Callable[[], None], stop: Callable[[], None]) -> T:
    """Run `work` in a thread of its own and block this one until it is done.

    For models on this machine: while they decode, ComfyUI must not start a sampler that would take their memory.
    Whatever `show` raises (an interrupt) ends the work with `stop`, repeated because a model that is still loading
    has nothing to stop yet, and is raised once the work has ended.
    """
    future: Future[T] = Future()

    def body() -> None:
        try:
            future.set_result(asyncio.run(work()))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - it is raised again where the node waits
            future.set_exception(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), name="rationalrewards-node", daemon=True)
    thread.start()
    try:
        while not future.done():
            show()
            wait([future], timeout=LOOK_SECONDS)
        show()
    except BaseException:
        while thread.is_alive():
            stop()
            thread.join(LOOK_SECONDS)
        raise
    return future.result()


async def finish_beside(work: Work[T], show: Callable[[], None]) -> T:
    """Run `work` in this event loop, so that ComfyUI can run other nodes meanwhile; for servers."""
    task = asyncio.ensure_future(work())
    try:
        while not task.done():
            show()
            await asyncio.wait([task], timeout=LOOK_SECONDS)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return task.result()
