"""AES-256-GCM of the dealer's chunks: the library's, or a kernel of twice its speed.

Where a processor has VAES but not AVX-512, OpenSSL encrypts one block an instruction, and the
material of a face takes three times as long to decrypt as its comparisons to evaluate. There the
kernel of `gcm_ir` does the same (NIST SP 800-38D); elsewhere, and for whatever else is encrypted,
the `cryptography` package does it.
"""

from __future__ import annotations

import hmac
from typing import Any, Final, Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from shared import aes_ir, gcm_ir
from shared.errors import FormatError
from shared.gcm_ir import STEP_BLOCKS
from shared.kernels import (
    TWO_BLOCKS,
    address,
    available,
    compiled,
    features,
    helper,
    kernel_number,
    load64,
    store64,
)

U8 = NDArray[np.uint8]

TAG_BYTES: Final = 16
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_STEP: Final = 16 * STEP_BLOCKS
_LARGEST: Final = 16 * ((1 << 32) - 2)  # the counter is 32 bits

# What a key expands to, by offset in bytes: round keys, powers of the hash key, their halves added.
_POWERS: Final = 240
_HALVES: Final = _POWERS + 16 * STEP_BLOCKS
_TABLE_BYTES: Final = _HALVES + 16 * STEP_BLOCKS
_FIRST_POWER: Final = 16 * (STEP_BLOCKS - 1)

Content = bytes | bytearray | memoryview


class Aead(Protocol):
    """Encrypts and decrypts into the caller's memory."""

    def encrypt_into(
        self, nonce: Content, data: Content, associated_data: Content | None, buf: Any
    ) -> int:
        """Ciphertext and tag into `buf`; how many bytes."""

    def decrypt_into(
        self, nonce: Content, data: Content, associated_data: Content | None, buf: Any
    ) -> int:
        """The plaintext into `buf`; how many bytes. Raises InvalidTag."""


def aead(key: bytes) -> Aead:
    """The faster AES-256-GCM of this machine under a key of 32 bytes."""
    if kernel_number() == TWO_BLOCKS and _possible():
        return Gcm(key)
    return AESGCM(key)


class Gcm:
    """AES-256-GCM by the kernel of two blocks. Nonces of 12 bytes. Threads may share it."""

    __slots__ = ("_tables",)

    def __init__(self, key: bytes) -> None:
        """Raises FormatError unless the key has 32 bytes."""
        if len(key) != _KEY_BYTES:
            raise FormatError(f"AES key: found {len(key)} bytes, expected {_KEY_BYTES}")
        self._tables = np.zeros(_TABLE_BYTES, dtype=np.uint8)
        _prepare(address(np.frombuffer(key, dtype=np.uint8)), address(self._tables))

    def encrypt_into(
        self, nonce: Content, data: Content, associated_data: Content | None, buf: Any
    ) -> int:
        """Ciphertext and tag into `buf`, TAG_BYTES longer than data; how many bytes.

        Raises FormatError for another size.
        """
        source, target = _octets(data), _octets(buf)
        _sizes(nonce, len(source), len(target), len(source) + TAG_BYTES)
        tag = self._run(nonce, source, associated_data or b"", target, encrypting=1)
        target[len(source) :] = tag
        return len(target)

    def decrypt_into(
        self, nonce: Content, data: Content, associated_data: Content | None, buf: Any
    ) -> int:
        """The plaintext of ciphertext and tag into `buf`, TAG_BYTES shorter; how many bytes.

        Raises InvalidTag, and leaves nothing of the plaintext; FormatError for another size.
        """
        source, target = _octets(data), _octets(buf)
        size = len(source) - TAG_BYTES
        if size < 0:
            raise InvalidTag
        _sizes(nonce, size, len(target), size)
        tag = self._run(nonce, source[:size], associated_data or b"", target, encrypting=0)
        if not hmac.compare_digest(tag.tobytes(), source[size:].tobytes()):
            target[:] = 0
            raise InvalidTag
        return size

    def _run(
        self, nonce: Content, data: U8, associated: Content, out: U8, *, encrypting: int
    ) -> U8:
        first, also = _octets(nonce), _octets(associated)
        tag = np.empty(TAG_BYTES, dtype=np.uint8)
        _crypt(
            address(self._tables),
            address(first),
            address(also),
            also.size,
            address(data),
            address(out),
            data.size,
            encrypting,
            address(tag),
        )
        return tag

    def __repr__(self) -> str:
        return "Gcm"

    def __del__(self) -> None:
        tables = getattr(self, "_tables", None)
        if tables is not None:
            tables.fill(0)


def _octets(content: Any) -> U8:
    return np.frombuffer(content, dtype=np.uint8)


def _sizes(nonce: Content, size: int, found: int, expected: int) -> None:
    if len(nonce) != _NONCE_BYTES or size > _LARGEST or found != expected:
        raise FormatError(
            f"AES-GCM: found a nonce of {len(nonce)} and room for {found} bytes, "
            f"expected {_NONCE_BYTES} and {expected}"
        )


# -- kernels ---------------------------------------------------------------------------


def _possible() -> bool:
    """Whether this machine has the instructions of the kernel."""
    return TWO_BLOCKS in available().values() and features().get("vpclmulqdq", False)


@intrinsic
def _absorb(
    typing_context: Any, power: Any, halves: Any, state: Any, source: Any, blocks: Any
) -> Any:
    """`gcm_ir.absorb`; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _possible():
            builder.call(gcm_ir.absorb(builder.module), args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), emit


@intrinsic
def _keystream(typing_context: Any, keys: Any, counter: Any, out: Any) -> Any:
    """`gcm_ir.keystream`; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _possible():
            builder.call(gcm_ir.keystream(builder.module), args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), emit


