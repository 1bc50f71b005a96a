"""What is built on a comparison with zero: less than on the whole range, selection, the smallest.

`sign` is which protocol compares: `compare_dcf.is_negative` or `compare_bits.is_negative`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from party.engine import compare_dcf
from party.engine.arrays import SharedArray, broadcast, concatenate, stack
from party.engine.multiply import multiply
from party.engine.operation import Context, Cost, Operation, Steps
from shared.engine_plan import TRIPLE
from shared.errors import InputError

Sign = Callable[[SharedArray], Operation[SharedArray]]


def less_than(
    x: SharedArray, y: SharedArray, sign: Sign = compare_dcf.is_negative
) -> Operation[SharedArray]:
    """1 where x < y as signed 64-bit numbers, else 0, though x - y may not fit into 64 bits.

    [K20] 2.1.3, with both signs: h = [x < 0] xor [y < 0]; where h = 1 the answer is [x < 0], for a
    negative number is less than one that is not; where h = 0 the difference fits and the answer is
    [x - y < 0]. Cost of three signs in shared rounds, then twice a round, 64 bytes and a TRIPLE.
    """
    x, y = broadcast(x, y)
    signs = sign(stack([x, y, x - y]))

    def steps(context: Context) -> Steps[SharedArray]:
        found = yield from signs.start(context)
        a, b, c = found[0], found[1], found[2]
        both = yield from multiply(a, b).start(context)
        same = both * 2 - a - b + 1  # 1 - h
        decided = yield from multiply(same, c).start(context)
        return a - both + decided  # h [x < 0] = a (1 - b)

    return Operation(signs.cost.then(_product(x.size), _product(x.size)), steps)


def select(bit: SharedArray, x: SharedArray, y: SharedArray) -> Operation[SharedArray]:
    """x where the bit is 1, y where it is 0. One round, 64 bytes and one TRIPLE each."""
    bit, x, y = broadcast(bit, x, y)
    chosen = multiply(bit, x - y)

    def steps(context: Context) -> Steps[SharedArray]:
        difference = yield from chosen.start(context)
        return y + difference

    return Operation(chosen.cost, steps)


def argmin(
    x: SharedArray, sign: Sign = compare_dcf.is_negative
) -> Operation[tuple[SharedArray, SharedArray]]:
    """Index and value of the smallest along the last axis; of equal ones the first.

    ceil(log2 n) levels of a `less_than` and one `select` for index and value, on half as many pairs
    each time. Raises InputError for an empty axis.
    """
    return _extreme(x, sign, largest=False)


def top1(
    x: SharedArray, sign: Sign = compare_dcf.is_negative
) -> Operation[tuple[SharedArray, SharedArray]]:
    """Index and value of the largest along the last axis; of equal ones the first. As `argmin`."""
    return _extreme(x, sign, largest=True)


def _extreme(
    x: SharedArray, sign: Sign, *, largest: bool
) -> Operation[tuple[SharedArray, SharedArray]]:
    if not x.shape or x.shape[-1] == 0:
        raise InputError(f"smallest: found shape {x.shape}, expected a last axis of 1 or more")
    outer, length = x.shape[:-1], x.shape[-1]
    rows = int(np.prod(outer, dtype=np.int64))

    def steps(context: Context) -> Steps[tuple[SharedArray, SharedArray]]:
        values = x.reshape(rows, length)
        indices = (values - values) + np.arange(length)
        while values.shape[1] > 1:
            pairs = values.shape[1] // 2
            left, right = values[:, : 2 * pairs : 2], values[:, 1 : 2 * pairs : 2]
            first, second = (left, right) if largest else (right, left)
            better = yield from less_than(first, second, sign).start(context)
            both = yield from select(
                stack([better, better]),
                stack([right, indices[:, 1 : 2 * pairs : 2]]),
                stack([left, indices[:, : 2 * pairs : 2]]),
            ).start(context)
            rest = slice(2 * pairs, None)
            values = concatenate([both[0], values[:, rest]], 1)
            indices = concatenate([both[1], indices[:, rest]], 1)
        return indices.reshape(*outer), values.reshape(*outer)

    cost, left = Cost(), length
    while left > 1:
        pairs = x.reshape(rows, length)[:, : left // 2]
        cost = cost.then(less_than(pairs, pairs, sign).cost, _product(2 * pairs.size))
        left -= left // 2
    return Operation(cost, steps)


def _product(count: int) -> Cost:
    return Cost(1, 64 * count, {TRIPLE: count})
