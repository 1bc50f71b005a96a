"""Public parameters, and one face slot as the dealer makes it (encodings E1, E2, E5)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference import dcf
from tests.reference.blocks import (
    ALPHA,
    DCF_ROOT,
    DELTA,
    M32,
    M64,
    M128,
    R_HIGH,
    R_MAC,
    RHO,
    RHO_MAC,
    block,
    digest,
    low_limb,
    ratchet_key,
    slot_key,
    u128,
)

TILE = 16


@dataclass(frozen=True)
class Params:
    """The public parameters, under the names of section 2."""

    dim: int
    fraction_bits: int
    headroom_bits: int
    places: int
    threshold: int
    face_bound: int
    entry_bound: int
    model: str

    @property
    def n(self) -> int:
        """Bits of the ring in which distances are compared."""
        return 2 * self.fraction_bits + self.headroom_bits

    def digest(self) -> bytes:
        """E1, label `parameters`."""
        return digest(
            "parameters",
            1,
            self.dim,
            self.fraction_bits,
            self.headroom_bits,
            self.places,
            self.threshold,
            self.face_bound,
            self.entry_bound,
            self.model,
        )


@dataclass(frozen=True)
class MaterialSet:
    """What names a set, and the four keys from which the dealer makes it."""

    mint_id: bytes
    window: str
    camera: str
    keys: tuple[bytes, bytes]
    states: tuple[bytes, bytes]

    @property
    def digest(self) -> bytes:
        """E1, label `set`."""
        return digest("set", self.mint_id, self.window, self.camera)

    @property
    def set_id(self) -> bytes:
        """The first eight bytes of the set digest."""
        return self.digest[:8]


@dataclass(frozen=True)
class Side:
    """What one party holds of a slot. Ring elements modulo 2^128."""

    party: int
    alpha: int
    delta: int
    r: list[int]
    r_mac: list[int]
    rho: list[int]
    rho_mac: list[int]
    roots: list[int]


@dataclass(frozen=True)
class Slot:
    """A face slot: both sides, and the bytes that go into the files."""

    number: int
    key: bytes
    sides: tuple[Side, Side]
    words: list[dcf.Words]
    match_bytes: bytes
    prepare_bytes: bytes


def expand(params: Params, material: MaterialSet, slot: int, party: int) -> Side:
    """Everything a party expands from its own seeds; the MAC shares of P1 are still empty."""
    key = material.keys[party]
    low = ratchet_key(material.states[party], slot)
    coordinates, places = range(params.dim + 1), range(params.places)

    def draw(domain: int, index: int = 0) -> int:
        return block(key, slot, domain, index)

    return Side(
        party=party,
        alpha=draw(ALPHA),
        delta=(draw(DELTA) & M64) >> 1 << 1 | (1 - party),
        r=[draw(R_HIGH, i) >> 32 << 32 | low_limb(low, slot, i) for i in coordinates],
        r_mac=[draw(R_MAC, i) for i in coordinates] if party == 0 else [],
        rho=[draw(RHO, p) for p in places],
        rho_mac=[draw(RHO_MAC, p) for p in places] if party == 0 else [],
        roots=[dcf.clear(draw(DCF_ROOT, p)) for p in places],
    )


def mint(params: Params, material: MaterialSet, slot: int) -> Slot:
    """One slot of a set."""
    zero, one = (expand(params, material, slot, party) for party in (0, 1))
    alpha = zero.alpha + one.alpha
    delta = zero.delta ^ one.delta
    key = slot_key(material.digest, slot)
    for place in range(params.dim + 1):
        value = zero.r[place] + one.r[place]
        one.r_mac.append((alpha * value - zero.r_mac[place]) & M128)
    words = []
    for place in range(params.places):
        rho = (zero.rho[place] + one.rho[place]) & M128
        one.rho_mac.append((alpha * rho - zero.rho_mac[place]) & M128)
        top = (rho >> (params.n - 1)) & 1
        words.append(
            dcf.generate(
                params.n - 1,
                key,
                (zero.roots[place], one.roots[place]),
                rho % (1 << (params.n - 1)),
                delta * (1 - top),
                delta * top,
            )
        )
    tiles = [words[first : first + TILE] for first in range(0, params.places, TILE)]
    return Slot(
        number=slot,
        key=key,
        sides=(zero, one),
        words=words,
        match_bytes=b"".join(dcf.tile(comparisons) for comparisons in tiles),
        prepare_bytes=b"".join(u128(mac) for mac in one.r_mac + one.rho_mac),
    )


def camera_mask(params: Params, states: tuple[bytes, bytes], slot: int) -> list[int]:
    """r mod 2^32, all that a camera can expand from its two ratchet states."""
    lows = [ratchet_key(state, slot) for state in states]
    return [
        (low_limb(lows[0], slot, i) + low_limb(lows[1], slot, i)) & M32
        for i in range(params.dim + 1)
    ]
