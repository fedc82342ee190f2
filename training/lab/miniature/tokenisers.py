"""Word-level byte-BPE tokenisers for the miniature: small, and still able to spell any text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS_AND_LETTERS = r" ?[a-z]+|[A-Z](?=[A-Z\"])| ?[A-Z][a-z]*|\d| ?[^\sA-Za-z\d]|\s"
"""Lower-case words whole, capitals inside quoted words one by one, digits one by one."""


def train_tokeniser(
    corpus: Iterable[str],
    *,
    control: Sequence[str],
    headings: Sequence[str] = (),
    vocabulary: int,
    min_frequency: int = 10,
) -> Tokenizer:
    """A byte-level BPE on `corpus`, plus `control` tokens (never part of text) and `headings` (single tokens)."""
    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS_AND_LETTERS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokeniser.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(control),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=min_frequency,
        show_progress=False,
    )
    tokeniser.train_from_iterator(corpus, trainer)
    tokeniser.add_tokens([AddedToken(heading, normalized=False, special=False) for heading in headings])
    return tokeniser


CAPTION_PHRASES = (
    "exactly one",
    " and one",
    " on the left",
    " on the right",
    " on top",
    " left of",
    " right of",
    " with the word",
    ", the word",
    " in clear letters",
    ", sharp and clean",
    "; the",
)
"""Fixed phrases of captions that are one token each: a third fewer text tokens for the transformer."""


def caption_tokeniser(captions: Iterable[str], *, length: int) -> PreTrainedTokenizerFast:
    """The generator's tokeniser: start and end tokens around the caption, padded to `length`."""
    # The end token must not have id 2: transformers takes that for CLIP's old configuration and then reads
    # the pooled embedding at the token with the highest id instead of at the end of the text.
    control = ("<|pad|>", "<|start|>", "<|unused|>", "<|end|>")
    tokeniser = train_tokeniser(captions, control=control, headings=CAPTION_PHRASES, vocabulary=420)
    tokeniser.post_processor = processors.TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 1), ("<|end|>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser,
        pad_token="<|pad|>",
        bos_token="<|start|>",
        eos_token="<|end|>",
        model_max_length=length,
        clean_up_tokenization_spaces=False,
    )
