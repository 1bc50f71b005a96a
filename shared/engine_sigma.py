"""The engine's check value: coefficients expanded and used while they are in the nearest cache."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.aes_schedule import expand_key_256
from shared.errors import FormatError
from shared.kernels import address, compiled, kernel_number, load64, readable, store64, writable
from shared.prg import CHI, expand_sequence
from shared.wide import add, mul, sub

U64 = NDArray[np.uint64]

_STEP: Final = 512  # coefficients at a time
_KEY_BYTES: Final = 32


def add_to_sigma(coin: bytes, first: int, macs: U64, opened: U64, alpha: U64, sigma: U64) -> None:
    """sigma += sum chi_i (m_i - alpha x_i) mod 2^128 over openings first, first + 1, ...

    chi_i: block (slot i, CHI, 0) of the coin, 32 bytes. macs, opened: (n, 2) uint64. alpha: (2,).
    sigma: (2,), changed. Raises FormatError.
    """
    if len(coin) != _KEY_BYTES or first < 0:
        raise FormatError(f"check: found a coin of {len(coin)} bytes and first opening {first}")
    count = len(macs)
    shares = readable("MAC shares", macs, np.uint64, (count, 2))
    elements = readable("openings", opened, np.uint64, (count, 2))
    key = readable("MAC key", alpha, np.uint64, (2,))
    writable("check value", sigma, np.uint64, (2,))
    _add(
        kernel_number(),
        address(np.frombuffer(coin, dtype=np.uint8)),
        first,
        count,
        address(shares),
        address(elements),
        address(key),
        address(sigma),
    )


@compiled
def _add(
    kernel: int, coin: int, first: int, count: int, macs: int, opened: int, alpha: int, sigma: int
) -> None:
    keys = np.empty(60, dtype=np.uint32)
    rounds = keys.ctypes.data
    expand_key_256(kernel, coin, rounds)
    memory = np.empty(2 * _STEP, dtype=np.uint64)
    chi = memory.ctypes.data
    alpha_low, alpha_high = load64(alpha), load64(alpha + 8)
    low, high = load64(sigma), load64(sigma + 8)
    for begin in range(0, count, _STEP):
        step = min(_STEP, count - begin)
        expand_sequence(kernel, rounds, first + begin, step, CHI, 0, chi)
        for i in range(step):
            at = 16 * (begin + i)
            p, q = mul(alpha_low, alpha_high, load64(opened + at), load64(opened + at + 8))
            p, q = sub(load64(macs + at), load64(macs + at + 8), p, q)
            p, q = mul(p, q, load64(chi + 16 * i), load64(chi + 16 * i + 8))
            low, high = add(low, high, p, q)
    store64(sigma, low)
    store64(sigma + 8, high)
