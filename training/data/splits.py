"""Splits by request: no request and no image is ever on both sides of one.

Pairs that share a request or an image (a source image too) belong together, and so do those that share one with
them. Each such cluster goes to one split as a whole, by the hash of its smallest member: the split of a cluster does
not depend on the order of the pairs, and changes only if new pairs join two clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rationalrewards_core.errors import ConfigError

from .pairs import PreferencePair, digest

Split = Literal["train", "dev", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "dev", "test")


WANTED_PAIRS: Final = 100
"""Held-out pairs that an accuracy within a tenth needs."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of the clusters goes where; the rest is training."""

    dev: float = 0.05
    test: float = 0.05

    def __post_init__(self) -> None:
        if not (self.dev >= 0 and self.test >= 0 and self.dev + self.test < 1):  # NaN is neither
            raise ConfigError("The shares of dev and test must not be negative, and leave something for training.")


def fitting_shares(pairs: int, dev: float | None = None, test: float | None = None) -> Shares:
    """Shares that suit the number of pairs where none are given: at most a fifth for development, a tenth for testing.

    As pairs are added, what is held out only ever shrinks: no pair that was trained on is held out later.
    """
    share = WANTED_PAIRS / max(1, pairs)
    return Shares(
        dev=min(0.2, max(0.05, share)) if dev is None else dev,
        test=min(0.1, max(0.05, share)) if test is None else test,
    )


def assign_splits(pairs: Iterable[PreferencePair], shares: Shares) -> Mapping[str, Split]:
    """Pair key -> split. Memory grows with the number of pairs, about 500 bytes each."""
    clusters = _Clusters()
    anchor: dict[str, int] = {}
    for pair in pairs:
        members = [_number("request", _plain(pair.request)), *(_number("image", name) for name in pair.images)]
        for member in members[1:]:
            clusters.join(members[0], member)
        anchor[pair.key] = members[0]
    smallest = clusters.smallest()
    return {key: _split(smallest[clusters.root(member)], shares) for key, member in anchor.items()}


def _plain(request: str) -> str:
    """Requests that differ in spaces, case or a full stop only are one."""
    return " ".join(request.casefold().split()).rstrip(".")


def _number(kind: str, name: str) -> int:
    return int(digest([kind, name]), 16)


def _split(member: int, shares: Shares) -> Split:
    place = int(digest(["split", member]), 16) / 16**16
    if place < shares.test:
        return "test"
    return "dev" if place < shares.test + shares.dev else "train"


class _Clusters:
    """Union-find with path halving."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, member: int) -> int:
        parent = self._parent
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = member = parent[parent[member]]
        return member

    def join(self, first: int, second: int) -> None:
        a, b = self.root(first), self.root(second)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def smallest(self) -> dict[int, int]:
        """Root -> smallest member of its cluster."""
        smallest: dict[int, int] = {}
        for member in list(self._parent):
            root = self.root(member)
            smallest[root] = min(member, smallest.get(root, member))
        return smallest
