"""The header of a material file, and where every chunk lies (docs/material-format.md).

Everything here is public: it can be read and checked without any private key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from shared.atomicfile import file_error, open_given
from shared.chunkcipher import ChunkCipher
from shared.errors import FormatError, InputError
from shared.hashing import digest, encode
from shared.headerfile import (
    HeaderFormat,
    check_maker,
    check_size,
    count,
    octets,
    parameters,
    text,
    window,
)
from shared.keys import SIGNATURE_BYTES, PublicIdentity
from shared.params import Parameters
from shared.sets import SetName, check_name
from shared.windowkeys import ENCAPSULATION_BYTES, TAG_BYTES, Window

CHUNK_SLOTS_LIMIT: Final = 64
CHUNK_BYTES_GOAL: Final = 512 << 10
SLOTS_LIMIT: Final = (1 << 32) - 1

KEY_BYTES: Final = 32

Recipient = Literal["p0", "p1", "camera"]
RECIPIENTS: Final[tuple[Recipient, ...]] = ("p0", "p1", "camera")
FORMAT: Final = HeaderFormat(
    b"twokey-m",
    1,
    1 << 16,
    "material file",
    (
        "params",
        "params_digest",
        "mint_id",
        "window",
        "start_ms",
        "end_ms",
        "camera",
        "recipient",
        "window_key",
        "slots",
        "prepare_chunk_slots",
        "match_chunk_slots",
        "sealed",
        "dealer",
    ),
)
# What HPKE carries, in keys of 32 bytes: content key, K_j and S_0^j; or both S_0 for a camera.
_SEALED_KEYS: Final[dict[Recipient, int]] = {"p0": 3, "p1": 3, "camera": 2}


class ChunkKind(IntEnum):
    """What a chunk holds; the number is part of its nonce and associated data."""

    PREPARE = 1
    MATCH = 2


@dataclass(frozen=True, slots=True)
class Header:
    """All fields of the header, in the order of the file. Raises FormatError when inconsistent.

    mint_id: 16 bytes. window_key, dealer: 32-byte digests. slots: of this set. *_chunk_slots:
    slots in a chunk, 0 where the recipient has no such chunks. sealed: HPKE encapsulation and
    ciphertext.
    """

    params: Parameters
    params_digest: bytes
    mint_id: bytes
    window: Window
    camera: str
    recipient: Recipient
    window_key: bytes
    slots: int
    prepare_chunk_slots: int
    match_chunk_slots: int
    sealed: bytes
    dealer: bytes

    def __post_init__(self) -> None:
        if self.params_digest != self.params.digest():
            raise FormatError("material header: params_digest is not that of the parameters")
        for name, size in (("mint_id", 16), ("window_key", 32), ("dealer", 32)):
            if len(getattr(self, name)) != size:
                raise FormatError(f"material header: {name}: expected {size} bytes")
        if not 1 <= self.slots <= SLOTS_LIMIT:
            raise FormatError(
                f"material header: found {self.slots} slots, expected 1 to {SLOTS_LIMIT}"
            )
        for kind in ChunkKind:
            expected = chunk_slots(self.params, self.recipient, kind)
            if self.chunk_slots(kind) != expected:
                raise FormatError(
                    f"material header: found {self.chunk_slots(kind)} slots in a "
                    f"{kind.name.lower()} chunk, expected {expected}"
                )
        if len(self.sealed) != sealed_bytes(self.recipient):
            raise FormatError(
                f"material header: sealed: found {len(self.sealed)} bytes, "
                f"expected {sealed_bytes(self.recipient)}"
            )

    def set_name(self) -> SetName:
        """The set that the file belongs to."""
        return SetName(self.mint_id, self.window.id, self.camera)

    def chunk_slots(self, kind: ChunkKind) -> int:
        """Slots in a full chunk of this kind; 0 without such chunks."""
        if kind is ChunkKind.PREPARE:
            return self.prepare_chunk_slots
        return self.match_chunk_slots

    def slot_bytes(self, kind: ChunkKind) -> int:
        """Bytes of one slot in a chunk of this kind."""
        if kind is ChunkKind.PREPARE:
            return self.params.slot_prepare_bytes
        return self.params.slot_match_bytes

    def chunks(self, kind: ChunkKind) -> int:
        """Number of chunks of this kind."""
        per_chunk = self.chunk_slots(kind)
        return -(-self.slots // per_chunk) if per_chunk else 0

    def slots_in(self, kind: ChunkKind, number: int) -> int:
        """Slots in this chunk; the last one may have fewer. Raises InputError."""
        if not 0 <= number < self.chunks(kind):
            raise InputError(
                f"{kind.name.lower()} chunk {number}: the file has {self.chunks(kind)} of them"
            )
        per_chunk = self.chunk_slots(kind)
        return min(per_chunk, self.slots - number * per_chunk)

    def body_bytes(self, kind: ChunkKind) -> int:
        """Bytes of all chunks of this kind as they lie in the file."""
        slots = self.slots if self.chunk_slots(kind) else 0
        return slots * self.slot_bytes(kind) + self.chunks(kind) * TAG_BYTES

    def encode(self) -> bytes:
        """Prelude and canonical msgpack: what the signature covers."""
        return FORMAT.encode(
            self.params.to_map(),
            self.params_digest,
            self.mint_id,
            self.window.id,
            self.window.start_ms,
            self.window.end_ms,
            self.camera,
            self.recipient,
            self.window_key,
            self.slots,
            self.prepare_chunk_slots,
            self.match_chunk_slots,
            self.sealed,
            self.dealer,
        )


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header as it stands in a file, with its signature (not verified yet)."""

    header: Header
    content: bytes
    signature: bytes

    def cipher(self, content_key: bytes) -> ChunkCipher:
        """The cipher of the file's chunks, bound to this header."""
        bound = digest("material header", self.content)
        streams = {int(kind): kind.name.lower() for kind in ChunkKind}
        return ChunkCipher(content_key, "material chunk", bound, streams)

    def verify(self, dealer: PublicIdentity, where: str) -> None:
        """Checks that this dealer signed it. Raises AuthenticationFailed."""
        check_maker(self.header.dealer, dealer, where)
        dealer.verify(self.signature, where, "material file", self.content)

    @property
    def chunks_offset(self) -> int:
        """Where the first chunk begins."""
        return len(self.content) + SIGNATURE_BYTES

    @property
    def file_bytes(self) -> int:
        """The exact size of the file."""
        return self.chunks_offset + sum(self.header.body_bytes(kind) for kind in ChunkKind)

    def chunk_span(self, kind: ChunkKind, number: int) -> tuple[int, int]:
        """Offset in the file and length there, tag included. Raises InputError."""
        header = self.header
        length = header.slots_in(kind, number) * header.slot_bytes(kind) + TAG_BYTES
        full = header.chunk_slots(kind) * header.slot_bytes(kind) + TAG_BYTES
        before = 0 if kind is ChunkKind.PREPARE else header.body_bytes(ChunkKind.PREPARE)
        return self.chunks_offset + before + number * full, length


