"""The file that carries one engine session's material to one recipient (docs/engine.md, "Files").

Built as the material files of the matching: a signed header, an HPKE seal to a window key, chunks
of AES-256-GCM bound to the header, their stream and their number.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgpack
import numpy as np
from cryptography.exceptions import InvalidTag
from numpy.typing import NDArray

from shared.atomicfile import file_error
from shared.codec import unpack_canonical
from shared.engine_plan import CLIENTS_LIMIT, Plan, Stream, client, plan_of_rows
from shared.errors import AuthenticationFailed, FormatError, HeaderMismatch, InputError
from shared.gcm import aead
from shared.hashing import digest, encode
from shared.keys import SIGNATURE_BYTES, Identity, PublicIdentity
from shared.secret import Secret
from shared.sets import check_name
from shared.windowkeys import (
    ENCAPSULATION_BYTES,
    TAG_BYTES,
    PrivateWindowKey,
    Window,
    WindowKey,
)

U8 = NDArray[np.uint8]

MAGIC: Final = b"twokey-e"
FORMAT_VERSION: Final = 1
PRELUDE_BYTES: Final = 16
HEADER_LIMIT: Final = 1 << 16
KEY_BYTES: Final = 32
SUFFIX: Final = ".tke"

EngineRecipient = Literal["p0", "p1", "client"]
ROLE_OF: Final[dict[str, str]] = {"p0": "p0", "p1": "p1", "client": "camera"}
_FIELDS: Final = (
    "mint_id",
    "window",
    "start_ms",
    "end_ms",
    "name",
    "recipient",
    "client",
    "window_key",
    "plan",
    "sealed",
    "dealer",
)


@dataclass(frozen=True, slots=True)
class EngineHeader:
    """All fields of the header, in the order of the file. Raises FormatError.

    mint_id: 16 bytes. name: of the session within its window. client: the number of the client
    whose file it is, 0 for a party's. window_key, dealer: 32-byte digests.
    sealed: HPKE encapsulation and ciphertext of the content key and, for a party, K_j.
    """

    mint_id: bytes
    window: Window
    name: str
    recipient: EngineRecipient
    client: int
    window_key: bytes
    plan: Plan
    sealed: bytes
    dealer: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.client < (CLIENTS_LIMIT if self.recipient == "client" else 1):
            raise FormatError(f"engine header: found client {self.client}")
        for name, size in (
            ("mint_id", 16),
            ("window_key", 32),
            ("dealer", 32),
            ("sealed", ENCAPSULATION_BYTES + self.sealed_keys * KEY_BYTES + TAG_BYTES),
        ):
            found = len(getattr(self, name))
            if found != size:
                raise FormatError(f"engine header: {name}: found {found} bytes, expected {size}")

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
        values = (
            self.mint_id,
            self.window.id,
            self.window.start_ms,
            self.window.end_ms,
            self.name,
            self.recipient,
            self.client,
            self.window_key,
            self.plan.rows(),
            self.sealed,
            self.dealer,
        )
        body: bytes = msgpack.packb(dict(zip(_FIELDS, values, strict=True)), use_bin_type=True)
        prelude = MAGIC + FORMAT_VERSION.to_bytes(4, "little") + len(body).to_bytes(4, "little")
        return prelude + body


def set_digest(mint_id: bytes, window: str, name: str) -> bytes:
    """32 bytes that name one session's material."""
    return digest("engine set", mint_id, window, name)


def recipient_streams(plan: Plan, recipient: EngineRecipient, number: int) -> tuple[Stream, ...]:
    """The sequences of chunks that this recipient gets: a client gets its masks alone."""
    if recipient == "client":
        kind = client(number)
        count = plan.count(kind)
        return (Stream(0, kind, count, 16, kind.correction_step, keys=False),) if count else ()
    return tuple(plan.streams(0 if recipient == "p0" else 1))


def file_bytes(header: EngineHeader) -> int:
    """The exact size of the file."""
    body = sum(s.count * s.item_bytes + s.chunks * TAG_BYTES for s in header.streams())
    return len(header.encode()) + SIGNATURE_BYTES + body


def seal_info(mint_id: bytes, window: str, name: str, recipient: str, window_key: bytes) -> bytes:
    """HPKE's info: the keys open for this session and recipient alone."""
    return encode("engine key", mint_id, window, name, recipient, window_key)


