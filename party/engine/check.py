"""The batched MAC check: coin tossing, then commit and open (protocol sections 3 and 6).

[CDESX18] figure 7; and the digest of the tags of opened bits, committed to and opened with it.
Pure: randomness is handed in, nothing here does I/O.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.engine_sigma import add_to_sigma
from shared.errors import InputError, TamperDetected
from shared.hashing import digest, digest_pieces

U64 = NDArray[np.uint64]

CHECK_ROUNDS = 4
BITS_LIMIT: Final = (1 << 29) - 1  # their tags are one field of a digest, of less than 2^32 bytes


class OpeningLog:
    """Openings that no check has covered yet."""

    def __init__(self) -> None:
        self._entries: list[tuple[U64, U64]] = []
        self._tags: list[U64] = []
        self._bits = 0
        self.count = 0

    def add(self, opened: U64, mac: U64) -> None:
        """opened: what both parties now take for the element, mac: this party's MAC share of it."""
        self._entries.append((opened, mac))
        self.count += len(opened)

    def add_tags(self, tags: U64) -> None:
        """tags: t xor b Delta of opened bits b, (n,) uint64, which both parties have alike."""
        self._tags.append(tags)
        self._bits += len(tags)
        self.count += len(tags)

    def require_room(self, bits: int) -> None:
        """Raises InputError unless so many more bits can wait for one check."""
        found = self._bits + bits
        if found > BITS_LIMIT:
            raise InputError(
                f"engine check: found {found} bits to be opened before it, "
                f"expected up to {BITS_LIMIT}: check more often"
            )

    def tags(self) -> bytes:
        """32 bytes that stand for the tags of all bits, in the order of their opening."""
        size = sum(tags.nbytes for tags in self._tags)
        return digest_pieces("engine tags", size, (tags.data.cast("B") for tags in self._tags))

    def sigma(self, alpha: U64, coin: bytes) -> bytes:
        """sigma^j = sum chi (m^j - alpha^j x) mod 2^128 over all openings, as 16 bytes."""
        total = np.zeros(2, dtype=np.uint64)
        first = 0
        for opened, macs in self._entries:
            add_to_sigma(coin, first, macs, opened, alpha, total)
            first += len(opened)
        return total.tobytes()

    def clear(self) -> None:
        """All of them passed."""
        self._entries.clear()
        self._tags.clear()
        self._bits = 0
        self.count = 0


@dataclass(frozen=True, slots=True)
class CheckName:
    """What a check's commitments are bound to."""

    session: bytes
    check: int
    openings: int

    def seed_commitment(self, party: int, seed: bytes, nonce: bytes) -> bytes:
        """To a party's part of the coin: seed of 32 bytes, nonce of 16."""
        return digest("engine seed", self.session, self.check, self.openings, party, seed, nonce)

    def coin(self, seed0: bytes, seed1: bytes) -> bytes:
        """Of both seeds: the key from which the coefficients are expanded."""
        both = bytes(a ^ b for a, b in zip(seed0, seed1, strict=True))
        return digest("engine chi", self.session, self.check, self.openings, both)

    def sigma_commitment(
        self, party: int, coin: bytes, sigma: bytes, tags: bytes, nonce: bytes
    ) -> bytes:
        """To a party's check value of 16 bytes and its digest of tags."""
        return digest("engine sigma", self.session, self.check, coin, party, sigma, tags, nonce)


@dataclass(frozen=True, slots=True)
class Committed:
    """What the other party committed to; `verify` compares it with what it opens."""

    commitment: bytes = field(repr=False)
    what: str

    def verify(self, opened: bytes) -> None:
        """Raises TamperDetected unless the opening has this digest."""
        if not hmac.compare_digest(self.commitment, opened):
            raise TamperDetected(f"{self.what} does not open its commitment")


def verify_sum(sigma0: bytes, sigma1: bytes, check: int) -> None:
    """Raises TamperDetected unless both check values cancel."""
    total = int.from_bytes(sigma0, "little") + int.from_bytes(sigma1, "little")
    if total % (1 << 128):
        raise TamperDetected(f"engine check {check}: the MAC check failed")


def verify_tags(mine: bytes, theirs: bytes, check: int) -> None:
    """Raises TamperDetected unless both parties have the same tags of opened bits."""
    if not hmac.compare_digest(mine, theirs):
        raise TamperDetected(f"engine check {check}: the tags of opened bits differ")
