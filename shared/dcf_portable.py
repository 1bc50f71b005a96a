"""DCF evaluation and key generation one place at a time, without AES instructions.

Written straight from encodings E4 and E5 on 64-bit words, secret bits as masks. Called by the
kernels of `dcf`; the AES underneath is the slow one of `aes_portable`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from shared.aes_portable import encrypt
from shared.kernels import helper, load32, load64, store64

_ONE: Final = np.uint64(1)
_TWO: Final = np.uint64(2)
_THREE: Final = np.uint64(3)
_CLEAR: Final = np.uint64((1 << 64) - 4)


@helper
def _mask(bit: Any) -> Any:
    """All ones for bit 0 of a word set, else zero."""
    return np.uint64(0) - (bit & _ONE)


@helper
def _select(mask: Any, a: Any, b: Any) -> Any:
    return b ^ (mask & (a ^ b))


@helper
def _block(keys: Any, low: Any, high: Any) -> Any:
    """G of encodings E3."""
    p, q = encrypt(keys, 10, low, high)
    return p ^ low, q ^ high


@helper
def evaluate_place(
    keys: Any, root: Any, words: Any, width: Any, place: Any, point: Any, party: Any, levels: Any
) -> Any:
    """The share of one place of a tile: u64. point: its z, root: the address of its root seed."""
    low, high = load64(root) & _CLEAR, load64(root + 8)
    control = _mask(np.uint64(party))
    total = np.uint64(0)
    for level in range(levels):
        side = _mask(point >> np.uint64(levels + 1 - level))
        base = words + level * width * 24
        correction_low = load64(base + 16 * place)
        correction_high = load64(base + 16 * place + 8)
        payload = load64(base + 16 * width + 8 * place)
        left, right = _block(keys, low ^ _TWO, high)
        total ^= _select(side, right, left) ^ (payload & control)
        low, high = _block(keys, low ^ (side & _ONE), high)
        bit = low ^ (_select(side, correction_low >> _ONE, correction_low) & control)
        low = (low ^ (correction_low & control)) & _CLEAR
        high ^= correction_high & control
        control = _mask(bit)
    left, right = _block(keys, low ^ _TWO ^ ((point >> _ONE) & _ONE), high)
    leaf = load64(words + levels * width * 24 + 32 * place + 8 * np.int64(point & _THREE))
    return total ^ _select(_mask(point), right, left) ^ (leaf & control)


@helper
def generate_place(
    keys: Any,
    root0: Any,
    root1: Any,
    words: Any,
    width: Any,
    place: Any,
    point: Any,
    below: Any,
    from_: Any,
    levels: Any,
) -> None:
    """Writes the correction words of one place of a tile."""
    low0, high0 = load64(root0) & _CLEAR, load64(root0 + 8)
    low1, high1 = load64(root1) & _CLEAR, load64(root1 + 8)
    control0 = np.uint64(0)
    total = np.uint64(0)
    for level in range(levels):
        bit = _mask(point >> np.uint64(levels + 1 - level))
        a0, c0 = _block(keys, low0, high0)
        a1, c1 = _block(keys, low1, high1)
        b0, d0 = _block(keys, low0 ^ _ONE, high0)
        b1, d1 = _block(keys, low1 ^ _ONE, high1)
        p0, q0 = _block(keys, low0 ^ _TWO, high0)
        p1, q1 = _block(keys, low1 ^ _TWO, high1)
        control_left = (a0 ^ a1 ^ bit ^ _ONE) & _ONE
        control_right = (b0 ^ b1 ^ bit) & _ONE
        correction_low = _select(bit, a0 ^ a1, b0 ^ b1) & _CLEAR
        correction_high = _select(bit, c0 ^ c1, d0 ^ d1)
        beta = _select(bit, below, from_)
        payload = _select(bit, p0 ^ p1, q0 ^ q1) ^ total ^ beta
        total ^= _select(bit, q0 ^ q1, p0 ^ p1) ^ payload
        base = words + level * width * 24
        store64(base + 16 * place, correction_low | control_left | control_right << _ONE)
        store64(base + 16 * place + 8, correction_high)
        store64(base + 16 * width + 8 * place, payload)
        control_keep = _select(bit, control_right, control_left)
        keep0, keep1 = _select(bit, b0, a0), _select(bit, b1, a1)
        # t_0 xor t_1 = 1 all along the path to the point.
        control1 = ~control0
        low0 = (keep0 & _CLEAR) ^ (correction_low & control0)
        high0 = _select(bit, d0, c0) ^ (correction_high & control0)
        low1 = (keep1 & _CLEAR) ^ (correction_low & control1)
        high1 = _select(bit, d1, c1) ^ (correction_high & control1)
        control0 = _mask(keep0 ^ (control_keep & control0))
    leaf = words + levels * width * 24 + 32 * place
    upper, lower = _mask(point >> _ONE), _mask(point)
    for half in range(2):
        constant = _TWO + np.uint64(half)
        p0, q0 = _block(keys, low0 ^ constant, high0)
        p1, q1 = _block(keys, low1 ^ constant, high1)
        # Leaf words q < a mod 4 carry beta_lt.
        first = (upper & lower) if half else (upper | lower)
        second = np.uint64(0) if half else upper
        store64(leaf + 16 * half, p0 ^ p1 ^ total ^ _select(first, below, from_))
        store64(leaf + 16 * half + 8, q0 ^ q1 ^ total ^ _select(second, below, from_))


@helper
def evaluate_tile(
    keys: Any,
    roots: Any,
    words: Any,
    width: Any,
    count: Any,
    z: Any,
    party: Any,
    levels: Any,
    out: Any,
) -> None:
    """The first `count` places of a tile."""
    for place in range(count):
        share = evaluate_place(
            keys, roots + 16 * place, words, width, place, load32(z + 4 * place), party, levels
        )
        store64(out + 8 * place, share)


@helper
def generate_tile(
    keys: Any,
    roots0: Any,
    roots1: Any,
    words: Any,
    width: Any,
    points: Any,
    below: Any,
    from_: Any,
    levels: Any,
) -> None:
    """All places of a tile."""
    for place in range(width):
        generate_place(
            keys,
            roots0 + 16 * place,
            roots1 + 16 * place,
            words,
            width,
            place,
            load32(points + 4 * place),
            load64(below + 8 * place),
            load64(from_ + 8 * place),
            levels,
        )
