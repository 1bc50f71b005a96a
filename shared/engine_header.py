"""The signed header of an engine session's file (docs/engine.md, "Files").

Everything here is public: it can be read and checked without any private key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard, get_args

from shared.atomicfile import file_error, open_input
from shared.chunkcipher import ChunkCipher
from shared.engine_plan import CLIENTS_LIMIT, Plan, Stream, client, plan_of_rows
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
from shared.keys import SIGNATURE_BYTES, PublicIdentity, Role
from shared.params import Parameters
from shared.sets import check_name
from shared.windowkeys import ENCAPSULATION_BYTES, TAG_BYTES, Window

KEY_BYTES: Final = 32
SUFFIX: Final = ".tke"

EngineRecipient = Literal["p0", "p1", "client"]
RECIPIENT_OF: Final[dict[Role, EngineRecipient]] = {
    "p0": "p0",
    "p1": "p1",
    "camera": "client",
    "authority": "client",
}
FORMAT: Final = HeaderFormat(
    b"twokey-e",
    2,  # 1 had other keys of signs, and all corrections in P1's file
    1 << 16,
    "engine file",
    (
        "mint_id",
        "window",
        "start_ms",
        "end_ms",
        "name",
        "recipient",
        "client",
        "clients",
        "window_key",
        "plan",
        "params",
        "sealed",
        "dealer",
    ),
)


@dataclass(frozen=True, slots=True)
class EngineHeader:
    """All fields of the header, in the order of the file. Raises FormatError.

    mint_id: 16 bytes. name: of the session within its window. client: the number of the client
    whose file it is, 0 for a party's. clients: who each client is, a digest of its identity.
    window_key, dealer: 32-byte digests. params: of the faces that the session is for, if it is.
    sealed: HPKE encapsulation and ciphertext of the content key and, for a party, K_j.
    """

    mint_id: bytes
    window: Window
    name: str
    recipient: EngineRecipient
    client: int
    clients: tuple[bytes, ...]
    window_key: bytes
    plan: Plan
    params: Parameters | None
    sealed: bytes
    dealer: bytes

    def __post_init__(self) -> None:
        if self.clients and len(self.clients) > CLIENTS_LIMIT:
            raise FormatError(f"engine header: found {len(self.clients)} clients")
        if not 0 <= self.client < (len(self.clients) if self.recipient == "client" else 1):
            raise FormatError(f"engine header: found client {self.client}")
        for name, found, size in (
            ("mint_id", self.mint_id, 16),
            ("window_key", self.window_key, 32),
            ("dealer", self.dealer, 32),
            *(("clients", one, 32) for one in self.clients),
            ("sealed", self.sealed, ENCAPSULATION_BYTES + self.sealed_keys * KEY_BYTES + TAG_BYTES),
        ):
            if len(found) != size:
                raise FormatError(
                    f"engine header: {name}: found {len(found)} bytes, expected {size}"
                )

    @property
    def sealed_keys(self) -> int:
        """Keys of 32 bytes in the seal."""
        return 1 if self.recipient == "client" else 2

    def set_digest(self) -> bytes:
        """32 bytes that name the session's material, the same for all recipients."""
        return set_digest(self.mint_id, self.window.id, self.name)

    def streams(self) -> tuple[Stream, ...]:
        """The sequences of chunks, in the order of the file."""
        return recipient_streams(self.plan, self.recipient, self.client)

    def encode(self) -> bytes:
        """Prelude and canonical msgpack: what the signature covers."""
        return FORMAT.encode(
            self.mint_id,
            self.window.id,
            self.window.start_ms,
            self.window.end_ms,
            self.name,
            self.recipient,
            self.client,
            list(self.clients),
            self.window_key,
            self.plan.rows(),
            self.params.to_map() if self.params is not None else {},
            self.sealed,
            self.dealer,
        )


