"""Domain-separated SHA-256 over a canonical, injective encoding (encodings E1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

PROTOCOL = b"twokey/1"

Field = bytes | memoryview | int | str


def encode(label: str, *fields: Field) -> bytes:
    """Canonical bytes of a labelled list: every field as u32 length and content.

    Integers are u64 little-endian, strings UTF-8. The label carries the protocol version.
    Raises OverflowError for an integer outside 0..2^64-1.
    """
    return b"".join(_parts(label, fields))


def digest(label: str, *fields: Field) -> bytes:
    """SHA-256 of `encode(label, *fields)`: 32 bytes."""
    state = hashlib.sha256()
    for part in _parts(label, fields):
        state.update(part)
    return state.digest()


def digest_pieces(label: str, size: int, pieces: Iterable[memoryview]) -> bytes:
    """`digest(label, content)` for one field of `size` bytes that comes in pieces."""
    state = hashlib.sha256(encode(label) + size.to_bytes(4, "little"))
    for piece in pieces:
        state.update(piece)
    return state.digest()


def _parts(label: str, fields: tuple[Field, ...]) -> Iterator[bytes | memoryview]:
    head = PROTOCOL + b" " + label.encode()
    yield len(head).to_bytes(4, "little") + head
    for field in fields:
        if isinstance(field, int):
            yield b"\x08\x00\x00\x00" + field.to_bytes(8, "little")
        elif isinstance(field, memoryview):
            yield field.nbytes.to_bytes(4, "little")
            yield field
        else:
            content = field.encode() if isinstance(field, str) else field
            yield len(content).to_bytes(4, "little")
            yield content