@intrinsic
def _steps(
    typing_context: Any,
    keys: Any,
    powers: Any,
    halves: Any,
    counter: Any,
    state: Any,
    source: Any,
    target: Any,
    hashed: Any,
    steps: Any,
) -> Any:
    """`gcm_ir.crypt`; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _possible():
            builder.call(gcm_ir.crypt(builder.module), args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9), emit


@intrinsic
def _schedule(typing_context: Any, key: Any, out: Any) -> Any:
    """Expands an AES-256 key; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _possible():
            target = aes_ir.Target("x86", 1)
            builder.call(aes_ir.schedule(builder.module, target, aes_ir.ROUNDS_256), args)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic
def _copy(typing_context: Any, source: Any, target: Any, count: Any) -> Any:
    """So many bytes from one address to another."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (builder.inttoptr(place, ir.PointerType()) for place in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), emit


@compiled
def _prepare(key: int, tables: int) -> None:
    _schedule(key, tables)
    memory = np.zeros(40, dtype=np.uint64)
    blocks = memory.ctypes.data
    _keystream(tables, blocks, blocks + 64)
    # The hash key is the block of zeros encrypted, as a number, times x.
    high, low = _swapped(load64(blocks + 64)), _swapped(load64(blocks + 72))
    carry = np.uint64(0) - (high >> np.uint64(63))
    high = (high << np.uint64(1) | low >> np.uint64(63)) ^ (carry & np.uint64(0xC2 << 56))
    low = low << np.uint64(1) ^ (carry & np.uint64(1))
    place = tables + _POWERS + _FIRST_POWER
    store64(place, low)
    store64(place + 8, high)
    store64(tables + _HALVES + _FIRST_POWER, low ^ high)
    memory[:] = 0
    memory[0], memory[1] = low, high
    for i in range(1, STEP_BLOCKS):
        # Absorbing zeros multiplies by the key.
        _absorb(place, tables + _HALVES + _FIRST_POWER, blocks, blocks + 64, 1)
        store64(place - 16 * i, memory[0])
        store64(place - 16 * i + 8, memory[1])
        store64(tables + _HALVES + _FIRST_POWER - 16 * i, memory[0] ^ memory[1])
    memory[:] = 0


@helper
def _swapped(word: Any) -> Any:
    """The bytes of a word in the other order."""
    result = np.uint64(0)
    for i in range(8):
        result |= ((word >> np.uint64(8 * i)) & np.uint64(0xFF)) << np.uint64(56 - 8 * i)
    return result


@helper
def _hash(tables: Any, state: Any, source: Any, size: Any, block: Any) -> None:
    """Absorbs so many bytes, zeros after the last; block: 16 bytes of scratch memory."""
    power, halves = tables + _POWERS + _FIRST_POWER, tables + _HALVES + _FIRST_POWER
    _absorb(power, halves, state, source, size // 16)
    rest = size % 16
    if rest:
        store64(block, np.uint64(0))
        store64(block + 8, np.uint64(0))
        _copy(source + size - rest, block, rest)
        _absorb(power, halves, state, block, 1)


@helper
def _one_step(keys: Any, counter: Any, source: Any, target: Any, size: Any, stream: Any) -> None:
    """Source xor keystream for less than a step, or one; stream: 2 steps of scratch memory."""
    _keystream(keys, counter, stream)
    mixed = stream + _STEP
    _copy(source, mixed, size)
    for i in range(0, size, 8):
        store64(mixed + i, load64(mixed + i) ^ load64(stream + i))
    _copy(mixed, target, size)


@compiled
def _crypt(
    tables: int,
    nonce: int,
    associated: int,
    associated_size: int,
    source: int,
    target: int,
    size: int,
    encrypting: int,
    tag: int,
) -> None:
    memory = np.zeros(8 + 2 * (_STEP // 8), dtype=np.uint64)
    counter = memory.ctypes.data
    state, block, stream = counter + 16, counter + 32, counter + 64
    one = np.uint64(1) << np.uint64(32)
    _copy(nonce, counter, 12)
    memory[1] |= one
    # Block 1 hides the tag, block 2 is the first of the data.
    _keystream(tables, counter, stream)
    mask_low, mask_high = load64(stream), load64(stream + 8)
    memory[1] = (memory[1] & np.uint64(0xFFFFFFFF)) | (one << np.uint64(1))
    _hash(tables, state, associated, associated_size, block)
    steps = size // _STEP
    powers, halves = tables + _POWERS, tables + _HALVES
    if encrypting and steps:
        # Ciphertext is hashed a step after it is made.
        _one_step(tables, counter, source, target, _STEP, stream)
        _steps(
            tables,
            powers,
            halves,
            counter,
            state,
            source + _STEP,
            target + _STEP,
            target,
            steps - 1,
        )
        _hash(tables, state, target + _STEP * (steps - 1), _STEP, block)
    else:
        _steps(tables, powers, halves, counter, state, source, target, source, steps)
    done = _STEP * steps
    if not encrypting:
        _hash(tables, state, source + done, size - done, block)
    if size > done:
        _one_step(tables, counter, source + done, target + done, size - done, stream)
    if encrypting:
        _hash(tables, state, target + done, size - done, block)
    memory[4] = _swapped(np.uint64(8 * associated_size))
    memory[5] = _swapped(np.uint64(8 * size))
    _hash(tables, state, block, 16, block)
    store64(tag, _swapped(memory[3]) ^ mask_low)
    store64(tag + 8, _swapped(memory[2]) ^ mask_high)
    memory[:] = 0