class ChunkCipher:
    """AES-256-GCM of one file's chunks, each bound to its header, stream and number."""

    def __init__(self, content_key: bytes, header: bytes) -> None:
        self._aead = aead(content_key)
        self._header = digest("engine header", header)

    def encrypt(self, stream: int, number: int, content: U8) -> bytearray:
        """Ciphertext and tag."""
        nonce, data = self._bound(stream, number)
        out = bytearray(content.size + TAG_BYTES)
        self._aead.encrypt_into(nonce, content.data, data, out)
        return out

    def decrypt(self, stream: int, number: int, content: U8, out: U8, where: str) -> None:
        """The plaintext into `out`. Raises AuthenticationFailed."""
        nonce, data = self._bound(stream, number)
        try:
            self._aead.decrypt_into(nonce, content.data, data, out.data)
        except InvalidTag:
            raise AuthenticationFailed(
                f"{where}: chunk {number} of stream {stream} is not what the dealer wrote"
            ) from None

    def _bound(self, stream: int, number: int) -> tuple[bytes, bytes]:
        nonce = stream.to_bytes(4, "little") + number.to_bytes(8, "little")
        return nonce, encode("engine chunk", self._header, stream, number)


def seal_engine_header(
    dealer: Identity,
    recipient: WindowKey,
    plan: Plan,
    mint_id: bytes,
    name: str,
    keys: tuple[Secret, ...],
    number: int = 0,
) -> tuple[EngineHeader, bytes]:
    """The header of one recipient's file, and its bytes with the dealer's signature.

    keys: content key, and K_j for a party. number: of the client. Raises InputError, FormatError.
    """
    roles: dict[str, EngineRecipient] = {"p0": "p0", "p1": "p1", "camera": "client"}
    role = roles.get(recipient.owner.role)
    if role is None:
        raise InputError(f"a {recipient.owner.role} receives no material")
    check_name("session", name)
    key_id = recipient.key_id()
    info = seal_info(mint_id, recipient.window.id, name, role, key_id)
    header = EngineHeader(
        mint_id,
        recipient.window,
        name,
        role,
        number,
        key_id,
        plan,
        recipient.seal(b"".join(key.reveal() for key in keys), info),
        dealer.public.digest(),
    )
    content = header.encode()
    return header, content + dealer.sign("engine file", content)


class EngineFile:
    """An open file of an engine session's material: any chunk by stream and number.

    Use as a context manager; `close` destroys the keys.
    """

    def __init__(self, handle: int, path: Path, header: EngineHeader, sealed: Secret) -> None:
        self.path = path
        self.header = header
        self._handle = handle
        content = sealed.reveal()
        sealed.destroy()
        self.key = Secret(content[KEY_BYTES:])
        encoded = header.encode()
        self._cipher: ChunkCipher | None = ChunkCipher(content[:KEY_BYTES], encoded)
        self._buffer: U8 = np.empty(0, dtype=np.uint8)
        self._offsets: dict[int, int] = {}
        self._streams = {stream.number: stream for stream in header.streams()}
        offset = len(encoded) + SIGNATURE_BYTES
        for stream in header.streams():
            self._offsets[stream.number] = offset
            offset += stream.count * stream.item_bytes + stream.chunks * TAG_BYTES

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        dealer: PublicIdentity,
        window_key: PrivateWindowKey,
        name: str | None = None,
    ) -> Self:
        """Opens a file that this dealer made for the owner of this window key.

        Raises ConfigError (missing), FormatError (not exactly as specified, also truncated),
        AuthenticationFailed (another dealer, recipient or key), HeaderMismatch (another window or
        session name).
        """
        where = f"engine file {path}"
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise file_error(error, "engine file", path) from None
        try:
            header, signed, signature = _read_header(handle, where)
            if header.dealer != dealer.digest():
                raise AuthenticationFailed(
                    f"{where}: made by another dealer than the trusted {dealer.name} "
                    f"({dealer.fingerprint()})"
                )
            dealer.verify(signature, where, "engine file", signed)
            if ROLE_OF[header.recipient] != window_key.role:
                raise AuthenticationFailed(
                    f"{where}: made for {header.recipient}, opened by {window_key.role}"
                )
            if header.window.id != window_key.window.id or header.window != window_key.window:
                raise HeaderMismatch(
                    f"{where}: found window {header.window}, expected {window_key.window}"
                )
            if name is not None and header.name != name:
                raise HeaderMismatch(f"{where}: found session {header.name}, expected {name}")
            if header.window_key != window_key.key_id:
                raise AuthenticationFailed(f"{where}: made for another key of this window")
            info = seal_info(
                header.mint_id,
                header.window.id,
                header.name,
                header.recipient,
                header.window_key,
            )
            return cls(handle, path, header, window_key.open(header.sealed, info, where))
        except OSError as error:
            os.close(handle)
            raise file_error(error, "engine file", path) from None
        except BaseException:
            os.close(handle)
            raise

    def read_chunk(self, stream: Stream, number: int, out: U8) -> U8:
        """Decrypts a chunk into the beginning of `out`; the part that was filled.

        Raises InputError (no such chunk), AuthenticationFailed, FormatError (the file was cut
        since), ValueError after `close`.
        """
        if self._streams.get(stream.number) != stream or not 0 <= number < stream.chunks:
            raise InputError(f"engine file {self.path}: no chunk {number} of {stream.kind}")
        if self._cipher is None:
            raise ValueError(f"engine file {self.path}: closed")
        size = stream.items(number) * stream.item_bytes
        if self._buffer.size < size + TAG_BYTES:
            self._buffer = np.empty(size + TAG_BYTES, dtype=np.uint8)
        found = self._buffer[: size + TAG_BYTES]
        full = stream.step * stream.item_bytes + TAG_BYTES
        self._read(found, self._offsets[stream.number] + number * full)
        self._cipher.decrypt(stream.number, number, found, out[:size], f"engine file {self.path}")
        return out[:size]

    def close(self) -> None:
        """Destroys the key, drops the content key and closes the file."""
        self.key.destroy()
        self._cipher = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, into: U8, offset: int) -> None:
        done = 0
        view = into.data
        while done < into.size:
            try:
                size = os.preadv(self._handle, [view[done:]], offset + done)
            except OSError as error:
                raise file_error(error, "engine file", self.path) from None
            if size == 0:
                raise FormatError(f"engine file {self.path}: was cut off while it was open")
            done += size


