"""Domain-separated SHA-256 over a canonical, injective encoding (protocol section 10.1)."""

from __future__ import annotations

import hashlib

PROTOCOL = b"twokey/1"

Field = bytes | int | str


def encode(label: str, *fields: Field) -> bytes:
    """Canonical bytes of a labelled list: every field as u32 length and content.

    Integers are u64 little-endian, strings UTF-8. The label carries the protocol version.
    Raises OverflowError for an integer outside 0..2^64-1.
    """
    parts = [_part(PROTOCOL + b" " + label.encode())]
    for field in fields:
        if isinstance(field, int):
            parts.append(_part(field.to_bytes(8, "little")))
        elif isinstance(field, str):
            parts.append(_part(field.encode()))
        else:
            parts.append(_part(bytes(field)))
    return b"".join(parts)


def digest(label: str, *fields: Field) -> bytes:
    """SHA-256 of `encode(label, *fields)`: 32 bytes."""
    return hashlib.sha256(encode(label, *fields)).digest()


def _part(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content
