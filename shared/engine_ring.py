"""Array arithmetic of Z_{2^128} for the engine: fused triples, matrix products, sums.

Elements are two u64 on the last axis as in `ring`. Nothing here branches on a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import FormatError
from shared.kernels import address, compiled, helper, load64, readable, store64, writable
from shared.wide import add as _add
from shared.wide import mul as _mul

U64 = NDArray[np.uint64]


def multiply_shares(
    party: int,
    alpha: U64,
    d: U64,
    e: U64,
    triple: tuple[U64, U64, U64],
    macs: tuple[U64, U64, U64],
) -> tuple[U64, U64]:
    """Shares of x y and of its MAC from d = x - a, e = y - b opened and a triple (a, b, c).

    d, e and the six shares: (n, 2) uint64. alpha: (2,), this party's share. [CDESX18] figure 5.
    Raises FormatError.
    """
    count = len(d)
    shape = (count, 2)
    opened = [readable("openings", x, np.uint64, shape) for x in (d, e)]
    shares = [readable("triples", x, np.uint64, shape) for x in (*triple, *macs)]
    key = readable("MAC key", alpha, np.uint64, (2,))
    value = np.empty((count, 2), dtype=np.uint64)
    mac = np.empty((count, 2), dtype=np.uint64)
    _multiply(
        1 if party == 0 else 0,
        address(key),
        count,
        address(opened[0]),
        address(opened[1]),
        address(shares[0]),
        address(shares[1]),
        address(shares[2]),
        address(shares[3]),
        address(shares[4]),
        address(shares[5]),
        address(value),
        address(mac),
    )
    return value, mac


def square_shares(
    party: int, alpha: U64, d: U64, pair: tuple[U64, U64], macs: tuple[U64, U64]
) -> tuple[U64, U64]:
    """Shares of x^2 and of its MAC from d = x - a opened and a pair (a, a^2).

    Shapes as in `multiply_shares`. Raises FormatError.
    """
    count = len(d)
    arrays = [readable("squares", x, np.uint64, (count, 2)) for x in (d, *pair, *macs)]
    key = readable("MAC key", alpha, np.uint64, (2,))
    value = np.empty((count, 2), dtype=np.uint64)
    mac = np.empty((count, 2), dtype=np.uint64)
    _square(
        1 if party == 0 else 0,
        address(key),
        count,
        address(arrays[0]),
        address(arrays[1]),
        address(arrays[2]),
        address(arrays[3]),
        address(arrays[4]),
        address(value),
        address(mac),
    )
    return value, mac


def matmul(a: U64, b: U64) -> U64:
    """Products of matrices mod 2^128: (i, n, m, 2) by (i, m, p, 2) uint64 is (i, n, p, 2).

    Either may have i = 1: the same matrix for all. Raises FormatError for other shapes.
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[2] != b.shape[1]:
        raise FormatError(f"matrix product: found shapes {a.shape} and {b.shape}")
    items = max(len(a), len(b))
    if len(a) not in (1, items) or len(b) not in (1, items):
        raise FormatError(f"matrix product: found {len(a)} by {len(b)} matrices")
    rows, inner, columns = a.shape[1], a.shape[2], b.shape[2]
    left = readable("matrices", a, np.uint64, (len(a), rows, inner, 2))
    # Columns become rows: both factors are then read in order.
    right = np.ascontiguousarray(
        readable("matrices", b, np.uint64, (len(b), inner, columns, 2)).swapaxes(1, 2)
    )
    out = np.zeros((items, rows, columns, 2), dtype=np.uint64)
    _matmul(
        items,
        rows,
        inner,
        columns,
        address(left),
        16 * rows * inner if len(a) == items else 0,
        address(right),
        16 * inner * columns if len(b) == items else 0,
        address(out),
    )
    return out


