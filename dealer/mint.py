"""The deterministic core of the dealer: seeds in, correction words and corrections out.

Protocol section 3 (Mint), encodings E2 to E5. No I/O, no randomness, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared import dcf, prg, shares, wide
from shared.errors import FormatError
from shared.kernels import compiled, opaque
from shared.materialfile import CameraSeeds, PartySeeds
from shared.params import Parameters
from shared.secret import Secret
from shared.shares import Ratchet, RatchetKeys

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class SetSeeds:
    """The four 32-byte seeds from which a set is made: K_0, K_1, S_0^0, S_0^1 (encodings E2)."""

    key0: Secret
    key1: Secret
    ratchet0: Secret
    ratchet1: Secret

    def party(self, party: int) -> PartySeeds:
        """What goes to this party."""
        if party == 0:
            return PartySeeds(self.key0, self.ratchet0)
        return PartySeeds(self.key1, self.ratchet1)

    def camera(self) -> CameraSeeds:
        """What goes to the camera."""
        return CameraSeeds(self.ratchet0, self.ratchet1)

    def ratchets(self) -> tuple[Ratchet, Ratchet]:
        """Both ratchets at their beginning."""
        return Ratchet(self.ratchet0), Ratchet(self.ratchet1)

    def destroy(self) -> None:
        """Overwrites all of them."""
        for seed in (self.key0, self.key1, self.ratchet0, self.ratchet1):
            seed.destroy()


class MintScratch:
    """Memory that minting reuses, for up to `slots` slots at a time; of one thread."""

    def __init__(self, params: Parameters, slots: int) -> None:
        def ring_elements(count: int) -> U64:
            return np.empty((slots, count, 2), dtype=np.uint64)

        self.slots = slots
        self.r0, self.r1 = ring_elements(params.coordinates), ring_elements(params.coordinates)
        self.r_mac = ring_elements(params.coordinates)
        self.rho0, self.rho1 = ring_elements(params.places), ring_elements(params.places)
        self.rho_mac = ring_elements(params.places)
        self.root0, self.root1 = ring_elements(params.places), ring_elements(params.places)
        self.points = np.empty((slots, params.places), dtype=np.uint32)
        self.below = np.empty((slots, params.places), dtype=np.uint64)
        self.from_ = np.empty((slots, params.places), dtype=np.uint64)


def mint_slots(
    params: Parameters,
    set_digest: bytes,
    seeds: SetSeeds,
    ratchets: tuple[RatchetKeys, RatchetKeys],
    first: int,
    scratch: MintScratch,
    match: U8,
    prepare: U8,
) -> None:
    """Makes consecutive slots of a set: the same call always gives the same bytes.

    ratchets: of `seeds`, at or before the first slot. match: (slots, slot_match_bytes) uint8, the
    correction words for both parties. prepare: (slots, slot_prepare_bytes) uint8, P1's MAC
    corrections. Both C-contiguous; the number of slots is theirs, at most that of the scratch.
    Raises FormatError for other shapes.
    """
    count = len(match)
    _check("match part", match, (count, params.slot_match_bytes))
    _check("prepare part", prepare, (count, params.slot_prepare_bytes))
    if count > scratch.slots:
        raise FormatError(f"minting: found {count} slots, expected at most {scratch.slots}")
    s, d, n = scratch, params.coordinates, params.places
    slots = np.arange(first, first + count, dtype=np.uint64)
    key0, key1 = seeds.key0, seeds.key1
    shares.input_shares(key0, ratchets[0], slots, d, out=s.r0[:count])
    shares.input_shares(key1, ratchets[1], slots, d, out=s.r1[:count])
    shares.input_macs_p0(key0, slots, d, out=s.r_mac[:count])
    shares.rho_shares(key0, slots, n, out=s.rho0[:count])
    shares.rho_shares(key1, slots, n, out=s.rho1[:count])
    shares.rho_macs_p0(key0, slots, n, out=s.rho_mac[:count])
    shares.dcf_roots(key0, slots, n, out=s.root0[:count])
    shares.dcf_roots(key1, slots, n, out=s.root1[:count])
    corrections = prepare.reshape(-1).view(np.uint64).reshape(count, d + n, 2)
    alpha0, alpha1 = shares.alphas(key0, slots), shares.alphas(key1, slots)
    _correct(alpha0, alpha1, s.r0, s.r1, s.r_mac, corrections[:, :d])
    _correct(alpha0, alpha1, s.rho0, s.rho1, s.rho_mac, corrections[:, d:])
    delta = shares.deltas(key0, 0, slots) ^ shares.deltas(key1, 1, slots)
    _payloads(delta, s.rho0, s.rho1, params.low_bits, s.points, s.below, s.from_)
    dcf.generate(
        params,
        prg.slot_keys(set_digest, slots),
        s.root0[:count],
        s.root1[:count],
        s.points[:count],
        s.below[:count],
        s.from_[:count],
        match,
    )


def _check(what: str, array: U8, shape: tuple[int, int]) -> None:
    if array.shape != shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
        raise FormatError(f"{what}: found shape {array.shape}, expected {shape} uint8, contiguous")


@compiled
def _correct(alpha0: U64, alpha1: U64, share0: U64, share1: U64, mac0: U64, mac1: U64) -> None:
    """m^1 = (alpha^0 + alpha^1)(x^0 + x^1) - m^0 mod 2^128, for every slot and element."""
    for i in range(mac1.shape[0]):
        low, high = wide.add(alpha0[i, 0], alpha0[i, 1], alpha1[i, 0], alpha1[i, 1])
        for j in range(mac1.shape[1]):
            x, y = wide.add(share0[i, j, 0], share0[i, j, 1], share1[i, j, 0], share1[i, j, 1])
            x, y = wide.mul(low, high, x, y)
            x, y = wide.sub(x, y, mac0[i, j, 0], mac0[i, j, 1])
            mac1[i, j, 0] = x
            mac1[i, j, 1] = y


@compiled
def _payloads(
    delta: U64, rho0: U64, rho1: U64, low_bits: int, points: U32, below: U64, from_: U64
) -> None:
    """The point and both payloads of every comparison (encodings E4), without a branch."""
    shift = np.uint64(low_bits)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    one = opaque(np.uint64(1))
    for i in range(delta.shape[0]):
        for j in range(rho0.shape[1]):
            rho = rho0[i, j, 0] + rho1[i, j, 0]
            top = np.uint64(0) - ((rho >> shift) & one)
            points[i, j] = np.uint32(rho & mask)
            below[i, j] = delta[i] & ~top
            from_[i, j] = delta[i] & top
