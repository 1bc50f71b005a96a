"""Kernels on authenticated bits: pack bit shares, open them, unmask tags (protocol section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.kernels import compiled, opaque

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def pack_bits(tags: U64, out: U8) -> None:
    """The least bits of tags (F, live) row by row, least significant first, to (F, bytes)."""
    _pack(tags, out)


def unmask(tags: U64, bits: U8, deltas: U64, out: U64) -> None:
    """t xor b Delta: tags (F, live), packed opened bits (F, bytes), deltas (F,), out (F, live).

    No branch on a bit: it becomes a mask.
    """
    _unmask(tags, bits, deltas, out)


@compiled
def _pack(tags: U64, out: U8) -> None:
    faces, live = tags.shape
    for face in range(faces):
        for byte in range(out.shape[1]):
            value = np.uint64(0)
            for bit in range(min(8, live - 8 * byte)):
                value |= (tags[face, 8 * byte + bit] & np.uint64(1)) << np.uint64(bit)
            out[face, byte] = np.uint8(value)


@compiled
def _unmask(tags: U64, bits: U8, deltas: U64, out: U64) -> None:
    faces, live = tags.shape
    one = opaque(np.uint64(1))
    for face in range(faces):
        delta = deltas[face]
        for place in range(live):
            bit = (np.uint64(bits[face, place >> 3]) >> np.uint64(place & 7)) & one
            out[face, place] = tags[face, place] ^ ((~bit + one) & delta)
