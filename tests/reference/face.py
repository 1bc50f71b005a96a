"""Faces, entries and what is public about them (encodings E1 and E6, protocol section 2)."""

from __future__ import annotations

from tests.reference.blocks import M32, digest
from tests.reference.mint import MaterialSet, Params, camera_mask


def distance(x: list[int], c: list[int]) -> int:
    """The squared Euclidean distance."""
    return sum((a - b) ** 2 for a, b in zip(x, c, strict=True))


def mask(params: Params, material: MaterialSet, slot: int, x: list[int]) -> list[int]:
    """e: the face input minus r, modulo 2^32."""
    r = camera_mask(params, material.states, slot)
    padded = [*x, sum(v * v for v in x)]
    return [(value - hidden) & M32 for value, hidden in zip(padded, r, strict=True)]


def entry_row(c: list[int]) -> list[int]:
    """ch = (-2 c_1 .. -2 c_d, 1)."""
    return [-2 * v for v in c] + [1]


def entry_constant(c: list[int]) -> int:
    """C = sum c_i^2."""
    return sum(v * v for v in c)


def entry_digest(model: str, name: str, c: list[int]) -> bytes:
    """E1, label `entry`."""
    content = b"".join(v.to_bytes(4, "little", signed=True) for v in c)
    return digest("entry", model, name, content)


def place_map(params: Params, window: str, bound: dict[int, bytes]) -> bytes:
    """E1, label `place map`: bound maps a place to its entry digest."""
    fields: list[bytes | int | str] = []
    for place in sorted(bound):
        fields += [place, bound[place]]
    return digest("place map", params.digest(), window, params.threshold, *fields)
