"""One backbone, three policies: `current` is trained, `old` samples, `reference` is what training started from.

With LoRA the three are two adapters and no adapter on the same weights. Full fine-tuning holds three copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from ..sharding import Sharding, give_back, shard, spread_as, whole_tensor
from .config import PolicyConfig

CURRENT, OLD = "current", "old"

DECAYS: Final[dict[str, Callable[[int], float]]] = {
    "on_policy": lambda step: 0.0,
    "ramp_to_half": lambda step: min(0.001 * step, 0.5),
    "late_ramp": lambda step: 0.0 if step < 75 else min(0.0075 * (step - 75), 0.999),
    "late_ramp_95": lambda step: 0.0 if step < 75 else min(0.0075 * (step - 75), 0.95),
    "slow": lambda step: 0.9,
}
"""eta by name and optimiser step: theta_old <- eta theta_old + (1 - eta) theta, once per epoch (2509.16117)."""


class Policy(Protocol):
    """What the trainer needs; `module` may be wrapped for distributed training after it was made."""

    module: Any
    """Runs the current policy with gradients."""
    parameters: list[nn.Parameter]
    """Of the current policy."""
    old_is_current: bool
    """While true, the old policy's velocity is the current one's and costs no forward pass."""
    at_reference: bool
    """While true, the same holds of the reference."""

    def old(self) -> Any: ...

    def reference(self) -> Any: ...

    def current(self) -> Any: ...

    def follow(self, decay: float) -> None: ...

    def shard(self, sharding: Sharding) -> None: ...

    def state(self) -> dict[str, list[Tensor]]: ...

    def load(self, state: dict[str, list[Tensor]]) -> None: ...


class LoraPolicy:
    """Two adapters on one frozen transformer."""

    def __init__(self, transformer: Any, config: PolicyConfig, targets: Sequence[str], seed: int) -> None:
        from peft import LoraConfig

        self.transformer = self.module = transformer.requires_grad_(False).eval()
        self.lora = LoraConfig(
            r=config.rank, lora_alpha=config.alpha, init_lora_weights="gaussian", target_modules=list(targets)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            transformer.add_adapter(self.lora, adapter_name=CURRENT)
            transformer.add_adapter(self.lora, adapter_name=OLD)
        parameters = dict(transformer.named_parameters())
        self.names = sorted(name for name in parameters if "lora_" in name and f".{CURRENT}." in name)
        self.parameters = [parameters[name] for name in self.names]
        self._olds = [parameters[name.replace(f".{CURRENT}.", f".{OLD}.")] for name in self.names]
        for parameter in (*self.parameters, *self._olds):
            parameter.data = parameter.data.float()  # peft gives them the precision of the frozen weights
        self._select(CURRENT)
        self.at_reference = True
        self.old_is_current = False
        self.follow(0.0)

    def _select(self, adapter: str) -> None:
        self.transformer.set_adapter(adapter)
        # peft makes the selected adapter trainable; the old policy never is.
        for parameter in self._olds:
            parameter.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    @contextmanager
    def old(self) -> Iterator[Any]:
        """The transformer as the old policy, without gradients."""
        self._select(OLD)
        try:
            with torch.no_grad():
                yield self.transformer
        finally:
            self._select(CURRENT)

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The transformer as it was before training, without gradients."""
        self.transformer.disable_adapters()
        try:
            with torch.no_grad():
                yield self.transformer
        finally:
            self.transformer.enable_adapters()
            self._select(CURRENT)

    @contextmanager
    def current(self) -> Iterator[Any]:
        """The transformer as the current policy, without gradients: for evaluation."""
        with torch.no_grad():
            yield self.transformer

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """theta_old <- decay theta_old + (1 - decay) theta, in the space of the adapter's two factors."""
        _follow(self._olds, self.parameters, decay)
        self.old_is_current = decay == 0.0

    def shard(self, sharding: Sharding) -> None:
        """Spread the frozen weights over the processes; both adapters stay whole in each."""
        shard(self.transformer, sharding, blocks_of(self.transformer), whole=(*self.parameters, *self._olds))

    def state(self) -> dict[str, list[Tensor]]:
        return _state(self.parameters, self._olds, self)

    def load(self, state: dict[str, list[Tensor]]) -> None:
        _load(self.parameters, self._olds, state, self)


