"""The labels that LLaMA-Factory's own loader and collator make of one of our exports, in an environment of its own.

    python -m tests.training.sft.llamafactory_labels EXPORT TORCHVISION_FOLDER OUT

Writes what is learned of every row, as text, to OUT/seen.json. The processor of a Qwen3-VL wants torchvision (see
`tests.core.serve_checkpoint`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rationalrewards_core.miniature import scorer_folder
from tests.core.serve_checkpoint import DECLARED, OPERATORS, loads

IGNORED = -100


def main() -> None:
    export, torchvision, out = (Path(word).resolve() for word in sys.argv[1:])
    sys.path.append(str(torchvision))
    if not loads(torchvision):
        for operator in OPERATORS:
            DECLARED.define(operator)
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model_args, data_args, training_args, _, _ = get_train_args(
        {
            "model_name_or_path": str(scorer_folder()), "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "dataset": "parrot_train", "dataset_dir": str(export), "media_dir": str(export), "cutoff_len": 4096,
            "template": "qwen3_vl_nothink", "output_dir": str(out), "use_cpu": True, "report_to": "none",
            "overwrite_cache": True, "preprocessing_num_workers": 1, "cache_dir": str(out / "cache"),
        }
    )  # fmt: skip
    module = load_tokenizer(model_args)
    tokeniser = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokeniser, data_args)
    data = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)
    collator = SFTDataCollatorWith4DAttentionMask(
        template=template, model=None, pad_to_multiple_of=8, label_pad_token_id=IGNORED, **module
    )
    rows = [dict(data["train_dataset"][index]) for index in range(len(data["train_dataset"]))]
    labels = collator(rows)["labels"].tolist()
    learned = [tokeniser.decode([token for token in row if token != IGNORED]) for row in labels]
    (out / "seen.json").write_text(json.dumps({"learned": learned}))


if __name__ == "__main__":
    main()
