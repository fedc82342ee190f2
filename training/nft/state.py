"""Exact resume: everything that decides what happens next, in one file.

Prompts, times, noise, orders and the global generators begin from (seed, epoch, ...) and need no saving; what has a state
is the weights of three policies, their average, and the optimiser.
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
    return state["epoch"], state["step"]


def _whole_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Its state with whole tensors, so that any number of processes can go on from it."""
    state = optimiser.state_dict()
    moments = {number: {k: _whole(v) for k, v in of.items()} for number, of in state["state"].items()}
    return {**state, "state": moments}


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


def seed_generators(seed: int, epoch: int) -> None:
    """Begin the global generators of an epoch: only a third party's code draws from them, when it likes.

    A judge loads when it is first asked, in whichever epoch a process begins with; what loading draws must not reach
    into the epochs after it, or a run that was killed would not end as one that was not.
    """
    (number,) = np.random.SeedSequence([seed, epoch]).generate_state(1)
    random.seed(int(number))
    np.random.seed(int(number))
    torch.manual_seed(int(number))
