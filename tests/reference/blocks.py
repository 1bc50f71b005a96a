"""Labelled hashing, AES blocks and the ratchet (encodings E1 to E3)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ALPHA, DELTA, R_HIGH, R_MAC, RHO, RHO_MAC, DCF_ROOT, R_LOW, CHI = range(1, 10)
RATCHET_BLOCK = 64
M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
M128 = (1 << 128) - 1


def u32(value: int) -> bytes:
    """Four little-endian bytes."""
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    """Eight little-endian bytes."""
    return value.to_bytes(8, "little")


def u128(value: int) -> bytes:
    """Sixteen little-endian bytes."""
    return value.to_bytes(16, "little")


def number(content: bytes) -> int:
    """The integer of little-endian bytes."""
    return int.from_bytes(content, "little")


def pack_bits(bits: list[int]) -> bytes:
    """Bits packed with the least significant first, zero padding."""
    packed = bytearray((len(bits) + 7) // 8)
    for position, bit in enumerate(bits):
        packed[position // 8] |= bit << (position % 8)
    return bytes(packed)


def digest(label: str, *fields: bytes | int | str) -> bytes:
    """E1: SHA-256 of the label and the fields, each with its length."""
    text = b""
    for field in ("twokey/1 " + label, *fields):
        if isinstance(field, str):
            content = field.encode("utf-8")
        elif isinstance(field, int):
            content = u64(field)
        else:
            content = field
        text += u32(len(content)) + content
    return hashlib.sha256(text).digest()


@lru_cache(maxsize=4096)
def _cipher(key: bytes) -> Any:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks


def aes(key: bytes, block: bytes) -> bytes:
    """One block of AES-128 or AES-256, by the length of the key (FIPS 197)."""
    if len(block) != 16:
        raise ValueError(f"AES block: found {len(block)} bytes, expected 16")
    result: bytes = _cipher(key).update(block)
    return result


def block(key: bytes, slot: int, domain: int, index: int) -> int:
    """E2: one pseudorandom block of 128 bits."""
    return number(aes(key, u64(slot) + u32(domain) + u32(index)))


def slot_key(set_digest: bytes, slot: int) -> bytes:
    """E3: the public AES-128 key of a slot's DCF PRG."""
    point = u64(slot) + bytes(8)
    return u128(number(aes(digest("dcf", set_digest), point)) ^ number(point))


def g(key: bytes, x: int) -> int:
    """E3: AES-128(x) xor x."""
    return number(aes(key, u128(x))) ^ x


def ratchet_state(initial: bytes, ratchet_block: int) -> bytes:
    """E2: the state S_b, walked from S_0."""
    state = initial
    for _ in range(ratchet_block):
        state = digest("ratchet next", state)
    return state


def ratchet_key(initial: bytes, slot: int) -> bytes:
    """E2: the AES-256 key of the low limbs of a slot."""
    return digest("ratchet key", ratchet_state(initial, slot // RATCHET_BLOCK))


def low_limb(key: bytes, slot: int, coordinate: int) -> int:
    """E2: the low 32 bits of r_i, from the ratchet key of the slot."""
    four = block(key, slot, R_LOW, coordinate // 4)
    return (four >> (32 * (coordinate % 4))) & M32


def coefficient(seed: bytes, position: int) -> int:
    """The chi of one opening, from the digest labelled `chi`."""
    return block(seed, position, CHI, 0)
