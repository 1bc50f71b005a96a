"""What matching expands of each slot, in one call: cheap also for faces that come singly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared import prg
from shared.errors import FormatError
from shared.hashing import digest
from shared.kernels import address, compiled, kernel_number, load64, readable
from shared.secret import Secret

U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class MatchInputs:
    """slot_keys: (F, 2) uint64 (encodings E3). roots: (F, used, 2). deltas: (F,)."""

    slot_keys: U64 = field(repr=False)
    roots: U64 = field(repr=False)
    deltas: U64 = field(repr=False)


def dcf_key(set_digest: bytes) -> bytes:
    """The public AES-256 key from which a set's slot keys come (encodings E3)."""
    return digest("dcf", set_digest)


def match_inputs(
    key: Secret, party: int, public_key: bytes, first: int, faces: int, used: int
) -> MatchInputs:
    """`prg.slot_keys`, `shares.dcf_roots` and `shares.deltas` of slots first.. (encodings E2, E3).

    public_key: `dcf_key` of the set.
    """
    secret = np.frombuffer(key.reveal(), dtype=np.uint8)
    public = np.frombuffer(public_key, dtype=np.uint8)
    slots = np.arange(first, first + faces, dtype=np.uint64)
    keys = np.empty((faces, 2), dtype=np.uint64)
    roots = np.empty((faces, used, 2), dtype=np.uint64)
    deltas = np.empty((faces, 2), dtype=np.uint64)
    _match_inputs(
        kernel_number(),
        address(secret),
        address(public),
        address(slots),
        faces,
        used,
        keys,
        roots,
        deltas,
        np.uint64(1 - party),
    )
    return MatchInputs(keys, roots, deltas[:, 0].copy())


def match_inputs_each(
    keys: Sequence[Secret], party: int, public_keys: Sequence[bytes], slots: U64, used: int
) -> MatchInputs:
    """`match_inputs` of slots that are each of a set of its own. slots: (F,) uint64."""
    faces = len(slots)
    secrets = np.frombuffer(bytearray().join(key.reveal() for key in keys), dtype=np.uint8)
    publics = np.frombuffer(b"".join(public_keys), dtype=np.uint8)
    if not secrets.size == publics.size == 32 * faces:
        raise FormatError(f"slots of several sets: expected {faces} keys of 32 bytes")
    places = readable("slots", slots, np.uint64, (faces,))
    made = np.empty((faces, 2), dtype=np.uint64)
    roots = np.empty((faces, used, 2), dtype=np.uint64)
    deltas = np.empty((faces, 2), dtype=np.uint64)
    _match_inputs_each(
        kernel_number(),
        address(secrets),
        address(publics),
        address(places),
        faces,
        used,
        made,
        roots,
        deltas,
        np.uint64(1 - party),
    )
    secrets[:] = 0  # too long for the small memory that is soon used again
    return MatchInputs(made, roots, deltas[:, 0].copy())


@compiled
def _match_inputs_each(
    kernel: int,
    keys: int,
    publics: int,
    slots: int,
    faces: int,
    used: int,
    made: U64,
    roots: U64,
    deltas: U64,
    least_bit: np.uint64,
) -> None:
    for face in range(faces):
        _match_inputs(
            kernel,
            keys + 32 * face,
            publics + 32 * face,
            slots + 8 * face,
            1,
            used,
            made[face : face + 1],
            roots[face : face + 1],
            deltas[face : face + 1],
            least_bit,
        )


@compiled
def _match_inputs(
    kernel: int,
    key: int,
    public: int,
    slots: int,
    faces: int,
    used: int,
    keys: U64,
    roots: U64,
    deltas: U64,
    least_bit: np.uint64,
) -> None:
    prg.expand_blocks(kernel, public, slots, faces, 0, 0, 1, keys.ctypes.data)
    prg.expand_blocks(kernel, key, slots, faces, prg.DCF_ROOT, 0, used, roots.ctypes.data)
    prg.expand_blocks(kernel, key, slots, faces, prg.DELTA, 0, 1, deltas.ctypes.data)
    seed_bits = np.uint64(0xFFFFFFFFFFFFFFFC)
    for face in range(faces):
        keys[face, 0] ^= load64(slots + 8 * face)
        deltas[face, 0] = (deltas[face, 0] & np.uint64(0xFFFFFFFFFFFFFFFE)) | least_bit
        for place in range(used):
            roots[face, place, 0] &= seed_bits
