"""The special tokens of a tokeniser: marks of roles, pictures and ends that no reply may contain as text.

A grammar sees only a token's spelling, so it takes `<|image_pad|>` for ordinary text in a free line; decoding
then drops it, and a text that was accepted comes out empty. So these tokens are masked before the grammar is asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def special_ids(tokeniser: Any, stop_ids: Collection[int]) -> list[int]:
    """Ids of every special token that does not end a reply, in ascending order.

    `tokeniser` is a Hugging Face tokeniser; `stop_ids` are the ids that end a reply and stay allowed.
    """
    added = tokeniser.added_tokens_decoder
    special = {*tokeniser.all_special_ids, *(index for index, token in added.items() if token.special)}
    return sorted(special - set(stop_ids))
