#!/bin/sh
# TRL 1.16.0: a reward function's None is a reward of 0 in GRPO as soon as there is a second function.
#
# A reward function of GRPOTrainer may give None where it has no reward. Alone, it is taken at its word: of four equal replies,
# one of them without a reward, none has an advantage. With a second function that rewards all four alike the sum leaves None
# out, which is to say it adds 0: the reply that the judge could not read stands as far below its equals as one of four can,
# and the model is trained away from it. The logged mean of the judge is 3.0 and its spread 0.0, as if
# nothing were missing. Only `multi_objective_aggregation="normalize_then_sum"` counts what is missing as the group's mean.
#
# Seen with Python 3.11.7, torch 2.13.0, transformers 5.23.0, a tiny random Llama; the judge gives 3, None, 3, 3:
#     the judge alone: advantages +0.00 +0.00 +0.00 +0.00
#     the judge, and a function that gives 1 to all: advantages +0.50 -1.50 +0.50 +0.50
#     both, normalize_then_sum: advantages +0.00 +0.00 +0.00 +0.00
#
# Fails (1) if the second function changes no advantage. Needs python3 and pip's package index; takes two minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 trl==1.16.0

cat > "$folder/program.py" <<'PYTHON'
import contextlib
import io
import logging
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import datasets
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

datasets.disable_progress_bars()
LETTERS = [chr(number) for number in range(32, 127)] + ["<pad>", "<end>"]
rows = datasets.Dataset.from_list([{"prompt": "ab"}] * 4)


def judge(completions, **more):
    return [3.0, None, 3.0, 3.0]


def same(completions, **more):
    return [1.0] * len(completions)


class Watched(GRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        scored = super()._generate_and_score_completions(inputs)
        self.advantages = scored["advantages"].tolist()
        return scored


def tokenizer():
    tokens = Tokenizer(models.WordLevel({letter: number for number, letter in enumerate(LETTERS)}, unk_token="<pad>"))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<pad>", eos_token="<end>")


def advantages(name, functions, **more):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(LETTERS), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=64, pad_token_id=95, bos_token_id=None, eos_token_id=96,
    )
    settings = GRPOConfig(
        output_dir=sys.argv[1], per_device_train_batch_size=4, num_generations=4, max_completion_length=4, max_steps=1,
        use_cpu=True, bf16=False, disable_tqdm=True, save_strategy="no", report_to=[], **more,
    )
    trainer = Watched(
        LlamaForCausalLM(config), functions, args=settings, train_dataset=rows, processing_class=tokenizer()
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    print(f"{name}: advantages {' '.join(f'{number:+.2f}' for number in trainer.advantages)}")
    return trainer.advantages


alone = advantages("the judge alone", [judge])
beside = advantages("the judge, and a function that gives 1 to all", [judge, same])
advantages("both, normalize_then_sum", [judge, same], multi_objective_aggregation="normalize_then_sum")
raise SystemExit(not (max(map(abs, alone)) < 1e-4 and min(beside) < -1))
PYTHON

export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" "$folder/program.py" "$folder/run"
