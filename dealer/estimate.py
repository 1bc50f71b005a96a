"""How long a job will take, from a short trial on this machine and this disk."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dealer.mint import SetSeeds, mint_slots
from dealer.setfiles import MintBuffers
from shared.atomicfile import file_error
from shared.chunkcipher import octets
from shared.materialfile import thread_buffer
from shared.params import Parameters
from shared.reservedfile import TEMPORARY_SUFFIX
from shared.secret import Secret
from shared.windowkeys import TAG_BYTES

_CALIBRATION_SECONDS = 0.05
_CALIBRATION_BYTES = 32 << 20


def slots_per_second(params: Parameters) -> float:
    """Minted and encrypted slots a second of one core, measured now, into memory."""
    buffers = MintBuffers(params)
    seeds = SetSeeds(*(Secret(bytes(32)) for _ in range(4)))
    cipher = AESGCM(bytes(32))
    prepare = buffers.prepare[: buffers.step]

    def step() -> None:
        ratchets = seeds.ratchets()
        mint_slots(params, bytes(32), seeds, ratchets, 0, buffers.scratch, buffers.match, prepare)
        for part in (buffers.match, buffers.match, prepare):
            out = thread_buffer(part.nbytes + TAG_BYTES)
            cipher.encrypt_into(bytes(12), octets(part), b"", out)

    step()
    start = now = time.perf_counter()
    steps = 0
    while now - start < _CALIBRATION_SECONDS:
        step()
        steps += 1
        now = time.perf_counter()
    return steps * buffers.step / (now - start)


def disk_bytes_per_second(folder: Path) -> float:
    """What the disk under a folder takes in, measured now with a temporary file, fsync included.

    Raises DiskFull, ResourceError.
    """
    path = folder / f".trial.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"
    content = os.urandom(1 << 20)
    try:
        with path.open("xb", buffering=0) as file:
            path.unlink()
            start = time.perf_counter()
            for _ in range(_CALIBRATION_BYTES // len(content)):
                file.write(content)
            os.fsync(file.fileno())
            return _CALIBRATION_BYTES / (time.perf_counter() - start)
    except OSError as error:
        raise file_error(error, "material folder", folder) from None
