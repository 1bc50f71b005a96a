"""The distributed comparison function: key generation and evaluation (encodings E4, E5).

[BCGGIKR21] figure 1 with a XOR payload, two payloads and a leaf block (protocol section 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from shared import dcf_ir, dcf_portable, kernels
from shared.aes_schedule import expand_key_128
from shared.errors import FormatError
from shared.kernels import (
    FOUR_BLOCKS,
    PORTABLE,
    TWO_BLOCKS,
    address,
    compiled,
    helper,
    kernel_number,
    load64,
    readable,
    writable,
)
from shared.params import TILE, Parameters

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


def generate(
    params: Parameters,
    slot_keys: U64,
    roots0: U64,
    roots1: U64,
    points: U32,
    beta_lt: U64,
    beta_ge: U64,
    out: U8,
) -> None:
    """Correction words of F slots, written to `out` in the layout of encodings E5.

    slot_keys: (F, 2) uint64. roots0, roots1: (F, N, 2) uint64, root seeds of both parties.
    points: (F, N) uint32, the secret points a, below 2^low_bits. beta_lt, beta_ge: (F, N) uint64,
    the payloads at x < a and at x >= a. out: (F, slot_match_bytes) uint8, rows contiguous.
    The time taken and the memory touched do not depend on roots, points and payloads, except in
    the portable kernel. Raises FormatError for another dtype or shape.
    """
    faces, places = len(slot_keys), params.places
    keys = readable("slot keys", slot_keys, np.uint64, (faces, 2))
    first = readable("roots of P0", roots0, np.uint64, (faces, places, 2))
    second = readable("roots of P1", roots1, np.uint64, (faces, places, 2))
    secret = readable("points", points, np.uint32, (faces, places))
    below = readable("payloads", beta_lt, np.uint64, (faces, places))
    from_ = readable("payloads", beta_ge, np.uint64, (faces, places))
    row, stride = _rows(params, out, faces)
    if not out.flags.writeable:
        raise FormatError("correction words: expected a writable array")
    _generate(
        kernel_number(),
        params.levels,
        places,
        faces,
        address(keys),
        address(first),
        address(second),
        address(secret),
        address(below),
        address(from_),
        row,
        stride,
    )


def evaluate(
    params: Parameters,
    party: int,
    slot_keys: U64,
    roots: U64,
    words: U8 | U64,
    z_low: U32,
    out: U64,
) -> None:
    """This party's shares of the payloads at public points: XOR of both parties' is the payload.

    slot_keys: (F, 2) uint64. roots: (F, used, 2) uint64 and z_low: (F, used) uint32 for the first
    `used` <= N places. words: (F, slot_match_bytes) uint8, rows contiguous, of any stride; or
    (F,) uint64, the addresses of such rows, which the caller vouches for and keeps alive.
    out: (F, used) uint64, contiguous. Nothing beyond the rows is read.
    Raises FormatError for another dtype or shape.
    """
    faces, used = len(slot_keys), z_low.shape[-1]
    if party not in (0, 1) or used > params.places:
        raise FormatError(
            f"evaluation: found party {party} and {used} places, "
            f"expected party 0 or 1 and at most {params.places} places"
        )
    keys = readable("slot keys", slot_keys, np.uint64, (faces, 2))
    seeds = readable("roots", roots, np.uint64, (faces, used, 2))
    points = readable("points", z_low, np.uint32, (faces, used))
    listed = row = stride = 0
    if words.dtype == np.uint64:
        listed = address(writable("rows of correction words", words, np.uint64, (faces,)))
    else:
        row, stride = _rows(params, words, faces)
    writable("shares", out, np.uint64, (faces, used))
    _evaluate(
        kernel_number(),
        party,
        params.levels,
        params.places,
        used,
        faces,
        address(keys),
        address(seeds),
        listed,
        row,
        stride,
        address(points),
        address(out),
    )


def row_addresses(rows: U8) -> U64:
    """Where each row of an (F, bytes) uint8 array begins: (F,) uint64, for `evaluate`."""
    result = np.arange(len(rows), dtype=np.int64)
    result *= rows.strides[0]
    result += address(rows)
    return result.view(np.uint64)


def _rows(params: Parameters, words: NDArray[Any], faces: int) -> tuple[int, int]:
    """The address of the first row of correction words, and the stride."""
    size = params.slot_match_bytes
    bad_rows = words.size > 0 and words.strides[-1] != 1
    if words.dtype != np.uint8 or words.shape != (faces, size) or bad_rows:
        raise FormatError(
            f"correction words: found {words.dtype} of shape {words.shape}, "
            f"expected uint8 of shape {(faces, size)} with contiguous rows"
        )
    return address(words), words.strides[0]


# -- kernels ---------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def evaluate_places(
    typing_context: Any,
    blocks: Any,
    vectors: Any,
    wide: Any,
    keys: Any,
    roots: Any,
    words: Any,
    width: Any,
    start: Any,
    last: Any,
    z: Any,
    party: Any,
    levels: Any,
    out: Any,
) -> Any:
    """`dcf_ir.evaluate` of these literal sizes; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is not None:
            vectors, wide = (argument.literal_value for argument in signature.args[1:3])
            function = dcf_ir.evaluate(builder.module, target, vectors, wide=bool(wide))
            builder.call(function, args[3:])
        return context.get_dummy_value()

    return types.void(blocks, vectors, wide, *[types.int64] * 10), emit