def chunk_slots(params: Parameters, recipient: Recipient, kind: ChunkKind) -> int:
    """The largest power of two of slots, 1 to 64, that fills at most 512 KiB; 0 without chunks."""
    if recipient == "camera" or (kind is ChunkKind.PREPARE and recipient != "p1"):
        return 0
    prepare = kind is ChunkKind.PREPARE
    size = params.slot_prepare_bytes if prepare else params.slot_match_bytes
    fits = max(1, CHUNK_BYTES_GOAL // size)
    return min(CHUNK_SLOTS_LIMIT, 1 << (fits.bit_length() - 1))


def sealed_bytes(recipient: Recipient) -> int:
    """Length of the HPKE part for this recipient."""
    return ENCAPSULATION_BYTES + _SEALED_KEYS[recipient] * KEY_BYTES + TAG_BYTES


def seal_info(name: SetName, recipient: Recipient, window_key: bytes) -> bytes:
    """HPKE's info: the keys open for this mint id, window, camera and recipient alone."""
    return encode("material key", name.mint_id, name.window, name.camera, recipient, window_key)


def read_header(path: Path) -> SignedHeader:
    """The header of a file of the exact size, without keys; the signature is not verified.

    Raises ConfigError (missing), FormatError.
    """
    where = f"material file {path}"
    try:
        handle = open_given(path, "material file")
        try:
            return read_header_from(handle, where)
        finally:
            os.close(handle)
    except OSError as error:
        raise file_error(error, "material file", path) from None


def read_header_from(handle: int, where: str) -> SignedHeader:
    """As `read_header`, of an open file."""
    found = FORMAT.read(handle, where)
    signed = SignedHeader(_header(found.fields, where), found.content, found.signature)
    check_size(handle, signed.file_bytes, where)
    return signed


def decode_header(body: bytes, where: str) -> Header:
    """The header in its msgpack bytes. Raises FormatError."""
    return _header(FORMAT.decode(body, where), where)


def _header(found: dict[str, Any], where: str) -> Header:
    try:
        recipient = text(found, "recipient")
        if not is_recipient(recipient):
            raise FormatError(f"recipient {recipient!r:.40}, expected {', '.join(RECIPIENTS)}")
        return Header(
            params=parameters(found, "params"),
            params_digest=octets(found, "params_digest"),
            mint_id=octets(found, "mint_id"),
            window=window(found),
            camera=check_name("camera", text(found, "camera")),
            recipient=recipient,
            window_key=octets(found, "window_key"),
            slots=count(found, "slots"),
            prepare_chunk_slots=count(found, "prepare_chunk_slots"),
            match_chunk_slots=count(found, "match_chunk_slots"),
            sealed=octets(found, "sealed"),
            dealer=octets(found, "dealer"),
        )
    except InputError as error:
        raise FormatError(f"{where}: {error}") from None


def is_recipient(name: str) -> TypeGuard[Recipient]:
    """Whether this is the name of a recipient's role."""
    return name in RECIPIENTS