class FullPolicy:
    """Three copies of the transformer; the reference copy is shared by nothing and never changes."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = self.module = transformer.float().eval().requires_grad_(True)
        self.parameters = [p for p in transformer.parameters() if p.requires_grad]
        self._old = copy.deepcopy(transformer).requires_grad_(False)
        self._reference = copy.deepcopy(transformer).requires_grad_(False)
        self._olds = list(self._old.parameters())
        self.old_is_current = self.at_reference = True

    @contextmanager
    def old(self) -> Iterator[Any]:
        with torch.no_grad():
            yield self._old
        give_back(self._old)

    @contextmanager
    def reference(self) -> Iterator[Any]:
        with torch.no_grad():
            yield self._reference

    @contextmanager
    def current(self) -> Iterator[Any]:
        with torch.no_grad():
            yield self.transformer
        give_back(self.transformer)

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        _follow(self._olds, self.parameters, decay)
        self.old_is_current = decay == 0.0

    def shard(self, sharding: Sharding) -> None:
        """Spread all three copies over the processes."""
        for copied in (self.transformer, self._old, self._reference):
            shard(copied, sharding, blocks_of(copied))
        self.parameters = [p for p in self.transformer.parameters() if p.requires_grad]
        self._olds = list(self._old.parameters())

    def state(self) -> dict[str, list[Tensor]]:
        return _state(self.parameters, self._olds, self)

    def load(self, state: dict[str, list[Tensor]]) -> None:
        _load(self.parameters, self._olds, state, self)


def make_policy(transformer: Any, config: PolicyConfig, targets: Sequence[str], seed: int) -> LoraPolicy | FullPolicy:
    return LoraPolicy(transformer, config, targets, seed) if config.tuning == "lora" else FullPolicy(transformer)


def stepped(policy: Policy) -> None:
    """Say that the current policy has changed: no forward pass may be spared any more."""
    policy.old_is_current = policy.at_reference = False


def blocks_of(transformer: Any) -> Sequence[str]:
    """Class names of what a diffusers model wants kept in one piece: its blocks."""
    return transformer._no_split_modules or ()


def _follow(olds: Sequence[Tensor], parameters: Sequence[Tensor], decay: float) -> None:
    for old, parameter in zip(olds, parameters, strict=True):
        if decay == 0.0:
            old.copy_(parameter)
        else:
            old.mul_(decay).add_(parameter, alpha=1.0 - decay)


def _state(parameters: Sequence[Tensor], olds: Sequence[Tensor], policy: Policy) -> dict[str, list[Tensor]]:
    flags = torch.tensor([policy.old_is_current, policy.at_reference])
    return {
        "current": [whole_tensor(p.detach()).cpu().clone() for p in parameters],
        "old": [whole_tensor(p.detach()).cpu().clone() for p in olds],
        "flags": [flags],
    }


def _load(parameters: Sequence[Tensor], olds: Sequence[Tensor], state: dict[str, list[Tensor]], policy: Policy) -> None:
    with torch.no_grad():
        for target, saved in zip([*parameters, *olds], [*state["current"], *state["old"]], strict=True):
            target.copy_(spread_as(saved, target))
    policy.old_is_current, policy.at_reference = (bool(flag) for flag in state["flags"][0])


class Average:
    """The exponential moving average that is evaluated and saved: decay min((1 + s) / (10 + s), cap)."""

    def __init__(self, parameters: Sequence[Tensor], cap: float) -> None:
        self._cap = cap
        self.values = [p.detach().clone() for p in parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self, parameters: Sequence[Tensor]) -> None:
        """Follow, once per optimiser step."""
        decay = min((1.0 + self.steps) / (10.0 + self.steps), self._cap)
        for value, parameter in zip(self.values, parameters, strict=True):
            value.mul_(decay).add_(parameter, alpha=1.0 - decay)
        self.steps += 1

    @contextmanager
    def applied(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """Put the average in place of the parameters; they come back bit for bit."""
        copies = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, value in zip(parameters, self.values, strict=True):
                parameter.copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(parameters, copies, strict=True):
                    parameter.copy_(value)
