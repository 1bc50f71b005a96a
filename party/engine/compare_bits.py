"""Comparison on dealt bits, without keys: [DEFKSV19] section 4 on [CDESX18] shares.

The second implementation, which agrees with `compare_dcf`. The bits are ring elements with MACs,
so that a product of bits is an ordinary product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from party.engine.arrays import SharedArray, concatenate, low_word
from party.engine.compare_dcf import flipped
from party.engine.multiply import multiply
from party.engine.operation import Context, Cost, Opening, Operation, Steps
from shared.engine_plan import DECOMPOSED, MASK, RING_BITS, TRIPLE

U64 = NDArray[np.uint64]
_TOP = RING_BITS - 1
_ABOVE: U64 = np.array([0, 1], dtype=np.uint64)  # 2^k


def is_negative(x: SharedArray) -> Operation[SharedArray]:
    """1 where x < 0 as a signed 64-bit number, else 0.

    r = sum 2^i r_i of dealt bits hides x below bit k, a MASK the bits above (protocol section 6).
    As in `compare_dcf`, with [low(z) < low(r)] by a tree of products over the bits. 8 rounds;
    7712 bytes, one BITS(64), one MASK and 120 TRIPLEs each.
    """
    count = x.size
    cost = Cost(1, 32 * count, {DECOMPOSED: count, MASK: count})
    width = _TOP
    while width > 1:
        # The pair that holds bit 0 needs no product of equalities.
        cost = cost.then(_products(count * (2 * (width // 2) - _last_is_pair(width))))
        width -= width // 2
    cost = cost.then(_products(count))

    def steps(context: Context) -> Steps[SharedArray]:
        bits = context.take(DECOMPOSED, count).block(0, RING_BITS)
        mask = context.take(MASK, count).element(0)
        number = (bits * _powers()).sum(1)
        hidden = x.reshape(count) + number + mask.scale(_ABOVE)
        (opened,) = yield (Opening(*hidden.flat()),)
        z = low_word(opened)
        lower = yield from _less_than_bits(context, z, bits[:, :_TOP])
        top = bits[:, _TOP]
        both = yield from multiply(top, lower).start(context)
        u = top + lower - both * 2
        return flipped(u, z >> np.uint64(_TOP)).reshape(*x.shape)

    return Operation(cost, steps)


def _less_than_bits(context: Context, public: U64, bits: SharedArray) -> Steps[SharedArray]:
    """[public < r] for r given by its bits, least first. public: (n,) uint64, bits: (n, w).

    From each bit g_i = [c_i < r_i] and p_i = [c_i = r_i]; a higher part decides unless it is equal:
    (g, p) o (g', p') = (g + p g', p p').
    """
    shifts = np.arange(bits.shape[1], dtype=np.uint64)
    c = ((public[:, None] >> shifts) & np.uint64(1)).view(np.int64)
    g, p = bits * (1 - c), flipped(bits, (1 - c).view(np.uint64))
    while g.shape[1] > 1:
        length = g.shape[1]
        odd = length % 2  # pairs from the top, so that what is left over is the lowest
        low, high = slice(odd, length, 2), slice(odd + 1, length, 2)
        pairs = length // 2
        skip = 1 - odd  # p of the lowest part decides nothing
        left = concatenate([p[:, high], p[:, high][:, skip:]], 1)
        right = concatenate([g[:, low], p[:, low][:, skip:]], 1)
        found = yield from multiply(left, right).start(context)
        g = concatenate([g[:, :odd], g[:, high] + found[:, :pairs]], 1)
        lowest = p[:, :1]  # stands for what is never looked at
        p = concatenate([lowest, found[:, pairs:]], 1)
    return g.reshape(len(public))


def _last_is_pair(width: int) -> int:
    return 1 - width % 2


def _powers() -> NDArray[np.int64]:
    return (np.uint64(1) << np.arange(RING_BITS, dtype=np.uint64)).view(np.int64)


def _products(count: int) -> Cost:
    return Cost(1, 64 * count, {TRIPLE: count})
