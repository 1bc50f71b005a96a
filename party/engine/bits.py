"""Opening of bits that have tags: packed shares, and what both parties must then have alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from party import bitkernels
from party.engine.operation import bit_elements
from shared.errors import ProtocolViolation

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def packed(tags: U64) -> U64:
    """The least bits of tags (n,), least significant first: (ceil(n / 128), 2) uint64."""
    out = np.zeros((bit_elements(len(tags)), 2), dtype=np.uint64)
    bitkernels.pack_bits(tags.reshape(1, -1), _octets(out, len(tags)))
    return out


def join(mine: U64, theirs: U64, tags: U64, delta: U64) -> U64:
    """The opened bits, (n,) uint64, of both parties' packed shares.

    tags (n,) are overwritten with t xor b Delta, which is the same at both parties unless one of
    them lied. delta: (1,) uint64. Raises ProtocolViolation for bits beyond the last one.
    """
    both = mine ^ theirs
    spread = np.unpackbits(both.view(np.uint8).reshape(-1), bitorder="little")
    count = len(tags)
    if spread[count:].any():
        raise ProtocolViolation(f"engine bits: found bits behind the last of {count}")
    bitkernels.unmask(tags.reshape(1, -1), _octets(both, count), delta, tags.reshape(1, -1))
    return spread[:count].astype(np.uint64)


def _octets(words: U64, count: int) -> U8:
    """The bytes that hold so many bits, as one row."""
    return words.view(np.uint8).reshape(-1)[: -(-count // 8)].reshape(1, -1)
