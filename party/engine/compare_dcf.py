"""Comparison by keys of `engine_fss`: signs, equality, exact truncation (docs/engine.md).

[BGI19]: open z = x + r for a uniform r with a key for r; what is asked about x = z - r is then a
comparison of r with public numbers, and the key gives shares and MACs of it without a round; of a
sign it gives a masked bit with a tag, which takes half of the material and a round of bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from party.engine.arrays import SharedArray, low_word, ring_of_words, to_ring
from party.engine.operation import (
    BitOpening,
    Context,
    Cost,
    Opening,
    Operation,
    Steps,
    bit_elements,
)
from shared import ring
from shared.engine_flip import flip_shares
from shared.engine_plan import RING_BITS, SIGN, ZERO, truncation
from shared.errors import InputError

U64 = NDArray[np.uint64]

_TOP = RING_BITS - 1
_LOW_MASK = np.uint64((1 << _TOP) - 1)
_HALF_RANGE: U64 = np.array([1 << _TOP, 0], dtype=np.uint64)


def is_negative(x: SharedArray) -> Operation[SharedArray]:
    """1 where x < 0 as a signed 64-bit number, else 0: its most significant bit (LTZ, MSB).

    Two rounds, 32 bytes and two bits, and one SIGN each. top(x) = top(z) xor top(r) xor
    [low(z) < low(r)] of a public z; the key gives tags of the last two xor a dealt bit, which hides
    them when they are opened.
    """
    count = x.size

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(SIGN, count)
        (opened,) = yield (Opening(*(x.reshape(count) + items.element(0)).flat()),)
        z = low_word(opened)
        (masked,) = yield (BitOpening(items.tags(z & _LOW_MASK)),)
        return flipped(items.element(1), masked ^ (z >> np.uint64(_TOP))).reshape(*x.shape)

    return Operation(sign_cost(count), steps)


def sign_cost(count: int) -> Cost:
    """What so many signs take."""
    return Cost(2, 32 * (count + bit_elements(count)), {SIGN: count})


def is_zero(x: SharedArray) -> Operation[SharedArray]:
    """1 where x = 0 mod 2^64, else 0. One round, 32 bytes and one ZERO each."""
    count = x.size

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(ZERO, count)
        (opened,) = yield (Opening(*(x.reshape(count) + items.element(0)).flat()),)
        (u,) = items.evaluate([low_word(opened)])
        return u.reshape(*x.shape)

    return Operation(Cost(1, 32 * count, {ZERO: count}), steps)


def equal(x: SharedArray, y: SharedArray) -> Operation[SharedArray]:
    """1 where x = y, else 0; as `is_zero`."""
    return is_zero(x - y)


def truncate(x: SharedArray, bits: int) -> Operation[SharedArray]:
    """floor(x / 2^bits) of signed x, exact on the whole range: an arithmetic shift to the right.

    One round, 32 bytes and one TRUNCATION(bits) each. With x' = x + 2^63 and z = x' + r mod 2^64:
    floor(x' / 2^f) = (z >> f) - (r >> f) - [z < r mod 2^f] + 2^(64-f) [z < r]. Raises InputError.
    """
    if not 1 <= bits <= RING_BITS - 2:
        raise InputError(f"truncation: found {bits} bits, expected 1 to {RING_BITS - 2}")
    count = x.size
    kind = truncation(bits)
    factor: U64 = np.array([1 << (RING_BITS - bits), 0], dtype=np.uint64)

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(kind, count)
        mask, shifted = items.element(0), items.element(1)
        hidden = x.reshape(count).add_public(_HALF_RANGE) + mask
        (opened,) = yield (Opening(*hidden.flat()),)
        z = low_word(opened)
        wraps, borrows = items.evaluate([z, z & np.uint64((1 << bits) - 1)])
        result = (wraps.scale(factor) - shifted - borrows).add_public(
            ring.sub(ring_of_words(z >> np.uint64(bits)), _each(1 << (_TOP - bits), count))
        )
        return result.reshape(*x.shape)

    return Operation(Cost(1, 32 * count, {kind: count}), steps)


def flipped(bits: SharedArray, public: U64) -> SharedArray:
    """bits xor public bits: b (1 - 2 p) + p. public: (...) uint64 of 0 and 1."""
    key = bits.key
    found = flip_shares(key.party, key.alpha, *bits.flat(), public.reshape(-1))
    return SharedArray(key, *found).reshape(*bits.shape)


def _each(number: int, count: int) -> U64:
    return np.ascontiguousarray(np.broadcast_to(to_ring(number), (count, 2)))
