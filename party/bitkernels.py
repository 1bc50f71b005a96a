"""Kernels on authenticated bits: pack bit shares, open them, unmask tags (protocol section 3).

Eight places at a time, whose bits are one byte. No branch on a bit: bits are lanes' masks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from shared.errors import FormatError
from shared.kernels import compiled, helper

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_BYTE: Final = ir.IntType(8)
_EIGHT: Final = 8
_BITS: Final = ir.VectorType(ir.IntType(1), _EIGHT)
_WORDS: Final = ir.VectorType(ir.IntType(64), _EIGHT)


def pack_bits(tags: U64, out: U8) -> None:
    """The least bits of tags (F, live) row by row, least significant first, to (F, bytes).

    Rows lie one after the other in both. Raises FormatError for other arrays.
    """
    if not _pack(tags, out):
        raise _misfit(tags=tags, out=out)


def unmask(tags: U64, bits: U8, deltas: U64, out: U64) -> None:
    """t xor b Delta: tags (F, live), packed opened bits (F, bytes), deltas (F,), out (F, live).

    Rows lie one after the other in all. Raises FormatError for other arrays.
    """
    if not _unmask(tags, bits, deltas, out):
        raise _misfit(tags=tags, bits=bits, deltas=deltas, out=out)


def _misfit(**arrays: NDArray[Any]) -> FormatError:
    found = (f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())
    return FormatError(
        f"authenticated bits: found {', '.join(found)}, expected contiguous uint64 tags, "
        "one byte for eight of a row and one delta a row"
    )


@intrinsic
def _pack_eight(typing_context: Any, tags: Any, out: Any) -> Any:
    """The least bits of eight tags at an address, as the byte at another."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        source, target = (builder.inttoptr(place, ir.PointerType()) for place in args)
        words = builder.load(source, align=1, typ=_WORDS)
        bits = builder.trunc(words, _BITS)
        builder.store(builder.bitcast(bits, _BYTE), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic
def _unmask_eight(typing_context: Any, tags: Any, bits: Any, delta: Any, out: Any) -> Any:
    """Eight tags, those xor Delta whose bit in the byte is set. `delta` is Delta's address."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        source, byte, key, target = (builder.inttoptr(place, ir.PointerType()) for place in args)
        words = builder.load(source, align=1, typ=_WORDS)
        bits = builder.bitcast(builder.load(byte, align=1, typ=_BYTE), _BITS)
        word = builder.load(key, align=1, typ=ir.IntType(64))
        spread = builder.insert_element(
            ir.Constant(_WORDS, ir.Undefined), word, ir.Constant(ir.IntType(32), 0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), _EIGHT), [0] * _EIGHT)
        spread = builder.shuffle_vector(spread, spread, everywhere)
        masked = builder.and_(builder.sext(bits, _WORDS), spread)
        builder.store(builder.xor(words, masked), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), emit


@helper
def _rows(array: Any, rows: Any, columns: Any, size: Any) -> Any:
    """Whether these are so many contiguous rows of elements of this size."""
    return (
        array.shape == (rows, columns)
        and array.itemsize == size
        and (array.size == 0 or array.strides == (size * columns, size))
    )


@compiled
def _pack(tags: U64, out: U8) -> bool:
    faces, live = tags.shape
    if not (_rows(tags, faces, live, 8) and _rows(out, faces, (live + 7) // 8, 1)):
        return False
    whole = live // 8
    rest = np.zeros(8, dtype=np.uint64)
    for face in range(faces):
        row, packed = tags.ctypes.data + 8 * live * face, out.ctypes.data + out.shape[1] * face
        for byte in range(whole):
            _pack_eight(row + 64 * byte, packed + byte)
        if live % 8:
            for place in range(live % 8):
                rest[place] = tags[face, 8 * whole + place]
            _pack_eight(rest.ctypes.data, packed + whole)
    return True


@compiled
def _unmask(tags: U64, bits: U8, deltas: U64, out: U64) -> bool:
    faces, live = tags.shape
    if not (
        _rows(tags, faces, live, 8)
        and _rows(bits, faces, (live + 7) // 8, 1)
        and deltas.shape == (faces,)
        and (faces < 2 or deltas.strides == (8,))
        and _rows(out, faces, live, 8)
    ):
        return False
    whole = live // 8
    rest = np.zeros(8, dtype=np.uint64)
    for face in range(faces):
        row, target = tags.ctypes.data + 8 * live * face, out.ctypes.data + 8 * live * face
        opened, delta = bits.ctypes.data + bits.shape[1] * face, deltas.ctypes.data + 8 * face
        for byte in range(whole):
            _unmask_eight(row + 64 * byte, opened + byte, delta, target + 64 * byte)
        if live % 8:
            for place in range(live % 8):
                rest[place] = tags[face, 8 * whole + place]
            _unmask_eight(rest.ctypes.data, opened + whole, delta, rest.ctypes.data)
            for place in range(live % 8):
                out[face, 8 * whole + place] = rest[place]
    return True
