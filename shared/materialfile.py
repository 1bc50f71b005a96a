"""Reading a dealer's material file (protocol section 7, docs/material-format.md)."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.atomicfile import file_error, open_given
from shared.chunkcipher import ChunkCipher, octets
from shared.errors import AuthenticationFailed, HeaderMismatch, InputError
from shared.headerfile import read_exactly
from shared.keys import PublicIdentity
from shared.materialheader import (
    KEY_BYTES,
    ChunkKind,
    Header,
    SignedHeader,
    read_header,
    read_header_from,
    seal_info,
)
from shared.params import Parameters
from shared.secret import Secret
from shared.windowkeys import TAG_BYTES, PrivateWindowKey

__all__ = [
    "CameraSeeds",
    "ChunkKind",
    "Header",
    "MaterialFile",
    "PartySeeds",
    "SignedHeader",
    "read_header",
    "thread_buffer",
]


@dataclass(frozen=True, slots=True)
class PartySeeds:
    """What a party expands everything from: K_j and S_0^j, 32 bytes each (encodings E2)."""

    key: Secret
    ratchet: Secret

    def destroy(self) -> None:
        """Overwrites both."""
        self.key.destroy()
        self.ratchet.destroy()


@dataclass(frozen=True, slots=True)
class CameraSeeds:
    """The ratchet states S_0^0 and S_0^1 of both parties, 32 bytes each (encodings E2)."""

    ratchet0: Secret
    ratchet1: Secret

    def destroy(self) -> None:
        """Overwrites both."""
        self.ratchet0.destroy()
        self.ratchet1.destroy()


class MaterialFile:
    """An open material file: seeds at once, any chunk by its number. Threads may share it."""

    def __init__(self, handle: int, path: Path, signed: SignedHeader, sealed: Secret) -> None:
        self.path = path
        self.signed = signed
        self.header = signed.header
        self._handle = handle
        self._lock = threading.Lock()
        self._cipher: ChunkCipher | None = None
        content = sealed.reveal()
        keys = [content[i : i + KEY_BYTES] for i in range(0, len(content), KEY_BYTES)]
        sealed.destroy()
        self._seeds: PartySeeds | CameraSeeds
        if self.header.recipient == "camera":
            self._seeds = CameraSeeds(Secret(keys[0]), Secret(keys[1]))
        else:
            self._cipher = signed.cipher(keys[0])
            self._seeds = PartySeeds(Secret(keys[1]), Secret(keys[2]))

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        dealer: PublicIdentity,
        window_key: PrivateWindowKey,
        params: Parameters,
        camera: str,
        mint_id: bytes | None = None,
    ) -> Self:
        """Opens a file that this dealer made for the owner of this window key.

        camera, params and (where known) mint_id must be those of the header. Raises ConfigError
        (missing), FormatError (not exactly as specified, also truncated), AuthenticationFailed
        (another dealer, recipient or key), HeaderMismatch.
        """
        where = f"material file {path}"
        handle = open_given(path, "material file")
        try:
            signed = read_header_from(handle, where)
            signed.verify(dealer, where)
            header = signed.header
            _expect(where, header, window_key, params, camera, mint_id)
            info = seal_info(header.set_name(), header.recipient, header.window_key)
            return cls(handle, path, signed, window_key.open(header.sealed, info, where))
        except OSError as error:
            os.close(handle)
            raise file_error(error, "material file", path) from None
        except BaseException:
            os.close(handle)
            raise

    def party_seeds(self) -> PartySeeds:
        """The seeds in a party's file. Raises InputError for a camera's file."""
        if not isinstance(self._seeds, PartySeeds):
            raise InputError(f"material file {self.path}: is a camera's, expected a party's")
        return self._seeds

    def camera_seeds(self) -> CameraSeeds:
        """The seeds in a camera's file. Raises InputError for a party's file."""
        if not isinstance(self._seeds, CameraSeeds):
            raise InputError(f"material file {self.path}: is a party's, expected a camera's")
        return self._seeds

    def chunk_bytes(self, kind: ChunkKind) -> int:
        """Bytes that the buffer for a chunk of this kind must have."""
        return self.header.chunk_slots(kind) * self.header.slot_bytes(kind)

    def read_chunk(
        self, kind: ChunkKind, number: int, out: memoryview | bytearray | NDArray[np.uint8]
    ) -> memoryview:
        """Decrypts a chunk into the caller's buffer; the part of `out` that was filled.

        Slots follow each other, `header.slot_bytes(kind)` each. Raises InputError (no such
        chunk, buffer too small), AuthenticationFailed, FormatError (the file was cut since),
        ValueError after `close`.
        """
        return self.read_chunks(kind, number, 1, out)

    def read_chunks(
        self,
        kind: ChunkKind,
        first: int,
        count: int,
        out: memoryview | bytearray | NDArray[np.uint8],
    ) -> memoryview:
        """`read_chunk` for `count` chunks that follow each other, with one read of the file."""
        offset, full = self.signed.chunk_span(kind, first)
        _, last = self.signed.chunk_span(kind, first + count - 1)
        length = (count - 1) * full + last
        size = length - count * TAG_BYTES
        target = octets(out)
        if len(target) < size:
            raise InputError(f"chunk buffer: {len(target)} bytes, expected {size}")
        found = thread_buffer(length)
        where = f"material file {self.path}"
        with self._lock:
            if self._cipher is None:
                raise ValueError(f"{where}: closed")
            self._read(found, offset, where)
            for index in range(count):
                start = index * full
                stop = min(start + full, length)
                into = target[start - index * TAG_BYTES : stop - (index + 1) * TAG_BYTES]
                self._cipher.decrypt(kind, first + index, found[start:stop], into, where)
        return target[:size]

    def close(self) -> None:
        """Destroys the seeds, drops the content key and closes the file."""
        self._seeds.destroy()
        with self._lock:
            self._cipher = None
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, into: memoryview, offset: int, where: str) -> None:
        try:
            read_exactly(self._handle, into, offset, where)
        except OSError as error:
            raise file_error(error, "material file", self.path) from None


def _expect(
    where: str,
    header: Header,
    window_key: PrivateWindowKey,
    params: Parameters,
    camera: str,
    mint_id: bytes | None,
) -> None:
    if header.recipient != window_key.role:
        raise AuthenticationFailed(
            f"{where}: made for {header.recipient}, opened by {window_key.role}"
        )
    if header.camera != camera:
        raise HeaderMismatch(f"{where}: found camera {header.camera}, expected {camera}")
    if header.window != window_key.window:
        raise HeaderMismatch(f"{where}: found window {header.window}, expected {window_key.window}")
    if header.params != params:
        raise HeaderMismatch(f"{where}: made for other parameters: {_difference(header, params)}")
    if mint_id is not None and header.mint_id != mint_id:
        raise HeaderMismatch(
            f"{where}: found mint id {header.mint_id.hex()}, expected {mint_id.hex()}"
        )
    if header.window_key != window_key.key_id:
        raise AuthenticationFailed(f"{where}: made for another key of this window")


def _difference(header: Header, params: Parameters) -> str:
    found, expected = header.params.to_map(), params.to_map()
    return ", ".join(
        f"{name} {found[name]}, expected {expected[name]}"
        for name in found
        if found[name] != expected[name]
    )


class _Local(threading.local):
    buffer: memoryview = memoryview(b"")


_local = _Local()


def thread_buffer(size: int) -> memoryview:
    """A buffer of this thread for ciphertext, reused by its next call: no file keeps its own."""
    if len(_local.buffer) < size:
        _local.buffer = memoryview(bytearray(size))
    return _local.buffer[:size]
