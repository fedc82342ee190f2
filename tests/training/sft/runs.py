"""Small runs of tests, and what is compared of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.judged import Case
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.scorer_settings import ScorerSettings
from training.data.labelled_pairs import PairFolder
from training.sft.config import SftConfig, miniature


def small(export: Path, **changes: Any) -> SftConfig:
    values = {
        "export": str(export), "batch": 4, "micro_batch": 2, "max_steps": 4, "evaluate_every": 0, "save_every": 2,
        "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lr": 1e-3, **changes,
    }  # fmt: skip
    return replace(miniature(), **values)


def weights(folder: Path, name: str = "adapter_model.safetensors") -> dict[str, Tensor]:
    return load_file(folder / name)


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def rewards(pairs: Path, **options: Any) -> list[float]:
    """What the core's own engine says of the development pictures."""
    model = options.pop("model", str(scorer_folder()))
    engine = EngineOptions(precision="fp32", device="cpu", **options)
    scorer = make_scorer(f"local:{model}", engine, settings=ScorerSettings(guided=True))
    folder = PairFolder(pairs)
    cases = [
        Case(folder.request(labelled.pair), candidate)
        for labelled in folder.pairs("dev")
        for candidate in folder.candidates(labelled.pair)
    ]

    async def work() -> list[float]:
        batch = await scorer.score_many(cases, "score")
        await scorer.close()
        assert not batch.reasons
        return [
            scorer.reward(o, c.request, expected=True)
            for o, c in zip(batch.outcomes, cases, strict=True)
            if isinstance(o, Critique)
        ]

    return asyncio.run(work())
