"""Products: one by one, squares, dot and matrix products ([CDESX18] figure 5, protocol section 6).

Every factor is opened minus a uniform element of Z_{2^128}, so no mask above bit k is needed.
"""

from __future__ import annotations

import numpy as np

from party.engine.arrays import SharedArray, broadcast, same_session
from party.engine.operation import Context, Cost, Opening, Operation, Steps
from shared import engine_ring, ring
from shared.engine_plan import SQUARE, TRIPLE
from shared.engine_plan import matmul as matmul_kind
from shared.errors import InputError


def multiply(x: SharedArray, y: SharedArray) -> Operation[SharedArray]:
    """x y, elementwise, broadcast as NumPy does. One round, 64 bytes and one TRIPLE a product."""
    x, y = broadcast(x, y)
    count = x.size
    shape = x.shape

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(TRIPLE, count)
        a, b, c = (items.element(i) for i in range(3))
        (opened,) = yield (_masked((x, y), (a, b)),)
        value, mac = engine_ring.multiply_shares(
            x.key.party,
            x.key.alpha,
            opened[:count],
            opened[count:],
            (a.value, b.value, c.value),
            (a.mac, b.mac, c.mac),
        )
        return SharedArray(x.key, value, mac).reshape(*shape)

    return Operation(Cost(1, 64 * count, {TRIPLE: count}), steps)


def _masked(factors: tuple[SharedArray, ...], masks: tuple[SharedArray, ...]) -> Opening:
    """Factors minus masks, one after the other: one opening, without further copies."""
    count = masks[0].size
    value = np.empty((len(masks) * count, 2), dtype=np.uint64)
    mac = np.empty_like(value)
    for number, (factor, mask) in enumerate(zip(factors, masks, strict=True)):
        part = slice(number * count, (number + 1) * count)
        own_value, own_mac = factor.flat()
        ring.sub(own_value, mask.value, value[part])
        ring.sub(own_mac, mask.mac, mac[part])
    return Opening(value, mac)


def square(x: SharedArray) -> Operation[SharedArray]:
    """x^2, elementwise. One round, 32 bytes and one SQUARE each."""
    count = x.size

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(SQUARE, count)
        a, c = items.element(0), items.element(1)
        (d,) = yield (_masked((x,), (a,)),)
        value, mac = engine_ring.square_shares(
            x.key.party, x.key.alpha, d, (a.value, c.value), (a.mac, c.mac)
        )
        return SharedArray(x.key, value, mac).reshape(*x.shape)

    return Operation(Cost(1, 32 * count, {SQUARE: count}), steps)


def matmul(x: SharedArray, y: SharedArray) -> Operation[SharedArray]:
    """x @ y for (n, m) by (m, p), or batches (i, n, m) by (i, m, p).

    One round, 32 (n m + m p) bytes and one MATMUL an item. Raises InputError.
    """
    same_session(x, y)
    if len(x.shape) not in (2, 3) or len(x.shape) != len(y.shape):
        raise InputError(f"matmul: found shapes {x.shape} and {y.shape}, expected two matrices")
    if x.shape[-1] != y.shape[-2] or x.shape[:-2] != y.shape[:-2]:
        raise InputError(f"matmul: found shapes {x.shape} and {y.shape}, which do not fit")
    n, m, p = *x.shape[-2:], y.shape[-1]
    count = x.shape[0] if len(x.shape) == 3 else 1
    kind = matmul_kind(n, m, p)

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(kind, count)
        a, b = items.block(0, n, m), items.block(n * m, m, p)
        c = items.block(n * m + m * p, n, p)
        d, e = yield (
            Opening(*(x.reshape(count, n, m) - a).flat()),
            Opening(*(y.reshape(count, m, p) - b).flat()),
        )
        left, right = d.reshape(count, n, m, 2), e.reshape(count, m, p, 2)
        product = SharedArray(
            x.key, engine_ring.matmul(left, b.value), engine_ring.matmul(left, b.mac)
        ) + SharedArray(x.key, engine_ring.matmul(a.value, right), engine_ring.matmul(a.mac, right))
        product = (product + c).add_public(engine_ring.matmul(left, right))
        return product.reshape(*x.shape[:-2], n, p)

    return Operation(Cost(1, 32 * count * m * (n + p), {kind: count}), steps)


def dot(x: SharedArray, y: SharedArray) -> Operation[SharedArray]:
    """Sums of products along the last axis, shapes equal. One round, 64 bytes a pair.

    One MATMUL (1, m, 1) a sum. Raises InputError.
    """
    same_session(x, y)
    if x.shape != y.shape or not x.shape:
        raise InputError(f"dot: found shapes {x.shape} and {y.shape}, expected two equal ones")
    outer, inner = x.shape[:-1], x.shape[-1]
    count = int(np.prod(outer, dtype=np.int64))
    product = matmul(x.reshape(count, 1, inner), y.reshape(count, inner, 1))

    def steps(context: Context) -> Steps[SharedArray]:
        result = yield from product.start(context)
        return result.reshape(*outer)

    return Operation(product.cost, steps)
