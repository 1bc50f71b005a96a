"""The deterministic core of the engine's material: seeds in, corrections and keys out.

docs/engine.md, "Material". No I/O, no randomness, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared import engine_fss, engine_ring, engine_tags, ring
from shared.engine_expand import alpha_share, delta_share, elements, own_values, tile_keys
from shared.engine_fss import KEY_TILE
from shared.engine_plan import HIDDEN, MAC, RING_BITS, ROOT, Family, Kind, Plan, left_of
from shared.errors import FormatError
from shared.secret import Secret

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class EngineSeeds:
    """What the two parties expand their shares from, 32 bytes each."""

    key0: Secret = field(repr=False)
    key1: Secret = field(repr=False)

    def destroy(self) -> None:
        """Overwrites both."""
        self.key0.destroy()
        self.key1.destroy()


def mint_corrections(
    plan: Plan, seeds: EngineSeeds, kind: Kind, party: int, first: int, count: int
) -> U8:
    """A party's corrections of consecutive items, count kind.correction_bytes(party) uint8.

    P0's: its MAC shares of uniform elements. P1's: its shares of derived elements, then its MAC
    shares of them.
    """
    out = np.empty(count * kind.correction_bytes(party), dtype=np.uint8)
    if party == 0:
        known = _uniform(plan, seeds, kind, first, count)
        expanded = elements(plan, seeds.key1, kind, MAC, first, count, kind.uniform)
        macs = out
    else:
        share0, total = _values(plan, seeds, kind, first, count)
        derived = slice(kind.uniform, None)
        which = (slice(None), derived) if kind.wide else derived
        known = np.ascontiguousarray(total[which])
        shares, macs = out[: known.nbytes], out[known.nbytes :]
        own0 = np.ascontiguousarray(share0[which])
        ring.sub(known, own0, shares.view(np.uint64).reshape(known.shape))
        many, skip = kind.derived, kind.uniform
        expanded = elements(plan, seeds.key0, kind, MAC, first, count, many, skip)
    target = macs.view(np.uint64).reshape(known.shape)
    engine_ring.subtract_scaled(known, expanded, _alpha(seeds), target)
    return out


def mint_keys(
    plan: Plan, seeds: EngineSeeds, kind: Kind, set_digest: bytes, first: int, count: int
) -> U8:
    """The keys of consecutive items (first a multiple of 16), key by key; the same for both.

    Returns count kind.key_bytes uint8. Raises FormatError.
    """
    if first % KEY_TILE:
        raise FormatError(f"keys: found first item {first}, expected a multiple of {KEY_TILE}")
    _, total = _values(plan, seeds, kind, first, count)
    secret = np.ascontiguousarray(total[0, :, 0])
    if kind.tags is not None:
        roots0, roots1 = _roots(plan, seeds, kind, 0, first, count)
        points, lower, upper = _tagged(seeds, secret, np.ascontiguousarray(total[1, :, 0]))
        out = np.empty(count * kind.key_bytes, dtype=np.uint8)
        tiles = tile_keys(plan, kind, 0, set_digest, first, count)
        engine_tags.generate(kind.tags, tiles, roots0, roots1, points, lower, upper, out)
        return out
    alpha = _alpha(seeds)
    parts = []
    for number, shape in enumerate(kind.keys):
        points, below, from_ = _function(kind, number, secret)
        out = np.empty(count * shape.key_bytes, dtype=np.uint8)
        engine_fss.generate(
            shape,
            tile_keys(plan, kind, number, set_digest, first, count),
            *_roots(plan, seeds, kind, number, first, count),
            points,
            _authenticated(below, alpha),
            _authenticated(from_, alpha),
            out,
        )
        parts.append(out)
    return np.concatenate(parts)


def client_masks(plan: Plan, seeds: EngineSeeds, kind: Kind, first: int, count: int) -> U8:
    """The masks r of consecutive items as their client gets them: 16 count uint8."""
    _, total = _values(plan, seeds, kind, first, count)
    return np.ascontiguousarray(total[0]).view(np.uint8).reshape(-1)


def _alpha(seeds: EngineSeeds) -> U64:
    return ring.add(alpha_share(seeds.key0), alpha_share(seeds.key1))


def _uniform(plan: Plan, seeds: EngineSeeds, kind: Kind, first: int, count: int) -> U64:
    """The uniform elements: kind.shape(count, uniform) uint64."""
    shares = [
        own_values(plan, key, kind, party, first, count, kind.uniform)
        for party, key in enumerate((seeds.key0, seeds.key1))
    ]
    return ring.add(*shares)


def _values(plan: Plan, seeds: EngineSeeds, kind: Kind, first: int, count: int) -> tuple[U64, U64]:
    """P0's shares of all elements, and the elements: kind.shape(count, elements) uint64 each."""
    share0 = own_values(plan, seeds.key0, kind, 0, first, count, kind.elements)
    share1 = own_values(plan, seeds.key1, kind, 1, first, count, kind.elements)
    total = ring.add(share0, share1)
    derived = _derived(plan, seeds, kind, first, count, total)
    if kind.wide:
        total[:, kind.uniform :] = derived
    else:
        total[kind.uniform :] = derived
    return share0, total