@intrinsic(prefer_literal=True)
def generate_places(
    typing_context: Any,
    blocks: Any,
    vectors: Any,
    wide: Any,
    keys: Any,
    roots0: Any,
    roots1: Any,
    words: Any,
    width: Any,
    start: Any,
    last: Any,
    points: Any,
    below: Any,
    from_: Any,
    levels: Any,
) -> Any:
    """`dcf_ir.generate` of these literal sizes; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is not None:
            vectors, wide = (argument.literal_value for argument in signature.args[1:3])
            function = dcf_ir.generate(builder.module, target, vectors, wide=bool(wide))
            builder.call(function, args[3:])
        return context.get_dummy_value()

    return types.void(blocks, vectors, wide, *[types.int64] * 11), emit


@helper
def _evaluate_tile(
    kernel: Any,
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
    at = 0
    if kernel == FOUR_BLOCKS and count > 8:
        evaluate_places(4, 4, 0, keys, roots, words, width, 0, count - 4, z, party, levels, out)
    elif kernel == FOUR_BLOCKS and count >= 4:
        evaluate_places(4, 2, 0, keys, roots, words, width, 0, count - 4, z, party, levels, out)
    elif kernel >= TWO_BLOCKS and count >= 2:
        while at < count:
            evaluate_places(
                2, 4, 0, keys, roots, words, width, at, count - 2, z, party, levels, out
            )
            at += 8
    else:
        while at < count:
            evaluate_places(
                1, 4, 0, keys, roots, words, width, at, count - 1, z, party, levels, out
            )
            at += 4


def generate_tile(wide: int) -> Any:
    """The helper that generates a tile's keys; wide: 1 for points of 64 bits, 0 for 32."""

    @helper
    def tile(
        kernel: Any,
        keys: Any,
        roots0: Any,
        roots1: Any,
        words: Any,
        width: Any,
        a: Any,
        lt: Any,
        ge: Any,
        levels: Any,
    ) -> None:
        at = 0
        if kernel == FOUR_BLOCKS and width >= 4:
            last = width - 4
            while at < width:
                generate_places(
                    4, 2, wide, keys, roots0, roots1, words, width, at, last, a, lt, ge, levels
                )
                at += 8
        elif kernel >= TWO_BLOCKS and width >= 2:
            last = width - 2
            while at < width:
                generate_places(
                    2, 2, wide, keys, roots0, roots1, words, width, at, last, a, lt, ge, levels
                )
                at += 4
        else:
            last = width - 1
            while at < width:
                generate_places(
                    1, 2, wide, keys, roots0, roots1, words, width, at, last, a, lt, ge, levels
                )
                at += 2

    return tile


_generate_tile = generate_tile(0)


@compiled
def _evaluate(
    kernel: int,
    party: int,
    levels: int,
    places: int,
    used: int,
    faces: int,
    slot_keys: int,
    roots: int,
    listed: int,
    row: int,
    stride: int,
    z: int,
    out: int,
) -> None:
    memory = np.empty(44, dtype=np.uint32)
    keys = memory.ctypes.data
    for face in range(faces):
        expand_key_128(kernel, slot_keys + 16 * face, keys)
        words = np.int64(load64(listed + 8 * face)) if listed else row + stride * face
        for first in range(0, used, TILE):
            width = min(TILE, places - first)
            count = min(TILE, used - first)
            at = face * used + first
            if kernel == PORTABLE:
                dcf_portable.evaluate_tile(
                    keys,
                    roots + 16 * at,
                    words,
                    width,
                    count,
                    z + 4 * at,
                    party,
                    levels,
                    out + 8 * at,
                )
            else:
                _evaluate_tile(
                    kernel,
                    keys,
                    roots + 16 * at,
                    words,
                    width,
                    count,
                    z + 4 * at,
                    party,
                    levels,
                    out + 8 * at,
                )
            words += width * (24 * levels + 32)


@compiled
def _generate(
    kernel: int,
    levels: int,
    places: int,
    faces: int,
    slot_keys: int,
    roots0: int,
    roots1: int,
    points: int,
    below: int,
    from_: int,
    row: int,
    stride: int,
) -> None:
    memory = np.empty(44, dtype=np.uint32)
    keys = memory.ctypes.data
    for face in range(faces):
        expand_key_128(kernel, slot_keys + 16 * face, keys)
        words = row + stride * face
        for first in range(0, places, TILE):
            width = min(TILE, places - first)
            at = face * places + first
            root0, root1 = roots0 + 16 * at, roots1 + 16 * at
            a, lt, ge = points + 4 * at, below + 8 * at, from_ + 8 * at
            if kernel == PORTABLE:
                dcf_portable.generate_tile(keys, root0, root1, words, width, a, lt, ge, levels)
            else:
                _generate_tile(kernel, keys, root0, root1, words, width, a, lt, ge, levels)
            words += width * (24 * levels + 32)