@dataclass(frozen=True, slots=True)
class SignedEngineHeader:
    """A header as it stands in a file, with its signature (not verified yet)."""

    header: EngineHeader
    content: bytes
    signature: bytes

    @property
    def file_bytes(self) -> int:
        """The exact size of the file."""
        body = sum(s.count * s.item_bytes + s.chunks * TAG_BYTES for s in self.header.streams())
        return self.chunks_offset + body

    @property
    def chunks_offset(self) -> int:
        """Where the first chunk begins."""
        return len(self.content) + SIGNATURE_BYTES

    def cipher(self, content_key: bytes) -> ChunkCipher:
        """The cipher of the file's chunks, bound to this header."""
        streams = {s.number: str(s.kind) for s in self.header.streams()}
        bound = digest("engine header", self.content)
        return ChunkCipher(content_key, "engine chunk", bound, streams)

    def verify(self, dealer: PublicIdentity, where: str) -> EngineHeader:
        """The header, if this dealer signed it. Raises AuthenticationFailed."""
        check_maker(self.header.dealer, dealer, where)
        dealer.verify(self.signature, where, "engine file", self.content)
        return self.header


def set_digest(mint_id: bytes, window_id: str, name: str) -> bytes:
    """32 bytes that name one session's material."""
    return digest("engine set", mint_id, window_id, name)


def recipient_streams(plan: Plan, recipient: EngineRecipient, number: int) -> tuple[Stream, ...]:
    """The sequences of chunks that this recipient gets: a client gets its masks alone."""
    if recipient == "client":
        kind = client(number)
        size = plan.count(kind)
        return (Stream(0, kind, size, 16, kind.correction_step, keys=False),) if size else ()
    return tuple(plan.streams(0 if recipient == "p0" else 1))


def seal_info(mint_id: bytes, window_id: str, name: str, recipient: str, key_id: bytes) -> bytes:
    """HPKE's info: the keys open for this session and recipient alone."""
    return encode("engine key", mint_id, window_id, name, recipient, key_id)


def read_engine_header(path: Path) -> SignedEngineHeader:
    """The header of a file of the exact size, without keys; the signature is not verified.

    Raises ConfigError (missing), FormatError.
    """
    try:
        with open_input(path, "engine file") as file:
            return read_header_from(file.fileno(), f"engine file {path}")
    except OSError as error:
        raise file_error(error, "engine file", path) from None


def read_header_from(handle: int, where: str) -> SignedEngineHeader:
    """As `read_engine_header`, of an open file."""
    found = FORMAT.read(handle, where)
    signed = SignedEngineHeader(_decode(found.fields, where), found.content, found.signature)
    check_size(handle, signed.file_bytes, where)
    return signed


def decode_engine_header(body: bytes, where: str) -> EngineHeader:
    """The header in its msgpack bytes. Raises FormatError."""
    return _decode(FORMAT.decode(body, where), where)


def _decode(found: dict[str, Any], where: str) -> EngineHeader:
    try:
        recipient = text(found, "recipient")
        if not _is_recipient(recipient):
            known = ", ".join(get_args(EngineRecipient))
            raise FormatError(f"recipient {recipient!r:.40}, expected {known}")
        clients = found["clients"]
        if type(clients) is not list or any(type(one) is not bytes for one in clients):
            raise FormatError("clients: expected a list of digests")
        return EngineHeader(
            octets(found, "mint_id"),
            window(found),
            check_name("session", text(found, "name")),
            recipient,
            count(found, "client"),
            tuple(clients),
            octets(found, "window_key"),
            plan_of_rows(found["plan"]),
            None if found["params"] == {} else parameters(found, "params"),
            octets(found, "sealed"),
            octets(found, "dealer"),
        )
    except InputError as error:
        raise FormatError(f"{where}: {error}") from None


def _is_recipient(name: str) -> TypeGuard[EngineRecipient]:
    return name in get_args(EngineRecipient)