def _roots(
    plan: Plan, seeds: EngineSeeds, kind: Kind, number: int, first: int, count: int
) -> tuple[U64, U64]:
    """Both parties' roots of the items' keys of this number: (n, 2) uint64 each."""
    use = ROOT + number
    return (
        elements(plan, seeds.key0, kind, use, first, count, 1)[0],
        elements(plan, seeds.key1, kind, use, first, count, 1)[0],
    )


def _function(kind: Kind, number: int, secret: U64) -> tuple[U64, U64, U64]:
    """The point and both payloads of key `number`, from r mod 2^64: (n,) uint64 each."""
    ones, zeros = np.ones_like(secret), np.zeros_like(secret)
    if kind.family is Family.ZERO:
        return secret, zeros, ones
    if number == 1:
        secret = secret & np.uint64((1 << kind.p) - 1)
    return secret, ones, zeros


def _tagged(seeds: EngineSeeds, secret: U64, hidden: U64) -> tuple[U64, U64, U64]:
    """Point and payloads of a sign's key, from r mod 2^64 and the bit b: (n,) uint64 each.

    The tag is that of top(r) xor [x < r mod 2^63] xor b.
    """
    delta = delta_share(seeds.key0, 0) ^ delta_share(seeds.key1, 1)
    bit = (secret >> np.uint64(RING_BITS - 1)) ^ hidden
    from_ = (np.uint64(0) - bit) & delta
    return secret & np.uint64((1 << (RING_BITS - 1)) - 1), from_ ^ delta, from_


def _authenticated(payload: U64, alpha: U64) -> U64:
    """(value, MAC) of small payloads: (n, 4) uint64."""
    value = np.stack([payload, np.zeros_like(payload)], axis=-1)
    return np.concatenate([value, engine_ring.scale(value, alpha)], axis=-1)


def _derived(plan: Plan, seeds: EngineSeeds, kind: Kind, first: int, count: int, total: U64) -> U64:
    """The derived elements in the clear, from the uniform ones in `total`."""
    family = kind.family
    if family is Family.TRIPLE:
        return ring.mul(total[:1], total[1:2])
    if family is Family.SQUARE:
        return ring.mul(total[:1], total[:1])
    if family is Family.TRUNCATION:
        shifted = np.zeros((1, count, 2), dtype=np.uint64)
        shifted[0, :, 0] = total[0, :, 0] >> np.uint64(kind.p)
        return shifted
    if kind.hidden:
        shares = [
            elements(plan, key, kind, HIDDEN, first, count, 1) for key in (seeds.key0, seeds.key1)
        ]
        hidden = ring.add(*shares)[..., 0].reshape(count, 1)
        places = np.arange(kind.derived, dtype=np.uint64)
        bits = np.zeros((count, kind.derived, 2), dtype=np.uint64)
        bits[..., 0] = (hidden >> places) & np.uint64(1)
        return bits if kind.wide else np.ascontiguousarray(bits.swapaxes(0, 1))
    if family is Family.MATMUL:
        n, m, p = kind.p, kind.q, kind.r
        left = total[:, : n * m].reshape(count, n, m, 2)
        right = total[:, n * m : kind.uniform].reshape(count, m, p, 2)
        return engine_ring.matmul(left, right).reshape(count, n * p, 2)
    if family is Family.FIXED:
        _, matrix = _values(plan, seeds, left_of(kind), 0, 1)
        left = matrix.reshape(1, kind.p, kind.q, 2)
        right = total[:, : kind.q].reshape(count, kind.q, 1, 2)
        return engine_ring.matmul(left, right).reshape(count, kind.p, 2)
    return np.empty(kind.shape(count, 0), dtype=np.uint64)
