"""Domain-separated SHA-256 over a canonical, injective encoding (encodings E1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache

from shared.errors import FormatError

PROTOCOL = b"twokey/1"
_U64_LENGTH = (8).to_bytes(4, "little")

Field = bytes | memoryview | int | str


def encode(label: str, *fields: Field) -> bytes:
    """Canonical bytes of a labelled list: every field as u32 length and content.

    Integers are u64 little-endian, strings UTF-8. The label carries the protocol version.
    Raises OverflowError for an integer outside 0..2^64-1.
    """
    parts: list[bytes | memoryview] = [_head(label)]
    for field in fields:
        if isinstance(field, int):
            parts.append(_U64_LENGTH + field.to_bytes(8, "little"))
            continue
        content = field.encode() if isinstance(field, str) else field
        size = content.nbytes if isinstance(content, memoryview) else len(content)
        parts.append(size.to_bytes(4, "little"))
        parts.append(content)
    return b"".join(parts)


def digest(label: str, *fields: Field) -> bytes:
    """SHA-256 of `encode(label, *fields)`: 32 bytes."""
    return hashlib.sha256(encode(label, *fields)).digest()


def digest_pieces(label: str, size: int, pieces: Iterable[memoryview]) -> bytes:
    """`digest(label, content)` for one field of `size` bytes that comes in pieces.

    Raises FormatError from 2^32 bytes on.
    """
    if size >> 32:
        raise FormatError(f"digest of {label}: found {size} bytes, expected less than 2^32")
    state = hashlib.sha256(encode(label) + size.to_bytes(4, "little"))
    for piece in pieces:
        state.update(piece)
    return state.digest()


@cache
def _head(label: str) -> bytes:
    content = PROTOCOL + b" " + label.encode()
    return len(content).to_bytes(4, "little") + content
