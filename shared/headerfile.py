"""How the project's signed files begin: magic, version, length, canonical msgpack, signature.

docs/material-format.md, "File". What the header says is the business of each format.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any

import msgpack

from shared.codec import unpack_canonical
from shared.errors import AuthenticationFailed, FormatError
from shared.keys import SIGNATURE_BYTES, PublicIdentity
from shared.params import Parameters
from shared.windowkeys import Window

PRELUDE_BYTES = 16


@dataclass(frozen=True, slots=True)
class FoundHeader:
    """A header as it stands in a file. content: what is signed; the signature is not verified."""

    fields: dict[str, Any]
    content: bytes
    signature: bytes

    @property
    def end(self) -> int:
        """Where what follows the signature begins."""
        return len(self.content) + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class HeaderFormat:
    """One kind of file. magic: 8 bytes. limit: of the header's bytes. names: of its fields.

    what: what such a file is called in messages.
    """

    magic: bytes
    version: int
    limit: int
    what: str
    names: tuple[str, ...]

    def encode(self, *values: object) -> bytes:
        """Prelude and canonical msgpack of the fields in their order: what is signed."""
        body: bytes = msgpack.packb(dict(zip(self.names, values, strict=True)), use_bin_type=True)
        return self.prelude(len(body)) + body

    def prelude(self, length: int) -> bytes:
        """Magic, format version and the length of the msgpack bytes."""
        return self.magic + self.version.to_bytes(4, "little") + length.to_bytes(4, "little")

    def read(self, handle: int, where: str) -> FoundHeader:
        """The header of an open file, its fields exactly those that are known. FormatError."""
        start = os.pread(handle, PRELUDE_BYTES, 0)
        if len(start) != PRELUDE_BYTES or start[:8] != self.magic:
            raise FormatError(f"{where}: not a twokey {self.what}")
        version = int.from_bytes(start[8:12], "little")
        if version != self.version:
            raise FormatError(f"{where}: found format version {version}, expected {self.version}")
        length = int.from_bytes(start[12:], "little")
        if not 0 < length <= self.limit:
            raise FormatError(f"{where}: header length {length}, expected 1 to {self.limit}")
        rest = os.pread(handle, length + SIGNATURE_BYTES, PRELUDE_BYTES)
        if len(rest) != length + SIGNATURE_BYTES:
            size = os.fstat(handle).st_size
            raise FormatError(f"{where}: cut off in the header: found {size} bytes")
        fields = self.decode(rest[:length], where)
        return FoundHeader(fields, start + rest[:length], rest[length:])

    def decode(self, body: bytes, where: str) -> dict[str, Any]:
        """The fields in a header's msgpack bytes. Raises FormatError."""
        found = unpack_canonical(body, f"{where}: header")
        if not isinstance(found, dict) or tuple(found) != self.names:
            names = ", ".join(self.names)
            raise FormatError(f"{where}: header: expected exactly the fields {names}")
        return found


def check_maker(found: bytes, dealer: PublicIdentity, where: str) -> None:
    """Raises AuthenticationFailed unless the identity digest in a header is this dealer's."""
    if found != dealer.digest():
        raise AuthenticationFailed(
            f"{where}: made by another dealer than the trusted {dealer.name} "
            f"({dealer.fingerprint()})"
        )


def check_size(handle: int, expected: int, where: str) -> None:
    """Raises FormatError unless the open file has exactly so many bytes."""
    size = os.fstat(handle).st_size
    if size != expected:
        raise FormatError(f"{where}: found {size} bytes, expected {expected}")


def read_exactly(handle: int, into: memoryview, offset: int, where: str) -> None:
    """Fills a buffer from an open file. Raises FormatError when the file ends before."""
    done = 0
    while done < len(into):
        size = os.preadv(handle, [into[done:]], offset + done)
        if size == 0:
            raise FormatError(f"{where}: was cut off while it was open")
        done += size


def octets(fields: dict[str, Any], name: str) -> bytes:
    """A field of bytes. Raises FormatError."""
    value = fields[name]
    if type(value) is not bytes:
        raise FormatError(f"{name}: expected bytes")
    return value


def text(fields: dict[str, Any], name: str) -> str:
    """A field of text. Raises FormatError."""
    value = fields[name]
    if type(value) is not str:
        raise FormatError(f"{name}: expected text")
    return value


def count(fields: dict[str, Any], name: str) -> int:
    """A field with an unsigned integer. Raises FormatError."""
    value = fields[name]
    if type(value) is not int or value < 0:
        raise FormatError(f"{name}: expected an unsigned integer")
    return value


def window(fields: dict[str, Any]) -> Window:
    """The window of the fields window, start_ms, end_ms. Raises InputError."""
    return Window(text(fields, "window"), count(fields, "start_ms"), count(fields, "end_ms"))


def parameters(fields: dict[str, Any], name: str) -> Parameters:
    """A field of public parameters, theirs in the one order. Raises FormatError, RangeError."""
    found = fields[name]
    if list(found if isinstance(found, dict) else ()) != [f.name for f in fields_of(Parameters)]:
        raise FormatError(f"header: {name}: not the known fields in their order")
    return Parameters.from_map(found)
