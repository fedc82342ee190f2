"""RationalRewards for ComfyUI: nodes that critique an image before they score it, and refine the prompt.

ComfyUI imports this file while it starts, so it imports nothing; the nodes come with `comfy_entrypoint`.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    """The extension that ComfyUI (0.8.0 and newer) asks for."""
    import logging

    try:
        from .nodes.extension import RationalRewardsExtension
    except Exception:
        # The loader prints one line and drops the pack; a person needs the traceback.
        logging.getLogger("rationalrewards.nodes").exception("RationalRewards could not be loaded")
        raise
    return RationalRewardsExtension()
