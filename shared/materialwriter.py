"""Writing a material file: reserved at its full size, chunks in any order, moved in when whole."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from shared.chunkcipher import Content, octets
from shared.errors import InputError
from shared.keys import Identity
from shared.materialfile import (
    CameraSeeds,
    PartySeeds,
    thread_buffer,
)
from shared.materialheader import (
    KEY_BYTES,
    ChunkKind,
    Header,
    SignedHeader,
    chunk_slots,
    is_recipient,
    seal_info,
)
from shared.params import Parameters
from shared.reservedfile import ReservedFile
from shared.sets import SetName
from shared.windowkeys import TAG_BYTES, WindowKey

# Gigabytes left to the kernel's own time would hold up the small writes of others on this disk.
_SYNC_BYTES = 32 << 20


def seal_header(
    dealer: Identity,
    recipient: WindowKey,
    params: Parameters,
    name: SetName,
    slots: int,
    seeds: PartySeeds | CameraSeeds,
    content_key: bytes,
) -> SignedHeader:
    """The signed header of one recipient's file.

    content_key: 32 fresh bytes (not used for a camera). Raises InputError when the window key is
    of another window or camera, FormatError for fields out of range.
    """
    role = recipient.owner.role
    if not is_recipient(role):
        raise InputError(f"a {role} receives no material")
    if recipient.window.id != name.window:
        raise InputError(f"window key for {recipient.window.id}, expected {name.window}")
    if role == "camera" and recipient.owner.name != name.camera:
        raise InputError(f"window key of camera {recipient.owner.name}, expected {name.camera}")
    if isinstance(seeds, CameraSeeds) != (role == "camera"):
        raise InputError(f"these seeds are not for {role}")
    if isinstance(seeds, CameraSeeds):
        plaintext = seeds.ratchet0.reveal() + seeds.ratchet1.reveal()
    else:
        plaintext = content_key + seeds.key.reveal() + seeds.ratchet.reveal()
    if len(plaintext) % KEY_BYTES:
        raise InputError(f"keys of a material file: expected {KEY_BYTES} bytes each")
    header = Header(
        params=params,
        params_digest=params.digest(),
        mint_id=name.mint_id,
        window=recipient.window,
        camera=name.camera,
        recipient=role,
        window_key=recipient.key_id(),
        slots=slots,
        prepare_chunk_slots=chunk_slots(params, role, ChunkKind.PREPARE),
        match_chunk_slots=chunk_slots(params, role, ChunkKind.MATCH),
        sealed=recipient.seal(plaintext, seal_info(name, role, recipient.key_id())),
        dealer=dealer.public.digest(),
    )
    content = header.encode()
    return SignedHeader(header, content, dealer.sign("material file", content))


class MaterialWriter:
    """One file under a temporary name beside its place, until `commit`.

    Threads may write different chunks. Leaving the context without `commit` removes the
    temporary file. All methods raise DiskFull when the disk is full.
    """

    def __init__(self, path: Path, signed: SignedHeader, content_key: bytes) -> None:
        self.signed = signed
        self._cipher = signed.cipher(content_key)
        self._lock = threading.Lock()
        self._unsynced = 0
        self._written = {kind: bytearray(signed.header.chunks(kind)) for kind in ChunkKind}
        self.file = ReservedFile(path, signed.file_bytes, "material file")
        try:
            self.file.write(memoryview(signed.content + signed.signature), 0)
        except BaseException:
            self.abandon()
            raise

    def write_chunk(self, kind: ChunkKind, number: int, content: Content) -> None:
        """Encrypts and writes one chunk. Raises InputError for a wrong size or a second time."""
        offset, length = self.signed.chunk_span(kind, number)
        size = octets(content).nbytes
        if size != length - TAG_BYTES:
            raise InputError(f"chunk: found {size} bytes, expected {length - TAG_BYTES}")
        with self._lock:
            # The same nonce must never encrypt twice.
            if self._written[kind][number]:
                raise InputError(f"{kind.name.lower()} chunk {number} is written already")
            self._written[kind][number] = 1
            self._unsynced += length
            due = self._unsynced >= _SYNC_BYTES
            if due:
                self._unsynced = 0
        out = thread_buffer(length)
        self._cipher.encrypt(kind, number, content, out)
        self.file.write(out, offset)
        if due:
            self.file.flush()

    def finish(self) -> None:
        """Makes the whole file durable under its temporary name. Raises InputError for a gap."""
        for kind, written in self._written.items():
            missing = written.find(0)
            if missing >= 0:
                raise InputError(f"{kind.name.lower()} chunk {missing} was never written")
        self.file.finish()

    def commit(self) -> None:
        """Moves the finished file into its place; the caller syncs the folder."""
        self.file.commit()

    def abandon(self) -> None:
        """Closes and removes the temporary file, if it is still there."""
        self.file.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
