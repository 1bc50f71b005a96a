"""Pseudorandom blocks: AES-256 of slot, domain and index (encodings E2), and E3's slot keys."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import ArrayLike, NDArray

from shared import aes_ir, aes_portable, kernels
from shared.aes_schedule import expand_key_256
from shared.errors import FormatError
from shared.hashing import digest
from shared.kernels import (
    FOUR_BLOCKS,
    PORTABLE,
    TWO_BLOCKS,
    address,
    available,
    compiled,
    helper,
    kernel_name,
    kernel_number,
    load64,
    readable,
    store64,
    writable,
)
from shared.secret import Secret

__all__ = [
    "ALPHA",
    "CHI",
    "DCF_ROOT",
    "DELTA",
    "RHO",
    "RHO_MAC",
    "R_HIGH",
    "R_LOW",
    "R_MAC",
    "Key",
    "available",
    "coefficients",
    "expand",
    "expand_run",
    "kernel_name",
    "slot_keys",
]

Key = bytes | Secret
U64 = NDArray[np.uint64]

ALPHA: Final = 1
DELTA: Final = 2
R_HIGH: Final = 3
R_MAC: Final = 4
RHO: Final = 5
RHO_MAC: Final = 6
DCF_ROOT: Final = 7
R_LOW: Final = 8
CHI: Final = 9

_KEY_BYTES = 32


def expand(
    key: Key,
    slots: ArrayLike,
    domain: int,
    count: int,
    out: U64 | None = None,
    *,
    first: int = 0,
) -> U64:
    """Blocks (encodings E2) of each slot, indices first..first+count-1, in one domain.

    key: 32 bytes. slots: (F,) uint64. Returns `out`, (F, count, 2) uint64, made if not given.
    Raises FormatError for a wrong key length, dtype or shape.
    """
    places = _slots(slots)
    shape = (len(places), count, 2)
    result = np.empty(shape, dtype=np.uint64) if out is None else out
    writable("blocks", result, np.uint64, shape)
    if not (count >= 0 <= first and first + count <= 1 << 32 and 0 <= domain < 1 << 32):
        raise FormatError(
            f"blocks: found domain {domain}, indices from {first} and {count} of them, expected u32"
        )
    secret = key_array(key)
    expand_blocks(
        kernel_number(),
        address(secret),
        address(places),
        len(places),
        domain,
        first,
        count,
        address(result),
    )
    return result


def expand_run(key: Key, slot: int, count: int, domain: int, index: int, out: U64) -> U64:
    """One block of each of so many consecutive slots: `expand` without a list of them.

    key: 32 bytes. index: of the block. out: (count, 2) uint64. Raises FormatError.
    """
    writable("blocks", out, np.uint64, (count, 2))
    if not (slot >= 0 and slot + count <= 1 << 62 and 0 <= domain < 1 << 32 > index >= 0):
        raise FormatError(f"blocks: found slot {slot}, domain {domain} and index {index}")
    secret = key_array(key)
    _expand_run(kernel_number(), address(secret), slot, count, domain, index, address(out))
    return out


def slot_keys(set_digest: bytes, slots: ArrayLike) -> U64:
    """The public AES-128 key of each slot's DCF (encodings E3): (F, 2) uint64.

    set_digest: 32 bytes. slots: (F,) uint64.
    """
    places = _slots(slots)
    result = expand(digest("dcf", set_digest), places, 0, 1)[:, 0, :]
    result[:, 0] ^= places
    return result


def coefficients(seed: bytes, count: int) -> U64:
    """The coefficients chi_0..chi_{count-1} of a prepare check: (count, 2) uint64.

    seed: 32 bytes from coin tossing (protocol section 3); chi_i is block (slot i, CHI, 0).
    """
    return expand_run(seed, 0, count, CHI, 0, np.empty((count, 2), dtype=np.uint64))


def _slots(slots: ArrayLike) -> U64:
    array = np.asarray(slots, dtype=np.uint64)
    return readable("slots", array, np.uint64, (array.size,))


def key_array(key: Key) -> NDArray[np.uint8]:
    """A key's 32 bytes, for kernels. Raises FormatError for another length."""
    content = key.reveal() if isinstance(key, Secret) else key
    if len(content) != _KEY_BYTES:
        raise FormatError(f"block key: found {len(content)} bytes, expected {_KEY_BYTES}")
    return np.frombuffer(content, dtype=np.uint8)