def add_broadcast(a: U64, b: U64, shape: tuple[int, ...], *, minus: bool = False) -> U64:
    """a + b, or a - b, broadcast to (*shape, 2) as NumPy does, without copies of a and b.

    a, b: (..., 2) uint64 of any strides. Raises FormatError.
    """
    out = np.empty((*shape, 2), dtype=np.uint64)
    left, right = _placed(a, out.shape), _placed(b, out.shape)
    if out.ndim > 4:  # more axes than the kernel walks
        left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
        rows = (1, 1, out.size // 2, 2)
        left, right = left.reshape(rows), right.reshape(rows)
    else:
        missing = (None,) * (4 - out.ndim)
        left, right = left[missing], right[missing]
    n0, n1, n2 = left.shape[:3]
    _add_strided(
        1 if minus else 0,
        n0,
        n1,
        n2,
        address(left),
        left.strides[0],
        left.strides[1],
        left.strides[2],
        address(right),
        right.strides[0],
        right.strides[1],
        right.strides[2],
        address(out),
    )
    return out


def _placed(a: U64, shape: tuple[int, ...]) -> U64:
    """The array broadcast, its two words side by side."""
    if a.dtype != np.uint64 or a.shape[-1:] != (2,):
        raise FormatError(f"ring elements: found {a.dtype} of shape {a.shape}")
    if a.strides[-1] != 8:
        a = np.ascontiguousarray(a)
    try:
        return np.broadcast_to(a, shape)
    except ValueError:
        raise FormatError(f"ring elements: found shape {a.shape}, expected {shape}") from None


def total(a: U64, axis: int) -> U64:
    """The sum along one axis (not the last, which holds the words), mod 2^128.

    Raises FormatError for an axis that is not there.
    """
    if not 0 <= axis < a.ndim - 1:
        raise FormatError(f"sum: found axis {axis}, expected 0 to {a.ndim - 2}")
    source = readable("ring elements", a, np.uint64, a.shape)
    outer = int(np.prod(a.shape[:axis], dtype=np.int64))
    inner = int(np.prod(a.shape[axis + 1 : -1], dtype=np.int64))
    out = np.zeros((*a.shape[:axis], *a.shape[axis + 1 :]), dtype=np.uint64)
    _total(outer, a.shape[axis], inner, address(source), address(out))
    return out


def scale(a: U64, factor: U64) -> U64:
    """Every element times one ring element. a: (..., 2), factor: (2,) uint64. FormatError."""
    source = readable("ring elements", a, np.uint64, a.shape)
    key = readable("factor", factor, np.uint64, (2,))
    out = np.empty(a.shape, dtype=np.uint64)
    writable("ring elements", out, np.uint64, (*a.shape[:-1], 2))
    _scale(a.size // 2, address(source), address(key), address(out))
    return out


def subtract_scaled(a: U64, b: U64, factor: U64, out: U64) -> None:
    """out = factor a - b: the MAC correction alpha x - m^0. a, b: (n, 2). Raises FormatError."""
    source = readable("ring elements", a, np.uint64, a.shape)
    minus = readable("ring elements", b, np.uint64, a.shape)
    key = readable("factor", factor, np.uint64, (2,))
    writable("ring elements", out, np.uint64, a.shape)
    _subtract_scaled(a.size // 2, address(source), address(minus), address(key), address(out))


# -- kernels ---------------------------------------------------------------------------


@helper
def _at(place: Any) -> Any:
    return load64(place), load64(place + 8)


@helper
def _product(a: Any, b: Any) -> Any:
    p, q = _at(a)
    r, s = _at(b)
    return _mul(p, q, r, s)


@compiled
def _multiply(
    leads: int,
    alpha: int,
    count: int,
    d: int,
    e: int,
    a: int,
    b: int,
    c: int,
    a_mac: int,
    b_mac: int,
    c_mac: int,
    value: int,
    mac: int,
) -> None:
    key_low, key_high = _at(alpha)
    mask = np.uint64(0) - np.uint64(leads)
    for i in range(count):
        at = 16 * i
        low, high = _product(d + at, e + at)
        p, q = _product(d + at, b + at)
        r, s = _product(e + at, a + at)
        p, q = _add(p, q, r, s)
        r, s = _at(c + at)
        p, q = _add(p, q, r, s)
        p, q = _add(p, q, low & mask, high & mask)
        store64(value + at, p)
        store64(value + at + 8, q)
        p, q = _product(d + at, b_mac + at)
        r, s = _product(e + at, a_mac + at)
        p, q = _add(p, q, r, s)
        r, s = _at(c_mac + at)
        p, q = _add(p, q, r, s)
        r, s = _mul(low, high, key_low, key_high)
        p, q = _add(p, q, r, s)
        store64(mac + at, p)
        store64(mac + at + 8, q)


@compiled
def _square(
    leads: int,
    alpha: int,
    count: int,
    d: int,
    a: int,
    c: int,
    a_mac: int,
    c_mac: int,
    value: int,
    mac: int,
) -> None:
    key_low, key_high = _at(alpha)
    mask = np.uint64(0) - np.uint64(leads)
    for i in range(count):
        at = 16 * i
        d_low, d_high = _at(d + at)
        low, high = _mul(d_low, d_high, d_low, d_high)
        d_low, d_high = _add(d_low, d_high, d_low, d_high)
        r, s = _at(a + at)
        p, q = _mul(d_low, d_high, r, s)
        r, s = _at(c + at)
        p, q = _add(p, q, r, s)
        p, q = _add(p, q, low & mask, high & mask)
        store64(value + at, p)
        store64(value + at + 8, q)
        r, s = _at(a_mac + at)
        p, q = _mul(d_low, d_high, r, s)
        r, s = _at(c_mac + at)
        p, q = _add(p, q, r, s)
        r, s = _mul(low, high, key_low, key_high)
        p, q = _add(p, q, r, s)
        store64(mac + at, p)
        store64(mac + at + 8, q)


@compiled
def _matmul(
    items: int,
    rows: int,
    inner: int,
    columns: int,
    a: int,
    a_step: int,
    b: int,
    b_step: int,
    out: int,
) -> None:
    for item in range(items):
        left, right = a + item * a_step, b + item * b_step
        target = out + 16 * item * rows * columns
        for i in range(rows):
            for j in range(columns):
                low, high = np.uint64(0), np.uint64(0)
                for k in range(inner):
                    p, q = _product(left + 16 * (i * inner + k), right + 16 * (j * inner + k))
                    low, high = _add(low, high, p, q)
                place = target + 16 * (i * columns + j)
                store64(place, low)
                store64(place + 8, high)


@compiled
def _add_strided(
    minus: int,
    n0: int,
    n1: int,
    n2: int,
    a: int,
    a0: int,
    a1: int,
    a2: int,
    b: int,
    b0: int,
    b1: int,
    b2: int,
    out: int,
) -> None:
    mask = np.uint64(0) - np.uint64(minus)
    for i in range(n0):
        for j in range(n1):
            left, right = a + i * a0 + j * a1, b + i * b0 + j * b1
            target = out + 16 * n2 * (i * n1 + j)
            for k in range(n2):
                p, q = _at(left + k * a2)
                r, s = _at(right + k * b2)
                # a - b = ~(~a + b)
                p, q = _add(p ^ mask, q ^ mask, r, s)
                store64(target + 16 * k, p ^ mask)
                store64(target + 16 * k + 8, q ^ mask)


@compiled
def _total(outer: int, count: int, inner: int, source: int, out: int) -> None:
    if inner == 1:
        for i in range(outer):
            low, high = np.uint64(0), np.uint64(0)
            for k in range(count):
                r, s = _at(source + 16 * (i * count + k))
                low, high = _add(low, high, r, s)
            store64(out + 16 * i, low)
            store64(out + 16 * i + 8, high)
        return
    for i in range(outer):
        for k in range(count):
            for j in range(inner):
                place = out + 16 * (i * inner + j)
                p, q = _at(place)
                r, s = _at(source + 16 * ((i * count + k) * inner + j))
                p, q = _add(p, q, r, s)
                store64(place, p)
                store64(place + 8, q)


@compiled
def _scale(count: int, source: int, factor: int, out: int) -> None:
    r, s = _at(factor)
    for i in range(count):
        p, q = _at(source + 16 * i)
        p, q = _mul(p, q, r, s)
        store64(out + 16 * i, p)
        store64(out + 16 * i + 8, q)


@compiled
def _subtract_scaled(count: int, source: int, minus: int, factor: int, out: int) -> None:
    r, s = _at(factor)
    for i in range(count):
        p, q = _at(source + 16 * i)
        p, q = _mul(p, q, r, s)
        low, high = _at(minus + 16 * i)
        low, high = _add(~low, ~high, np.uint64(1), np.uint64(0))
        p, q = _add(p, q, low, high)
        store64(out + 16 * i, p)
        store64(out + 16 * i + 8, q)
