#!/bin/sh
# TRL 1.16.0: SFTTrainer's defaults can train a vision-language model on its question and image placeholders alone.
#
# One ordinary chat row: a picture of 961 tokens, a question of 88 and an answer of 22, as `messages` and `images`. With
# SFTConfig's defaults the row is cut at 1,024 tokens, so the answer is gone, and every token that is left is a label,
# image placeholders too. Nothing is said, the loss falls, and the reported token accuracy is high, for placeholders
# are easy to foretell. The documentation speaks of cut images and recommends max_length=None for them; here the picture
# is whole. With `prompt`, `completion` and max_length=None the labels are the answer and nothing else.
#
# Seen with Python 3.11.7, torch 2.13.0 (CPU), transformers 5.23.0:
#     trl 1.16.0, messages, defaults: 1024 labels, 961 of them placeholders; answer among them: False
#       loss 5.53 -> 4.42, token accuracy 0.96; warnings of a cut or of max_length: 0
#     trl 1.16.0, prompt and completion, max_length=None: 23 labels, 0 of them placeholders; answer among them: True
#
# Fails (1) if any of that changes. Needs python3 and pip's package index (torch is large); nothing else is downloaded.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 trl==1.16.0 pillow==13.0.0

cat > "$folder/program.py" <<'PYTHON'
import logging
import warnings

import torch
import trl
from datasets import Dataset
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from trl import SFTConfig, SFTTrainer

SPECIAL = ["<pad>", "<end>", "<image>"]
PLACEHOLDER = 2
SIDE, PATCH = 124, 4  # 31 x 31 patches
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<end>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
QUESTION = [{"role": "user", "content": "Is it red? " * 8}]
ANSWER = "Yes, all of it is red."
ANSWERED = [{"role": "assistant", "content": ANSWER}]
IMAGES = [Image.new("RGB", (SIDE, SIDE), (200, 30, 30))]


class Memory(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def processor():
    """LLaVA's processor with a tokenizer that has a token for every byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={t: n for n, t in enumerate([*SPECIAL, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>"),
        patch_size=PATCH,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
    )


def model():
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **small),
            text_config=LlamaConfig(vocab_size=259, max_position_embeddings=4096, **small),
            image_token_index=PLACEHOLDER,
            vision_feature_layer=-1,
        )
    )


def train(row, **settings):
    """Labels of the row as the trainer's collator gives them, the log of eight steps, and what was said."""
    memory = Memory()
    for name in ("", "trl", "transformers", "accelerate"):
        logging.getLogger(name).addHandler(memory)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer = SFTTrainer(
            model=model(),
            args=SFTConfig(
                output_dir="unused", max_steps=8, per_device_train_batch_size=1, learning_rate=0.01, use_cpu=True,
                bf16=False, report_to=[], logging_steps=1, save_strategy="no", disable_tqdm=True, **settings,
            ),
            train_dataset=Dataset.from_list([row, row]),
            processing_class=processor(),
        )
        labels = trainer.data_collator([dict(trainer.train_dataset[0])])["labels"][0]
        trainer.train()
    learned = labels[labels != -100].tolist()
    text = trainer.processing_class.tokenizer.decode([token for token in learned if token != PLACEHOLDER])
    steps = [line for line in trainer.state.log_history if "loss" in line]
    return learned, text, steps, [*memory.said, *(str(warning.message) for warning in warned)]


torch.set_num_threads(1)
form = "trl {}, {}: {} labels, {} of them placeholders; answer among them: {}"

learned, text, steps, said = train({"messages": QUESTION + ANSWERED, "images": IMAGES})
about_cut = [line for line in said if any(word in line.lower() for word in ("max_length", "truncat", "too long"))]
losses = [step["loss"] for step in steps]
accuracy = max(step["mean_token_accuracy"] for step in steps)
chat = (len(learned), learned.count(PLACEHOLDER), ANSWER in text)
print(form.format(trl.__version__, "messages, defaults", *chat))
print(f"  loss {losses[0]:.2f} -> {losses[-1]:.2f}, token accuracy {accuracy:.2f}; ", end="")
print(f"warnings of a cut or of max_length: {len(about_cut)}")

learned, text, _, _ = train({"prompt": QUESTION, "completion": ANSWERED, "images": IMAGES}, max_length=None)
split = (len(learned), learned.count(PLACEHOLDER), ANSWER in text)
print(form.format(trl.__version__, "prompt and completion, max_length=None", *split))

as_stated = chat == (1024, 961, False) and split == (23, 0, True)
raise SystemExit(not (as_stated and losses[-1] < losses[0] - 0.5 and accuracy > 0.8 and not about_cut))
PYTHON

cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" program.py
