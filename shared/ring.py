"""Arithmetic of Z_{2^128}, and the products with the public watchlist (protocol sections 2, 3).

A ring element is two u64 on the last axis, low limb first. Nothing here branches on a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from shared import ring_ir
from shared.errors import FormatError, RangeError
from shared.kernels import address, compiled, helper, load32, load64, readable, store64, writable
from shared.wide import add as _add
from shared.wide import mul as _mul
from shared.wide import shl as _shl
from shared.wide import sub as _sub

U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

_EXACT: Final = 1 << 53  # integers up to here are exact in float64


def from_ints(values: Sequence[int]) -> U64:
    """Ring elements of Python integers, reduced: (len(values), 2) uint64. For small data."""
    data = b"".join((value % (1 << 128)).to_bytes(16, "little") for value in values)
    return np.frombuffer(data, dtype=np.uint64).reshape(-1, 2).copy()


def to_ints(elements: U64) -> list[int]:
    """Python integers in 0..2^128-1 of ring elements, flattened in order. For small data."""
    flat = elements.reshape(-1, 2).tolist()
    return [low | high << 64 for low, high in flat]


def add(a: U64, b: U64, out: U64 | None = None) -> U64:
    """a + b, elementwise, shapes equal (..., 2) uint64. `out` may be a or b."""
    return _elementwise(_ADD, a, b, out)


def sub(a: U64, b: U64, out: U64 | None = None) -> U64:
    """a - b, elementwise, shapes equal (..., 2) uint64. `out` may be a or b."""
    return _elementwise(_SUB, a, b, out)


def mul(a: U64, b: U64, out: U64 | None = None) -> U64:
    """a b, elementwise, shapes equal (..., 2) uint64. `out` may be a or b."""
    return _elementwise(_MUL, a, b, out)


def neg(a: U64, out: U64 | None = None) -> U64:
    """-a, elementwise, (..., 2) uint64. `out` may be a."""
    return _elementwise(_SUB, np.zeros_like(a), a, out)


def inner_mac_check(chi: U64, macs: U64, alphas: U64, kappas: U64) -> U64:
    """The check value sigma = sum chi (m - alpha kappa) mod 2^128 (protocol section 3).

    chi, macs, kappas: (M, 2) uint64. alphas: (F, 2), one per slot; opening i is of slot
    i // (M // F). Returns (2,) uint64. Raises FormatError for other shapes.
    """
    openings, faces = len(macs), len(alphas)
    if openings and (faces == 0 or openings % faces):
        raise FormatError(f"check: found {openings} openings for {faces} slots")
    a = readable("coefficients", chi, np.uint64, (openings, 2))
    b = readable("MAC shares", macs, np.uint64, (openings, 2))
    c = readable("alphas", alphas, np.uint64, (faces, 2))
    d = readable("kappas", kappas, np.uint64, (openings, 2))
    result = np.zeros(2, dtype=np.uint64)
    _check_value(
        address(a),
        address(b),
        address(c),
        address(d),
        faces,
        openings // max(faces, 1),
        address(result),
    )
    return result


class PublicMatrix:
    """The watchlist's matrix ch (encodings E6) in the forms that the products want.

    ch: (N, d + 1) int32. Making it costs a few microseconds per thousand numbers: keep it.
    Raises FormatError for another dtype or shape, RangeError when a product would not be exact.
    """

    __slots__ = ("columns", "coordinates", "limb_bits", "places", "transposed")

    def __init__(self, ch: I32) -> None:
        if ch.dtype != np.int32 or ch.ndim != 2:
            raise FormatError(
                f"watchlist matrix: found {ch.dtype} of {ch.ndim} axes, expected int32 of 2"
            )
        self.places, self.coordinates = ch.shape
        norm = int(np.abs(ch.astype(np.int64)).sum(axis=1).max(initial=0))
        for bits in (32, 16):
            if norm << bits < _EXACT:
                self.limb_bits = bits
                break
        else:
            raise RangeError(f"watchlist matrix: a row's 1-norm is {norm}, expected below 2^37")
        self.transposed: I32 = np.ascontiguousarray(ch.T)
        self.columns: F64 = np.ascontiguousarray(ch.T.astype(np.float64))


class Scratch:
    """Memory that products reuse between calls; of one caller at a time."""

    __slots__ = ("_buffers",)

    def __init__(self) -> None:
        self._buffers: dict[str, F64] = {}

    def take(self, name: str, rows: int, columns: int) -> F64:
        """A (rows, columns) float64 array with unspecified content."""
        size = rows * columns
        found = self._buffers.get(name)
        if found is None or found.size < size:
            found = self._buffers[name] = np.empty(size, dtype=np.float64)
        return found[:size].reshape(rows, columns)


_ROWS: Final = 64  # faces a step, so that limbs and sums stay in the cache


def public_matrix_product(
    ch: I32 | PublicMatrix, shares: U64, out: U64 | None = None, scratch: Scratch | None = None
) -> U64:
    """ch.share mod 2^128 for every face: (F, N, 2) uint64.

    ch: (N, d + 1) int32 or made ready as PublicMatrix. shares: (F, d + 1, 2) uint64.
    Exact: float64 products of ch with 32-bit limbs (16-bit ones where a row's 1-norm is large)
    stay below 2^53. Raises FormatError, RangeError.
    """
    matrix = ch if isinstance(ch, PublicMatrix) else PublicMatrix(ch)
    places, coordinates = matrix.places, matrix.coordinates
    faces = len(shares)
    inputs = readable("shares", shares, np.uint64, (faces, coordinates, 2))
    shape = (faces, places, 2)
    result = np.empty(shape, dtype=np.uint64) if out is None else out
    writable("products", result, np.uint64, shape)
    memory = Scratch() if scratch is None else scratch
    limbs = 128 // matrix.limb_bits
    for first in range(0, faces, _ROWS):
        rows = min(_ROWS, faces - first)
        split = memory.take("limbs", rows * limbs, coordinates)
        sums = memory.take("sums", rows * limbs, places)
        source = address(inputs) + 16 * first * coordinates
        target = address(result) + 16 * first * places
        _split(source, rows, coordinates, limbs, address(split))
        np.matmul(split, matrix.columns, out=sums)
        _join(address(sums), rows, places, limbs, target)
    return result


def public_product_mod32(
    ch: I32 | PublicMatrix, e: NDArray[np.uint32], out: NDArray[np.uint32] | None = None
) -> NDArray[np.uint32]:
    """ch.e mod 2^32 for every face: (F, N) uint32.

    ch: (N, d + 1) int32 or made ready as PublicMatrix. e: (F, d + 1) uint32. Raises FormatError.
    """
    matrix = ch if isinstance(ch, PublicMatrix) else PublicMatrix(ch)
    faces = len(e)
    inputs = readable("masked faces", e, np.uint32, (faces, matrix.coordinates))
    shape = (faces, matrix.places)
    result = np.empty(shape, dtype=np.uint32) if out is None else out
    writable("products", result, np.uint32, shape)
    _product32(
        address(matrix.transposed),
        matrix.places,
        matrix.coordinates,
        address(inputs),
        faces,
        address(result),
    )
    return result


# -- kernels ---------------------------------------------------------------------------

_ADD: Final = 0
_SUB: Final = 1
_MUL: Final = 2


def _elementwise(operation: int, a: U64, b: U64, out: U64 | None) -> U64:
    shape = a.shape
    if shape[-1:] != (2,):
        raise FormatError(f"ring elements: found shape {shape}, expected a last axis of 2")
    left = readable("ring elements", a, np.uint64, shape)
    right = readable("ring elements", b, np.uint64, shape)
    result = np.empty(shape, dtype=np.uint64) if out is None else out
    writable("ring elements", result, np.uint64, shape)
    _combine(operation, address(left), address(right), a.size // 2, address(result))
    return result


@compiled
def _combine(operation: int, a: int, b: int, count: int, out: int) -> None:
    for i in range(count):
        at = 16 * i
        p, q = load64(a + at), load64(a + at + 8)
        r, s = load64(b + at), load64(b + at + 8)
        if operation == _ADD:
            low, high = _add(p, q, r, s)
        elif operation == _SUB:
            low, high = _sub(p, q, r, s)
        else:
            low, high = _mul(p, q, r, s)
        store64(out + at, low)
        store64(out + at + 8, high)


@compiled
def _check_value(
    chi: int, macs: int, alphas: int, kappas: int, faces: int, places: int, out: int
) -> None:
    low, high = np.uint64(0), np.uint64(0)
    for face in range(faces):
        alpha_low, alpha_high = load64(alphas + 16 * face), load64(alphas + 16 * face + 8)
        for i in range(face * places, (face + 1) * places):
            at = 16 * i
            p, q = _mul(alpha_low, alpha_high, load64(kappas + at), load64(kappas + at + 8))
            p, q = _sub(load64(macs + at), load64(macs + at + 8), p, q)
            p, q = _mul(p, q, load64(chi + at), load64(chi + at + 8))
            low, high = _add(low, high, p, q)
    store64(out, low)
    store64(out + 8, high)


@intrinsic
def _store_number(typing_context: Any, place: Any, value: Any) -> Any:
    """Writes a u64 below 2^53 as float64."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        number = builder.uitofp(args[1], ir.DoubleType())
        builder.store(number, pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), emit


@intrinsic
def _load_integer(typing_context: Any, place: Any) -> Any:
    """An integral float64 below 2^63 in size, as the u64 of its two's complement."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        number = builder.load(pointer, align=1, typ=ir.DoubleType())
        return builder.fptosi(number, ir.IntType(64))

    return types.uint64(types.int64), emit


@compiled
def _split(shares: int, faces: int, coordinates: int, limbs: int, out: int) -> None:
    """Limbs as float64: out[face, limb, coordinate]."""
    for face in range(faces):
        source = shares + 16 * face * coordinates
        for limb in range(limbs):
            place = out + 8 * (face * limbs + limb) * coordinates
            if limbs == 4:
                for i in range(coordinates):
                    _store_number(place + 8 * i, load32(source + 16 * i + 4 * limb))
            else:
                half = np.uint64(16 * (limb & 1))
                for i in range(coordinates):
                    word = load32(source + 16 * i + 4 * (limb >> 1))
                    _store_number(place + 8 * i, (word >> half) & np.uint64(0xFFFF))


@compiled
def _join(sums: int, faces: int, places: int, limbs: int, out: int) -> None:
    """sum of limb sums shifted to their place, mod 2^128; sums[face, limb, place] float64."""
    row = 8 * places
    for face in range(faces):
        source = sums + face * limbs * row
        target = out + 16 * face * places
        if limbs == 4:
            for i in range(places):
                at = source + 8 * i
                _join_32(
                    _load_integer(at),
                    _load_integer(at + row),
                    _load_integer(at + 2 * row),
                    _load_integer(at + 3 * row),
                    target + 16 * i,
                )
        else:
            for i in range(places):
                at = source + 8 * i
                low, high = np.uint64(0), np.uint64(0)
                for limb in range(8):
                    word = _load_integer(at + limb * row)
                    sign = np.uint64(0) - (word >> np.uint64(63))
                    p, q = _shl(word, sign, np.uint64(16 * limb), np.uint64(0))
                    low, high = _add(low, high, p, q)
                store64(target + 16 * i, low)
                store64(target + 16 * i + 8, high)


@helper
def _join_32(a: Any, b: Any, c: Any, d: Any, out: Any) -> None:
    """Writes a + 2^32 b + 2^64 c + 2^96 d of four signed words."""
    half, top = np.uint64(32), np.uint64(63)
    low = a + (b << half)
    carry = np.uint64(low < a)
    high = carry - (a >> top) + c + (d << half)
    high += (b >> half) - ((b >> top) << half)
    store64(out, low)
    store64(out + 8, high)


def _dot(faces: int, lanes: int) -> Any:
    """An intrinsic that calls `ring_ir.dot32` for so many faces and lanes at once."""

    @intrinsic
    def apply(
        typing_context: Any,
        columns: Any,
        stride: Any,
        coordinates: Any,
        masked: Any,
        masked_stride: Any,
        out: Any,
        out_stride: Any,
    ) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.call(ring_ir.dot32(builder.module, faces, lanes), args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), emit

    return apply


_LANES: Final = 16
_dot_4_wide = _dot(4, _LANES)
_dot_1_wide = _dot(1, _LANES)
_dot_1_narrow = _dot(1, 1)


@compiled
def _product32(
    columns: int, places: int, coordinates: int, masked: int, faces: int, out: int
) -> None:
    row, source_row, target_row = 4 * places, 4 * coordinates, 4 * places
    if places < _LANES:
        for face in range(faces):
            for n in range(places):
                _dot_1_narrow(
                    columns + 4 * n,
                    row,
                    coordinates,
                    masked + face * source_row,
                    source_row,
                    out + face * target_row + 4 * n,
                    target_row,
                )
        return
    for n in range(0, places, _LANES):
        # The last vector begins early rather than end late: it repeats numbers already written.
        at = 4 * min(n, places - _LANES)
        face = 0
        while face < faces:
            source, target = masked + face * source_row, out + face * target_row + at
            if faces - face >= 4:
                _dot_4_wide(columns + at, row, coordinates, source, source_row, target, target_row)
                face += 4
            else:
                _dot_1_wide(columns + at, row, coordinates, source, source_row, target, target_row)
                face += 1
