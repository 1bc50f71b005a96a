"""What each recipient expands from its keys: shares, MAC shares, roots, input masks (encodings E2).

Slots are (F,) uint64 everywhere; ring elements have a last axis of 2 (low limb, high limb).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared import prg
from shared.errors import FormatError, SlotReused
from shared.hashing import digest
from shared.prg import Key
from shared.secret import Secret

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

RATCHET_BLOCK: Final = 64  # slots whose low limbs come from one ratchet key
_STATE_BYTES: Final = 32
_LOW_32: Final = np.uint64(0xFFFFFFFF)
_SEED_BITS: Final = np.uint64(0xFFFFFFFFFFFFFFFC)


class RatchetKeys(Protocol):
    """Who can give the ratchet keys of slots."""

    def keys(self, slots: ArrayLike) -> Mapping[int, bytes]:
        """The key of every ratchet block that these slots lie in."""


class Ratchet:
    """A camera's ratchet of one party's input masks: walks forward only (encodings E2).

    The state of the current ratchet block is kept, everything behind it is overwritten.
    """

    __slots__ = ("_block", "_state")

    def __init__(self, state: Key, block: int = 0) -> None:
        """state: S of this ratchet block, 32 bytes. Raises FormatError for another length."""
        self._state = _state(state)
        self._block = block

    @property
    def block(self) -> int:
        """The ratchet block whose state is held: slots from 64 times this number on are open."""
        return self._block

    def state(self) -> Secret:
        """The state of the current ratchet block, to be stored in place of the former one."""
        return Secret(self._state)

    def keys(self, slots: ArrayLike) -> Mapping[int, bytes]:
        """The keys of these slots' ratchet blocks; stays at the last of them.

        Raises SlotReused, and does not move, when a slot lies behind.
        """
        wanted = _blocks(slots)
        if wanted and wanted[0] < self._block:
            raise SlotReused(
                f"ratchet: found slot block {wanted[0]}, expected {self._block} or later: "
                "its masks are erased"
            )
        found: dict[int, bytes] = {}
        for block in wanted:
            while self._block < block:
                self._state[:] = digest("ratchet next", bytes(self._state))
                self._block += 1
            found[block] = digest("ratchet key", bytes(self._state))
        return found

    def close(self) -> None:
        """Overwrites the state; the ratchet is of no use afterwards."""
        self._state[:] = bytes(_STATE_BYTES)

    def __repr__(self) -> str:
        return f"Ratchet(block={self._block})"


class RatchetTable:
    """A party's ratchet: any slot at any time; keeps every key that it has walked past.

    32 bytes a ratchet block. Safe to use from several threads.
    """

    __slots__ = ("_keys", "_lock", "_ratchet")

    def __init__(self, state: Key) -> None:
        """state: S_0, 32 bytes. Raises FormatError for another length."""
        self._ratchet = Ratchet(state)
        self._keys: list[bytes] = []
        self._lock = threading.Lock()

    def keys(self, slots: ArrayLike) -> Mapping[int, bytes]:
        """The keys of these slots' ratchet blocks."""
        wanted = _blocks(slots)
        with self._lock:
            for block in range(len(self._keys), wanted[-1] + 1 if wanted else 0):
                self._keys.append(self._ratchet.keys([block * RATCHET_BLOCK])[block])
            return {block: self._keys[block] for block in wanted}

    def close(self) -> None:
        """Drops the keys and overwrites the state; the table is of no use afterwards."""
        with self._lock:
            self._keys.clear()
            self._ratchet.close()

    def __repr__(self) -> str:
        return "RatchetTable"


def alphas(key: Key, slots: ArrayLike) -> U64:
    """This party's shares of each slot's MAC key alpha: (F, 2) uint64."""
    return prg.expand(key, slots, prg.ALPHA, 1)[:, 0, :]


def deltas(key: Key, party: int, slots: ArrayLike) -> U64:
    """This party's shares of each slot's Delta: (F,) uint64, least bit 1 for P0, 0 for P1."""
    words = prg.expand(key, slots, prg.DELTA, 1)[:, 0, 0]
    return (words & ~np.uint64(1)) | np.uint64(1 - party)


def low_limbs(ratchet_key: bytes, slots: ArrayLike, coordinates: int) -> U32:
    """Shares of r mod 2^32 of slots of one ratchet block: (F, coordinates) uint32.

    Raises FormatError when the slots lie in several ratchet blocks.
    """
    if len(_blocks(slots)) > 1:
        raise FormatError("low limbs: the slots lie in several ratchet blocks, expected one")
    blocks = prg.expand(ratchet_key, slots, prg.R_LOW, -(-coordinates // 4))
    return blocks.view(np.uint32).reshape(len(blocks), -1)[:, :coordinates]


def input_shares(
    key: Key, ratchet: RatchetKeys, slots: ArrayLike, coordinates: int, out: U64 | None = None
) -> U64:
    """This party's shares of the input masks r: (F, coordinates, 2) uint64."""
    places = np.asarray(slots, dtype=np.uint64)
    result = prg.expand(key, places, prg.R_HIGH, coordinates, out)
    low = result[:, :, 0]
    keys = ratchet.keys(places)
    blocks = places // RATCHET_BLOCK
    edges = [0, *(np.flatnonzero(blocks[1:] != blocks[:-1]) + 1), len(places)]
    for first, stop in pairwise(edges):
        if first == stop:
            continue
        ratchet_key = keys[int(blocks[first])]
        low[first:stop] &= ~_LOW_32
        low[first:stop] |= low_limbs(ratchet_key, places[first:stop], coordinates)
    return result


def input_macs_p0(key: Key, slots: ArrayLike, coordinates: int, out: U64 | None = None) -> U64:
    """P0's MAC shares of the input masks: (F, coordinates, 2) uint64; P1's are in its file."""
    return prg.expand(key, slots, prg.R_MAC, coordinates, out)


def rho_shares(
    key: Key, slots: ArrayLike, places: int, *, first: int = 0, out: U64 | None = None
) -> U64:
    """This party's shares of rho at places first..first+places-1: (F, places, 2) uint64."""
    return prg.expand(key, slots, prg.RHO, places, out, first=first)


def rho_macs_p0(
    key: Key, slots: ArrayLike, places: int, *, first: int = 0, out: U64 | None = None
) -> U64:
    """P0's MAC shares of rho at places first..first+places-1: (F, places, 2) uint64."""
    return prg.expand(key, slots, prg.RHO_MAC, places, out, first=first)


def dcf_roots(
    key: Key, slots: ArrayLike, places: int, *, first: int = 0, out: U64 | None = None
) -> U64:
    """Root seeds of this party's DCF keys, bits 0 and 1 cleared: (F, places, 2) uint64."""
    roots = prg.expand(key, slots, prg.DCF_ROOT, places, out, first=first)
    roots[:, :, 0] &= _SEED_BITS
    return roots


def _blocks(slots: ArrayLike) -> list[int]:
    """The ratchet blocks that these slots lie in, ascending, each once."""
    return sorted(set((np.asarray(slots, dtype=np.uint64) // RATCHET_BLOCK).tolist()))


def _state(state: Key) -> bytearray:
    content = bytearray(state.reveal() if isinstance(state, Secret) else state)
    if len(content) != _STATE_BYTES:
        raise FormatError(f"ratchet state: found {len(content)} bytes, expected {_STATE_BYTES}")
    return content
