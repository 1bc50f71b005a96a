"""AES without AES instructions (FIPS 197), for the portable kernel.

Slow, and its table look-ups depend on keys and blocks: the named exception to the rule that no
index is secret. The same bytes as the fast kernels. Expanded keys lie at an address, 16 bytes a
round key, as `aes_ir.schedule` writes them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.kernels import helper, load32, store32


def _double(a: int) -> int:
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def _s_box() -> list[int]:
    """The S-box: the inverse in GF(2^8), by logarithms to base 3, then the affine map."""
    powers = [1]
    while len(powers) < 255:
        powers.append(powers[-1] ^ _double(powers[-1]))
    logs = {power: i for i, power in enumerate(powers)}
    box = []
    for a in range(256):
        inverse = powers[-logs[a] % 255] if a else 0
        value = 0x63
        for turn in range(5):
            value ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xFF
        box.append(value)
    return box


_BOX: Final[NDArray[np.uint64]] = np.array(_s_box(), dtype=np.uint64)
_MIX: Final[NDArray[np.uint64]] = np.array(
    [_double(s) | s << 8 | s << 16 | (_double(s) ^ s) << 24 for s in _s_box()], dtype=np.uint64
)
_LOW = np.uint64(0xFFFFFFFF)
_BYTE = np.uint64(0xFF)


@helper
def _left(word: Any, bits: Any) -> Any:
    return ((word << bits) | (word >> (np.uint64(32) - bits))) & _LOW


@helper
def _substitute(word: Any) -> Any:
    result = np.uint64(0)
    for i in range(4):
        bits = np.uint64(8 * i)
        result |= _BOX[(word >> bits) & _BYTE] << bits
    return result


@helper
def schedule(key: Any, out: Any, rounds: Any) -> None:
    """Expands a key of 16 (10 rounds) or 32 bytes (14 rounds) to rounds + 1 blocks at `out`."""
    size = rounds - 6
    constant = np.uint64(1)
    for i in range(4 * (rounds + 1)):
        if i < size:
            word = load32(key + 4 * i)
        else:
            word = load32(out + 4 * (i - 1))
            if i % size == 0:
                word = _substitute(_left(word, np.uint64(24))) ^ constant
                constant = (constant << np.uint64(1)) ^ (constant >> np.uint64(7)) * np.uint64(27)
                constant &= _BYTE
            elif size == 8 and i % size == 4:
                word = _substitute(word)
            word ^= load32(out + 4 * (i - size))
        store32(out + 4 * i, word)


@helper
def _column(a: Any, b: Any, c: Any, d: Any, key: Any) -> Any:
    """SubBytes, ShiftRows and MixColumns for one column, then the round key."""
    return (
        _MIX[a & _BYTE]
        ^ _left(_MIX[(b >> np.uint64(8)) & _BYTE], np.uint64(8))
        ^ _left(_MIX[(c >> np.uint64(16)) & _BYTE], np.uint64(16))
        ^ _left(_MIX[d >> np.uint64(24)], np.uint64(24))
        ^ load32(key)
    )


@helper
def _last_column(a: Any, b: Any, c: Any, d: Any, key: Any) -> Any:
    """SubBytes and ShiftRows for one column, then the round key."""
    return (
        _BOX[a & _BYTE]
        | _BOX[(b >> np.uint64(8)) & _BYTE] << np.uint64(8)
        | _BOX[(c >> np.uint64(16)) & _BYTE] << np.uint64(16)
        | _BOX[d >> np.uint64(24)] << np.uint64(24)
    ) ^ load32(key)


@helper
def encrypt(keys: Any, rounds: Any, low: Any, high: Any) -> Any:
    """AES of the block (low, high), two u64, under expanded keys: two u64."""
    a = (low & _LOW) ^ load32(keys)
    b = (low >> np.uint64(32)) ^ load32(keys + 4)
    c = (high & _LOW) ^ load32(keys + 8)
    d = (high >> np.uint64(32)) ^ load32(keys + 12)
    for i in range(1, rounds):
        key = keys + 16 * i
        a, b, c, d = (
            _column(a, b, c, d, key),
            _column(b, c, d, a, key + 4),
            _column(c, d, a, b, key + 8),
            _column(d, a, b, c, key + 12),
        )
    key = keys + 16 * rounds
    return (
        _last_column(a, b, c, d, key) | _last_column(b, c, d, a, key + 4) << np.uint64(32),
        _last_column(c, d, a, b, key + 8) | _last_column(d, a, b, c, key + 12) << np.uint64(32),
    )
