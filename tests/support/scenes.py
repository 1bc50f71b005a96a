"""A few people and faces that tests agree on, at distances that are hard to get right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from shared.watchlist import Entry
from tests.support.minted import MintedWindow, entries_of, minted, parameters

PARAMS = parameters()
PEOPLE = {
    "ada": [10, -20, 30, -40],
    "bob": [100, 10, 10, 10],
    "cyd": [-60, 60, -60, 0],
}
DAN = {"dan": [0, 0, 0, 90]}
NEAR_ADA = [11, -20, 30, -40]
NEAR_DAN = [0, 1, 0, 88]
STRANGER = [-100, -40, 20, 30]


def ground() -> MintedWindow:
    """Two cameras with 24 slots each."""
    return minted(PARAMS)


def watchlist(*names: str) -> tuple[Entry, ...]:
    """Entries by name; all of `PEOPLE` when no name is given."""
    everybody = {**PEOPLE, **DAN}
    return entries_of(PARAMS, {name: everybody[name] for name in names or PEOPLE})


def squares(total: int) -> tuple[int, int, int, int]:
    """Four integers whose squares sum up to this (there always are some)."""
    most = int(total**0.5) + 1
    for a, b, c in product(range(most, -1, -1), repeat=3):
        rest = total - a * a - b * b - c * c
        if rest >= 0 and int(rest**0.5 + 0.5) ** 2 == rest:
            return a, b, c, int(rest**0.5 + 0.5)
    raise ValueError(f"{total} is no sum of four squares")


def at_distance(entry: Sequence[int], distance: int) -> list[int]:
    """A face at exactly this squared distance from an entry, towards the origin."""
    parts = squares(distance)
    return [c + part if c < 0 else c - part for c, part in zip(entry, parts, strict=True)]
