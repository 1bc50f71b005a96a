"""Matching on the engine: [K20]'s formula as it stands, and a watchlist that no party sees.

All numbers are integers in fixed point (protocol section 2). A match is
D = sum (x_i - c_i)^2 < T; D - T must fit into 64 bits with sign, which section 2 keeps far below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from party.engine.arrays import U64, SharedArray, same_session, to_ring
from party.engine.compare_dcf import is_negative, sign_cost
from party.engine.multiply import square
from party.engine.operation import Agreement, Context, Cost, Opening, Operation, Steps, beside
from shared import engine_ring
from shared.engine_plan import SQUARE, fixed, left_of
from shared.errors import InputError, RangeError
from shared.hashing import digest

I64 = NDArray[np.int64]


def match_naively(x: SharedArray, entries: I64, threshold: int) -> Operation[SharedArray]:
    """Bits (F, N): faces x, shared (F, d), against public entries (N, d), coordinate by coordinate.

    F N d squares, then F N signs: three rounds, 32 (d + 1) bytes, d SQUARE and one SIGN a bit. The
    oracle of the fused matching, and the baseline that it is measured against. Raises InputError.
    """
    if len(x.shape) != 2 or entries.ndim != 2 or x.shape[1] != entries.shape[1]:
        raise InputError(f"matching: found shapes {x.shape} and {entries.shape}")
    _check_threshold(threshold)
    faces, dim = x.shape
    count = faces * len(entries)

    def agree() -> Steps[None]:
        listed = np.ascontiguousarray(entries, dtype=np.int64).tobytes()
        yield (Agreement(digest("naive matching", threshold, listed)),)

    def steps(context: Context) -> Steps[SharedArray]:
        apart = x.reshape(faces, 1, dim) - entries
        squares, _ = yield from beside([square(apart).start(context), agree()])
        return (yield from is_negative(squares.sum(2) - threshold).start(context))

    cost = Cost(1, 32 * count * dim, {SQUARE: count * dim}).then(sign_cost(count))
    return Operation(cost, steps)


class PrivateWatchlist:
    """Entries that neither party sees, made ready for many faces.

    Made by `prepare_private`; lives and ends with its session.
    """

    __slots__ = ("left", "masked", "norms", "threshold")

    def __init__(self, left: SharedArray, masked: U64, norms: SharedArray, threshold: int) -> None:
        self.left = left  # [A], (N, d)
        self.masked = masked  # W - A, public: (1, N, d, 2)
        self.norms = norms  # [sum c_i^2], (N,)
        self.threshold = threshold


def prepare_private(entries: SharedArray, threshold: int) -> Operation[PrivateWatchlist]:
    """Entries W, shared (N, d): opens W - A once and computes the squared norms.

    One round, 64 N d bytes, one FIXED_LEFT(N, d) and N d SQUAREs in all. Raises InputError.
    """
    if len(entries.shape) != 2:
        raise InputError(f"watchlist: found shape {entries.shape}, expected (N, d)")
    _check_threshold(threshold)
    rows, dim = entries.shape
    kind = left_of(fixed(rows, dim))

    def steps(context: Context) -> Steps[PrivateWatchlist]:
        left = context.take(kind, 1).block(0, rows, dim).reshape(rows, dim)

        def open_difference() -> Steps[U64]:
            agreed = Agreement(digest("private watchlist", threshold))
            opened, _ = yield (Opening(*(entries - left).flat()), agreed)
            return opened

        both = [open_difference(), square(entries).start(context)]
        masked, squares = yield from beside(both)
        return PrivateWatchlist(left, masked.reshape(1, rows, dim, 2), squares.sum(1), threshold)

    cost = Cost(1, 64 * rows * dim, {kind: 1, SQUARE: rows * dim})
    return Operation(cost, steps)


def match_privately(
    watchlist: PrivateWatchlist, x: SharedArray, norms: SharedArray
) -> Operation[SharedArray]:
    """Bits (F, N): faces x, shared (F, d), with norms [sum x_i^2], (F,), as a camera sends them.

    W x = (W - A) x + A (x - B) + A B, with A B dealt: only x - B is opened, d elements a face. Then
    F N signs of D - T. Three rounds, 32 (d + N) bytes, one FIXED(N, d) and N SIGN a face.
    Raises InputError.
    """
    same_session(x, norms, watchlist.left)
    rows, dim = watchlist.left.shape
    if len(x.shape) != 2 or x.shape[1] != dim or norms.shape != x.shape[:1]:
        raise InputError(f"matching: found faces of shape {x.shape}, expected (F, {dim})")
    faces = x.shape[0]
    kind = fixed(rows, dim)

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(kind, faces)
        (opened,) = yield (Opening(*(x - items.block(0, dim)).flat()),)
        # As matrices with a column for each face.
        columns = np.ascontiguousarray(opened.reshape(faces, dim, 2).swapaxes(0, 1))[None]
        own = x.transpose()
        products = SharedArray(
            x.key,
            engine_ring.matmul(watchlist.masked, np.ascontiguousarray(own.value)[None])[0],
            engine_ring.matmul(watchlist.masked, np.ascontiguousarray(own.mac)[None])[0],
        ) + SharedArray(
            x.key,
            engine_ring.matmul(np.ascontiguousarray(watchlist.left.value)[None], columns)[0],
            engine_ring.matmul(np.ascontiguousarray(watchlist.left.mac)[None], columns)[0],
        )
        inner = products.transpose() + items.block(dim, rows)
        distances = (
            norms.reshape(faces, 1) + watchlist.norms - inner.scale(to_ring(2))
        ) - watchlist.threshold
        return (yield from is_negative(distances).start(context))

    cost = Cost(1, 32 * faces * dim, {kind: faces}).then(sign_cost(faces * rows))
    return Operation(cost, steps)


def _check_threshold(threshold: int) -> None:
    if not 0 <= threshold < 1 << 63:
        raise RangeError(f"threshold: found {threshold}, expected 0 to 2^63 - 1")
