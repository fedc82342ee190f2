"""What ComfyUI says of the node that runs now."""

from __future__ import annotations


def executing_node() -> str | None:
    """Id of the node that runs now. A hidden UNIQUE_ID input would put it into the cache key; this does not."""
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return None if context is None else context.node_id
