"""Exact resume: everything that decides what happens next, in one file.

Prompts, times, noise and orders are drawn from (seed, epoch, ...) and need no saving; what has a state is the weights
of three policies, their average, the optimiser, and the global generators (which only a third party's code draws from).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ..sharding import spread_as, whole_tensor
from .policy import Average, Policy


def run_state(
    epoch: int, step: int, policy: Policy, average: Average, optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """After `epoch` epochs and `step` optimiser steps. Of sharded weights every process has to ask."""
    return {
        "epoch": epoch,
        "step": step,
        "policy": policy.state(),
        "average": {"values": [whole_tensor(v).cpu().clone() for v in average.values], "steps": average.steps},
        "optimiser": _whole_optimiser(optimiser),
        "generators": generator_states(),
    }


def restore(
    state: dict[str, Any], policy: Policy, average: Average, optimiser: torch.optim.Optimizer
) -> tuple[int, int]:
    """Put everything back; returns (epochs done, optimiser steps done)."""
    policy.load(state["policy"])
    for value, saved in zip(average.values, state["average"]["values"], strict=True):
        value.copy_(spread_as(saved, value))
    average.steps = state["average"]["steps"]
    optimiser.load_state_dict(_spread_optimiser(state["optimiser"], optimiser))
    restore_generators(state["generators"])
    return state["epoch"], state["step"]


def _whole_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Its state with whole tensors, so that any number of processes can go on from it."""
    found = optimiser.state_dict()
    moments = {number: {k: _whole(v) for k, v in of.items()} for number, of in found["state"].items()}
    return {**found, "state": moments}


def _whole(value: Any) -> Any:
    return whole_tensor(value) if isinstance(value, torch.Tensor) else value


def _spread_optimiser(saved: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]

    def spread(value: Any, like: torch.Tensor) -> Any:
        same = isinstance(value, torch.Tensor) and value.shape == like.shape
        return spread_as(value, like) if same else value

    moments = {
        number: {k: spread(v, parameters[number]) for k, v in of.items()} for number, of in saved["state"].items()
    }
    return {**saved, "state": moments}


def seed_generators(seed: int) -> None:
    """Begin Python's and numpy's too, so that a run is a function of its settings whoever draws from them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)


def generator_states() -> dict[str, Any]:
    """Of torch (CPU and GPU), numpy and Python, in types that a checkpoint may hold without being trusted."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, numbers, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "python": [version, list(numbers), next_gauss],
    }


def restore_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, numbers, next_gauss = state["python"]
    random.setstate((version, tuple(numbers), next_gauss))
