"""Control tokens that models leave in their texts: none of them belongs into a prompt."""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(
    r"<[|\uff5c](?:im_end|endoftext|end_of_text|eot_id|eom_id|end|return|im_start|start_header_id"
    r"|end[\u2581_]of[\u2581_]sentence)[|\uff5c]>"
    r"|</s>|<eos>|<end_of_(?:turn|utterance|text)>|\[/?INST\]|\[EOS\]|\[end of text\]"
    r"|</(?:answer|response|output|assistant|prompt|request|refined_(?:request|prompt))>|<[|\uff5c]\w{0,40}\Z",
    re.IGNORECASE,
)
"""What ends a turn or an answer, or begins to: the text ends there too."""
_MARK: Final = re.compile(
    r"<[|\uff5c][^<>|\uff5c\n]{1,40}[|\uff5c]>|<s>|<bos>|<pad>|<unk>|<start_of_turn>"
    r"|</?(?:answer|response|output|assistant|prompt|request|refined_(?:request|prompt))>|<(?:start_of_image|end_of_image|image_soft_token)>"
    r"|<0x[0-9A-F]{2}>",
    re.IGNORECASE,
)


def without_control_tokens(text: str) -> str:
    """The text up to the first token that ends a turn, without every other special token of any model."""
    end = _END.search(text)
    return _MARK.sub("", text[: end.start()] if end else text).strip()