@intrinsic(prefer_literal=True)
def _count(
    typing_context: Any,
    blocks: Any,
    keys: Any,
    low: Any,
    high: Any,
    low_step: Any,
    high_step: Any,
    count: Any,
    out: Any,
) -> Any:
    """`aes_ir.expand` for vectors of so many blocks; nothing where the host lacks them."""
    i64, u64 = types.int64, types.uint64

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is not None:
            builder.call(aes_ir.expand(builder.module, target), args[1:])
        return context.get_dummy_value()

    return types.void(blocks, i64, u64, u64, u64, u64, i64, i64), emit


@helper
def _sequence(
    kernel: Any,
    expanded: Any,
    low: Any,
    high: Any,
    low_step: Any,
    high_step: Any,
    count: Any,
    out: Any,
) -> None:
    """Blocks of inputs that are counted from (low, high)."""
    if kernel == PORTABLE:
        for i in range(count):
            step = np.uint64(i)
            p, q = aes_portable.encrypt(
                expanded, 14, low + step * low_step, high + step * high_step
            )
            store64(out + 16 * i, p)
            store64(out + 16 * i + 8, q)
    elif kernel == FOUR_BLOCKS and count >= 4:
        _count(4, expanded, low, high, low_step, high_step, count, out)
    elif kernel >= TWO_BLOCKS and count >= 2:
        _count(2, expanded, low, high, low_step, high_step, count, out)
    else:
        _count(1, expanded, low, high, low_step, high_step, count, out)


@helper
def expand_sequence(
    kernel: Any, rounds: Any, slot: Any, count: Any, domain: Any, index: Any, out: Any
) -> None:
    """`expand_run` with expanded keys and on addresses, for other kernels."""
    high = np.uint64(domain) | np.uint64(index) << np.uint64(32)
    _sequence(kernel, rounds, np.uint64(slot), high, np.uint64(1), np.uint64(0), count, out)


@compiled
def _expand_run(
    kernel: int, key: int, slot: int, count: int, domain: int, index: int, out: int
) -> None:
    keys = np.empty(60, dtype=np.uint32)
    rounds = keys.ctypes.data
    expand_key_256(kernel, key, rounds)
    expand_sequence(kernel, rounds, slot, count, domain, index, out)
    keys[:] = np.uint32(0)  # an expanded key begins with the key


@compiled
def expand_blocks(
    kernel: int,
    key: int,
    slots: int,
    faces: int,
    domain: int,
    first: int,
    count: int,
    out: int,
) -> None:
    """`expand` on addresses, for other kernels."""
    keys = np.empty(60, dtype=np.uint32)
    expanded = keys.ctypes.data
    expand_key_256(kernel, key, expanded)
    one = np.uint64(1) << np.uint64(32)
    start = np.uint64(domain) | np.uint64(first) << np.uint64(32)
    face = 0
    while face < faces:
        slot = load64(slots + 8 * face)
        run = 1
        low_step = np.uint64(0)
        high_step = one
        length = count
        if count == 1:
            # Consecutive slots with one block each are one sequence, counted by slot.
            while face + run < faces and load64(slots + 8 * (face + run)) == slot + np.uint64(run):
                run += 1
            low_step = np.uint64(1)
            high_step = np.uint64(0)
            length = run
        place = out + 16 * count * face
        _sequence(kernel, expanded, slot, start, low_step, high_step, length, place)
        face += run
    keys[:] = np.uint32(0)  # an expanded key begins with the key
