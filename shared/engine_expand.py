"""What parties and dealer expand from a session's keys (docs/engine.md, "Material")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared import prg
from shared.engine_fss import KEY_TILE
from shared.engine_plan import ROOT, VALUE, Family, Kind, Plan
from shared.prg import Key

U64 = NDArray[np.uint64]


def alpha_share(key: Key) -> U64:
    """A party's share of the session's MAC key: (2,) uint64."""
    share: U64 = prg.expand(key, np.zeros(1, dtype=np.uint64), prg.ALPHA, 1)[0, 0]
    return share


def delta_share(key: Key, party: int) -> U64:
    """A party's share of the session's tag key Delta: (1,) uint64; Delta's least bit is 1."""
    share: U64 = prg.expand(key, np.zeros(1, dtype=np.uint64), prg.DELTA, 1)[0, 0, :1].copy()
    share &= np.uint64((1 << 64) - 2)
    share |= np.uint64(1 - party)
    return share


def elements(
    plan: Plan, key: Key, kind: Kind, use: int, first: int, count: int, many: int, skip: int = 0
) -> U64:
    """So many pseudorandom elements of consecutive items, after `skip`: kind.shape(count, many)."""
    domain = plan.domain(kind, use)
    if kind.wide:
        items = np.arange(first, first + count, dtype=np.uint64)
        return prg.expand(key, items, domain, many, first=skip)
    out = np.empty((many, count, 2), dtype=np.uint64)
    for element in range(many):
        prg.expand_run(key, first, count, domain, skip + element, out[element])
    return out


def own_values(
    plan: Plan, key: Key, kind: Kind, party: int, first: int, count: int, many: int
) -> U64:
    """A party's shares of the first `many` elements, as far as they come from its key."""
    if kind.family is Family.INPUT and kind.p != party:
        return np.zeros(kind.shape(count, many), dtype=np.uint64)  # so its owner knows r
    return elements(plan, key, kind, VALUE, first, count, many)


def tile_keys(
    plan: Plan, kind: Kind, number: int, set_digest: bytes, first: int, count: int
) -> U64:
    """The public AES-128 keys of the tiles that these items touch: (tiles, 2) uint64."""
    tiles = np.arange(first // KEY_TILE, -(-(first + count) // KEY_TILE), dtype=np.uint64)
    domain = np.uint64(plan.domain(kind, ROOT + number) << 32)
    return prg.slot_keys(set_digest, tiles | domain)
