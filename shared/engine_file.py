"""The file that carries one engine session's material to one recipient (docs/engine.md, "Files").

Built as the material files of the matching: a signed header, an HPKE seal to a window key, chunks
of AES-256-GCM bound to the header, their stream and their number.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.atomicfile import file_error, open_given
from shared.chunkcipher import ChunkCipher
from shared.engine_header import (
    KEY_BYTES,
    RECIPIENT_OF,
    EngineHeader,
    SignedEngineHeader,
    read_header_from,
    seal_info,
)
from shared.engine_plan import Plan, Stream
from shared.errors import AuthenticationFailed, HeaderMismatch, InputError
from shared.headerfile import read_exactly
from shared.keys import Identity, PublicIdentity
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import check_name
from shared.windowkeys import TAG_BYTES, PrivateWindowKey, WindowKey

U8 = NDArray[np.uint8]


def seal_engine_header(
    dealer: Identity,
    recipient: WindowKey,
    plan: Plan,
    mint_id: bytes,
    name: str,
    keys: tuple[Secret, ...],
    *,
    number: int = 0,
    clients: tuple[bytes, ...] = (),
    params: Parameters | None = None,
) -> SignedEngineHeader:
    """The signed header of one recipient's file.

    keys: content key, and K_j for a party. number: of the client; clients: the digests of all
    clients' identities. Raises InputError, FormatError.
    """
    role = RECIPIENT_OF.get(recipient.owner.role)
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
        clients,
        key_id,
        plan,
        params,
        recipient.seal(b"".join(key.reveal() for key in keys), info),
        dealer.public.digest(),
    )
    content = header.encode()
    return SignedEngineHeader(header, content, dealer.sign("engine file", content))


class EngineFile:
    """An open file of an engine session's material: any chunk by stream and number.

    Use as a context manager; `close` destroys the keys.
    """

    def __init__(self, handle: int, path: Path, signed: SignedEngineHeader, sealed: Secret) -> None:
        self.path = path
        self.header = header = signed.header
        self._handle = handle
        content = sealed.reveal()
        sealed.destroy()
        self.key = Secret(content[KEY_BYTES:])
        self._cipher: ChunkCipher | None = signed.cipher(content[:KEY_BYTES])
        self._buffer: U8 = np.empty(0, dtype=np.uint8)
        self._offsets: dict[int, int] = {}
        self._streams = {stream.number: stream for stream in header.streams()}
        offset = signed.chunks_offset
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
        handle = open_given(path, "engine file")
        try:
            signed = read_header_from(handle, where)
            header = signed.verify(dealer, where)
            if RECIPIENT_OF.get(window_key.role) != header.recipient:
                raise AuthenticationFailed(
                    f"{where}: made for {header.recipient}, opened by {window_key.role}"
                )
            if header.window != window_key.window:
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
            return cls(handle, path, signed, window_key.open(header.sealed, info, where))
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
        where = f"engine file {self.path}"
        self._cipher.decrypt(stream.number, number, found.data, out[:size].data, where)
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
        try:
            read_exactly(self._handle, into.data, offset, f"engine file {self.path}")
        except OSError as error:
            raise file_error(error, "engine file", self.path) from None
