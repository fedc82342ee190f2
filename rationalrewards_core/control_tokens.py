"""Control tokens that models leave in their texts: none of them belongs into a prompt."""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(
    r"<[|\uff5c](?:im_end|endoftext|end_of_text|eot_id|eom_id|end|return|im_start|start_header_id"
    r"|end[\u2581_]of[\u2581_]sentence)[|\uff5c]>"
    r"|</s>|<eos>|<end_of_turn>|<end_of_utterance>|</answer>|</response>|</output>|\[/?INST\]",
    re.IGNORECASE,
)
"""What ends a turn or an answer: the text ends there too."""
_MARK: Final = re.compile(
    r"<[|\uff5c][^<>|\uff5c\n]{1,40}[|\uff5c]>|<s>|<bos>|<pad>|<unk>|<start_of_turn>"
    r"|</?(?:answer|response|output)>",
    re.IGNORECASE,
)


def without_control_tokens(text: str) -> str:
    """The text up to the first token that ends a turn, without every other special token of any model."""
    end = _END.search(text)
    return _MARK.sub("", text[: end.start()] if end else text).strip()
