#!/bin/sh
# TRL 1.16.0: with a PiSSA adapter, DPO's reference is not the model that training starts from.
#
# DPOTrainer keeps no second model when it is given a `peft_config`: the reference is the same model with the adapter off. That
# is the model as it was, for a LoRA begins at zero. PiSSA and OLoRA (`init_lora_weights="pissa"`, peft) don't: they take the
# main part of each weight out of it and into the adapter. Together they are the old model; without the adapter there is the
# rest. So before any step the policy is far from its reference: the loss is not ln 2, pairs have margins, and training holds
# the model to a network that never answered anything. Nothing is said.
#
# Seen with Python 3.11.7, torch 2.13.0, transformers 5.23.0, peft 0.21.2, a tiny random Llama; ln 2 is 0.6931:
#     init_lora_weights=True: first loss 0.6931, margin +0.000
#     init_lora_weights='pissa': first loss 1.0912, margin -0.682
#     init_lora_weights='olora': first loss 0.8788, margin -0.342
#
# Fails (1) if PiSSA's first loss is ln 2. Needs python3 and pip's package index; takes two minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 trl==1.16.0 peft==0.21.2

cat > "$folder/program.py" <<'PYTHON'
import contextlib
import io
import logging
import math
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import datasets
import torch
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

datasets.disable_progress_bars()
LETTERS = [chr(number) for number in range(32, 127)] + ["<pad>", "<end>"]
rows = datasets.Dataset.from_list([{"prompt": "ab", "chosen": "cdefgh", "rejected": "hgf"}] * 4)


def tokenizer():
    tokens = Tokenizer(models.WordLevel({letter: number for number, letter in enumerate(LETTERS)}, unk_token="<pad>"))
    tokens.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<pad>", eos_token="<end>")


def first_step(start):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(LETTERS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, initializer_range=0.3, pad_token_id=95, bos_token_id=None, eos_token_id=96,
    )
    settings = DPOConfig(
        output_dir=sys.argv[1], per_device_train_batch_size=4, max_steps=1, logging_steps=1, use_cpu=True, bf16=False,
        disable_tqdm=True, save_strategy="no", report_to=[],
    )
    adapter = LoraConfig(r=8, init_lora_weights=start, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = DPOTrainer(
        LlamaForCausalLM(config), args=settings, train_dataset=rows, processing_class=tokenizer(), peft_config=adapter
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    figures = trainer.state.log_history[0]
    print(f"init_lora_weights={start!r}: first loss {figures['loss']:.4f}, margin {figures['rewards/margins']:+.3f}")
    return figures["loss"]


plain, pissa, _ = (first_step(start) for start in (True, "pissa", "olora"))
raise SystemExit(not (abs(plain - math.log(2)) < 1e-4 < 1e-2 < abs(pissa - math.log(2))))
PYTHON

export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" "$folder/program.py" "$folder/run"