def read_engine_header(path: Path) -> EngineHeader:
    """The header of a file of the exact size, without keys; the signature is not verified.

    Raises ConfigError (missing), FormatError.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file.fileno(), f"engine file {path}")[0]
    except OSError as error:
        raise file_error(error, "engine file", path) from None


def _read_header(handle: int, where: str) -> tuple[EngineHeader, bytes, bytes]:
    """The header, the bytes that are signed, and the signature."""
    size = os.fstat(handle).st_size
    start = os.pread(handle, PRELUDE_BYTES, 0)
    if len(start) != PRELUDE_BYTES or start[:8] != MAGIC:
        raise FormatError(f"{where}: not a twokey engine file")
    version = int.from_bytes(start[8:12], "little")
    if version != FORMAT_VERSION:
        raise FormatError(f"{where}: found format version {version}, expected {FORMAT_VERSION}")
    length = int.from_bytes(start[12:], "little")
    if not 0 < length <= HEADER_LIMIT:
        raise FormatError(f"{where}: header length {length}, expected 1 to {HEADER_LIMIT}")
    rest = os.pread(handle, length + SIGNATURE_BYTES, PRELUDE_BYTES)
    if len(rest) != length + SIGNATURE_BYTES:
        raise FormatError(f"{where}: cut off in the header: found {size} bytes")
    header = _decode(rest[:length], where)
    if size != file_bytes(header):
        raise FormatError(f"{where}: found {size} bytes, expected {file_bytes(header)}")
    return header, start + rest[:length], rest[length:]


def _decode(body: bytes, where: str) -> EngineHeader:
    found = unpack_canonical(body, f"{where}: header")
    if not isinstance(found, dict) or tuple(found) != _FIELDS:
        raise FormatError(f"{where}: header: expected exactly the fields {', '.join(_FIELDS)}")
    try:
        recipient = _typed(found, "recipient", str)
        if recipient not in ROLE_OF:
            raise FormatError(f"recipient {recipient!r:.40}, expected {', '.join(ROLE_OF)}")
        return EngineHeader(
            _typed(found, "mint_id", bytes),
            Window(
                _typed(found, "window", str),
                _typed(found, "start_ms", int),
                _typed(found, "end_ms", int),
            ),
            check_name("session", _typed(found, "name", str)),
            recipient,
            _typed(found, "client", int),
            _typed(found, "window_key", bytes),
            plan_of_rows(found["plan"]),
            _typed(found, "sealed", bytes),
            _typed(found, "dealer", bytes),
        )
    except InputError as error:
        raise FormatError(f"{where}: {error}") from None


def _typed(found: dict[str, Any], name: str, kind: type) -> Any:
    value = found[name]
    if type(value) is not kind:
        raise FormatError(f"{name}: expected {kind.__name__}")
    return value
