"""Shared bits xor public bits: b (1 - 2 p) + p, on this party's shares, in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.kernels import address, compiled, load64, readable, store64
from shared.wide import add, sub

U64 = NDArray[np.uint64]


def flip_shares(party: int, alpha: U64, value: U64, mac: U64, bits: U64) -> tuple[U64, U64]:
    """Value and MAC shares of [b] xor p for public p.

    alpha: (2,) uint64, this party's share. value, mac: (n, 2) uint64. bits: (n,) uint64 of 0 and 1.
    Raises FormatError.
    """
    count = len(bits)
    shares = [readable("shares of bits", x, np.uint64, (count, 2)) for x in (value, mac)]
    public = readable("public bits", bits, np.uint64, (count,))
    key = readable("MAC key", alpha, np.uint64, (2,))
    out, out_mac = np.empty((2, count, 2), dtype=np.uint64)
    _flip(
        1 if party == 0 else 0,
        address(key),
        count,
        address(shares[0]),
        address(shares[1]),
        address(public),
        address(out),
        address(out_mac),
    )
    return out, out_mac


@compiled
def _flip(
    leads: int, alpha: int, count: int, value: int, mac: int, bits: int, out: int, out_mac: int
) -> None:
    key_low, key_high = load64(alpha), load64(alpha + 8)
    one, zero = np.uint64(leads), np.uint64(0)
    for i in range(count):
        at = 16 * i
        bit = load64(bits + 8 * i)
        mask = zero - bit
        # The negative of x is (x xor -1) - (-1).
        p, q = sub(load64(value + at) ^ mask, load64(value + at + 8) ^ mask, mask, mask)
        p, q = add(p, q, bit & one, zero)
        store64(out + at, p)
        store64(out + at + 8, q)
        p, q = sub(load64(mac + at) ^ mask, load64(mac + at + 8) ^ mask, mask, mask)
        p, q = add(p, q, key_low & mask, key_high & mask)
        store64(out_mac + at, p)
        store64(out_mac + at + 8, q)
