"""`twokey-perf dealer`: minting on one core into memory, and on all cores to the disk."""

from __future__ import annotations

import secrets
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dealer.estimate import disk_bytes_per_second
from dealer.mint import SetSeeds, mint_slots
from dealer.setfiles import MintBuffers
from perf.conditions import Conditions, Progress, runs_in_time
from perf.measure import Measured, measure
from perf.report import Figure, machine, summary
from perf.workload import random_workload
from shared.chunkcipher import octets
from shared.cores import cores
from shared.materialfile import thread_buffer
from shared.materialheader import ChunkKind, Recipient, chunk_slots
from shared.params import Parameters
from shared.secret import Secret
from shared.shares import RATCHET_BLOCK
from shared.windowkeys import TAG_BYTES

_CHECKED_FACES = 256


def dealer(wanted: Conditions, progress: Progress) -> tuple[list[Figure], dict[str, object]]:
    """Faces minted a second, encrypted. Of each disk run some slots are matched and compared.

    Figures, and the JSON object. Raises ResourceError, DiskFull.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    checked = replace(work, faces=work.faces[: min(_CHECKED_FACES, wanted.faces)])
    setting = wanted.setting(slots=wanted.faces)
    mint_into_memory(work.params, RATCHET_BLOCK)  # the kernels are compiled, or read
    memory: list[float] = []
    disk_speed: list[float] = []
    runs: list[Measured] = []
    for run in runs_in_time(wanted.runs, progress):
        progress(f"run {run + 1} of {wanted.runs}: into memory, on one core")
        memory.append(wanted.faces / mint_into_memory(work.params, wanted.faces))
        with tempfile.TemporaryDirectory(prefix="twokey-perf-") as folder:
            disk_speed.append(disk_bytes_per_second(Path(folder)))
        progress(f"run {run + 1} of {wanted.runs}: to the disk, on {cores()} cores")
        runs.append(measure(checked, setting))
    material = runs[0].material
    total = sum(material.values())
    disk = tuple(wanted.faces / m.seconds_mint for m in runs)
    figures = [
        Figure("faces_per_second_mint", tuple(memory)),
        Figure("faces_per_second_mint_disk", disk),
        Figure("disk_mb_per_second_mint", tuple(rate * total / 1e6 for rate in disk)),
        Figure("disk_mb_per_second_plain_write", tuple(speed / 1e6 for speed in disk_speed)),
    ]
    result = {
        **summary(figures),
        "cores": cores(),
        "material_bytes_per_face": material,
        "mismatches": sum(m.mismatches for m in runs),
        "conditions": replace(wanted, runs=len(runs)).as_map(),
        "machine": machine(),
    }
    return figures, result


def mint_into_memory(params: Parameters, slots: int) -> float:
    """Seconds to mint so many slots and encrypt them, chunk by chunk, into reused buffers."""
    buffers = MintBuffers(params)
    seeds = SetSeeds(*(Secret(secrets.token_bytes(32)) for _ in range(4)))
    cipher = AESGCM(secrets.token_bytes(32))
    ratchets = seeds.ratchets()
    number = 0

    def encrypt(role: Recipient, kind: ChunkKind, rows: np.ndarray) -> None:
        nonlocal number
        size = chunk_slots(params, role, kind)
        for at in range(0, len(rows), size):
            chunk = rows[at : at + size]
            out = thread_buffer(chunk.nbytes + TAG_BYTES)
            cipher.encrypt_into(number.to_bytes(12, "little"), octets(chunk), b"", out)
            number += 1

    start = time.perf_counter()
    for block in range(0, slots, RATCHET_BLOCK):
        stop = min(block + RATCHET_BLOCK, slots)
        for ratchet in ratchets:
            ratchet.keys([block])
        for first in range(block, stop, buffers.step):
            count = min(buffers.step, stop - first)
            match = buffers.match[:count]
            prepare = buffers.prepare[:count]
            mint_slots(params, bytes(32), seeds, ratchets, first, buffers.scratch, match, prepare)
            encrypt("p0", ChunkKind.MATCH, match)
            encrypt("p1", ChunkKind.MATCH, match)
            encrypt("p1", ChunkKind.PREPARE, prepare)
    return time.perf_counter() - start
