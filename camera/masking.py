"""Masking: e = xh - r mod 2^32 with this camera's own masks (encodings E6), pure arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from camera.ratchetfile import RatchetState
from shared.fixedpoint import check_faces, face_input
from shared.params import Parameters
from shared.shares import RATCHET_BLOCK, Ratchet, low_limbs

_STATE_BYTES = 32


class Masker:
    """The masks of one set, forward only; what was used is erased behind."""

    def __init__(self, params: Parameters, state: RatchetState) -> None:
        self._params = params
        self._ratchets = (
            Ratchet(state.state[:_STATE_BYTES], state.block),
            Ratchet(state.state[_STATE_BYTES:], state.block),
        )

    def mask(self, first: int, faces: NDArray[np.int64]) -> NDArray[np.uint32]:
        """e for slots first.., (faces, d + 1) uint32; faces: (faces, d) int64 fixed point.

        Raises RangeError for a face out of range, SlotReused for slots behind the ratchet.
        """
        params = self._params
        check_faces(faces, params)
        masked = face_input(faces)
        for start, stop in _blocks(first, len(faces)):
            slots = np.arange(start, stop, dtype=np.uint64)
            rows = masked[start - first : stop - first]
            for ratchet in self._ratchets:
                (key,) = ratchet.keys(slots).values()
                rows -= low_limbs(key, slots, params.coordinates)
        return masked

    def state_for(self, slot: int) -> RatchetState | None:
        """Walks to this slot's ratchet block; the state to store, or None without a step."""
        block = slot // RATCHET_BLOCK
        if block == self._ratchets[0].block:
            return None
        for ratchet in self._ratchets:
            ratchet.keys([block * RATCHET_BLOCK])
        return self.state()

    def state(self) -> RatchetState:
        """The state as it is now."""
        first, second = self._ratchets
        return RatchetState(first.block, first.state().reveal() + second.state().reveal())

    def close(self) -> None:
        """Overwrites the states."""
        for ratchet in self._ratchets:
            ratchet.close()


def _blocks(first: int, length: int) -> list[tuple[int, int]]:
    """The slots first.. cut at the ratchet blocks' borders."""
    parts = []
    start = first
    while start < first + length:
        stop = min(first + length, (start // RATCHET_BLOCK + 1) * RATCHET_BLOCK)
        parts.append((start, stop))
        start = stop
    return parts
