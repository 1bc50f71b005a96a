"""What a face costs, counted: from the parameters alone, by protocol sections 3 and 4.

The tests hold these against the counters of real runs and against the reference; no time is here.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.params import Parameters

ROUNDS_CHECK = 5  # Prep0 to Prep4
ROUNDS_BATCH = 4  # Reveal0, Reveal1, Confirm0, Confirm1
_RING_BYTES = 16
_TIME_BYTES = 8
_LIMB_BYTES = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one face against all places. Bytes are without headers and tags; see the tests."""

    params: Parameters

    @property
    def online_bytes(self) -> int:
        """Between the parties in match: both parties' bit shares, each face in whole bytes."""
        return 2 * (-(-self.params.places // 8))

    @property
    def prepare_bytes(self) -> int:
        """Between the parties in prepare: both parties' kappa shares."""
        return 2 * _RING_BYTES * self.params.places

    @property
    def camera_bytes(self) -> int:
        """From the camera to both parties: capture time and masked values."""
        return 2 * (_TIME_BYTES + _LIMB_BYTES * self.params.coordinates)

    def material_bytes(self, party: int) -> int:
        """In a party's file: correction words, and P1's MAC corrections."""
        return self.params.slot_match_bytes + (self.params.slot_prepare_bytes if party else 0)

    def prg_blocks_prepare(self, party: int) -> int:
        """AES-256 blocks that a party expands to prepare: alpha, r, rho, and P0 their MACs."""
        elements = self.params.coordinates + self.params.places
        return 1 + elements + self._low_limb_blocks + (0 if party else elements)

    @property
    def prg_blocks_match(self) -> int:
        """AES-256 blocks that a party expands to match: Delta and the DCF roots."""
        return 1 + self.params.places

    @property
    def dcf_blocks_comparison(self) -> int:
        """AES-128 blocks of one DCF evaluation: a child and a payload a level, half a leaf."""
        return 2 * self.params.levels + 1

    @property
    def dcf_blocks_match(self) -> int:
        """AES-128 blocks that a party computes to match."""
        return self.params.places * self.dcf_blocks_comparison

    @property
    def _low_limb_blocks(self) -> int:
        return -(-self.params.coordinates // 4)
