"""Comparison and point functions shared in two keys, with an authenticated sum as output.

[BCGGIKR21] figure 1 with a payload of two ring elements, value and MAC, in Z_{2^128}; the two
payloads and the leaf of two words are changes (docs/engine.md, "Keys").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared import engine_fss_kernels
from shared.engine_fss_kernels import KEY_TILE
from shared.errors import FormatError
from shared.kernels import address, kernel_number, readable, writable

__all__ = [
    "KEY_TILE",
    "KeyShape",
    "evaluate",
    "evaluation_arrays",
    "generate",
    "generation_arrays",
]

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_SEED: Final = 16
_PAYLOAD: Final = 32
_LEAF: Final = 2 * _PAYLOAD


@dataclass(frozen=True, slots=True)
class KeyShape:
    """What a key shares: f(x) = below for x < a, else from_ (comparison); or from_ at x = a alone.

    domain: bits of x, 1 to 64. comparison: False for a point function.
    """

    domain: int
    comparison: bool

    def __post_init__(self) -> None:
        if not 1 <= self.domain <= 64:
            raise FormatError(f"key: found a domain of {self.domain} bits, expected 1 to 64")

    @property
    def level_bytes(self) -> int:
        """Bytes of a level's correction: seed, and payload where there is one."""
        return _SEED + (_PAYLOAD if self.comparison else 0)

    @property
    def key_bytes(self) -> int:
        """Bytes of a key's correction words, the same for both parties."""
        return (self.domain - 1) * self.level_bytes + _LEAF


def generate(
    shape: KeyShape,
    tile_keys: U64,
    roots0: U64,
    roots1: U64,
    points: U64,
    below: U64,
    from_: U64,
    out: U8,
) -> None:
    """Correction words of n keys, written to `out`: n key_bytes uint8, contiguous.

    tile_keys: (ceil(n / 16), 2) uint64, public AES-128 keys. roots0, roots1: (n, 2) uint64, bits 0
    to 2 not used. points: (n,) uint64, a. below, from_: (n, 4) uint64, value then MAC; a point
    function takes no notice of `below`. No branch and no address depends on roots, points or
    payloads, except in the portable kernel. Raises FormatError for another dtype or shape.
    """
    tiles, first, second, secret, lower, upper = generation_arrays(
        (4,), tile_keys, roots0, roots1, points, below, from_
    )
    writable("correction words", out, np.uint8, (len(points) * shape.key_bytes,))
    engine_fss_kernels.generate(
        kernel_number(),
        int(shape.comparison),
        shape.domain,
        len(points),
        address(tiles),
        address(first),
        address(second),
        address(secret),
        address(lower),
        address(upper),
        address(out),
    )


def evaluate(
    shape: KeyShape,
    party: int,
    tile_keys: U64,
    roots: U64,
    words: U8,
    first: int,
    points: U64,
    value: U64,
    mac: U64,
) -> None:
    """This party's shares of f at public points: both parties' add up to value and MAC of f(x).

    words: the correction words of c keys (c key_bytes uint8); evaluated are keys first to
    first + n - 1 of them, at points (n,) uint64 below 2^domain. tile_keys: (ceil(c / 16), 2).
    roots: (n, 2) uint64. value, mac: (n, 2) uint64, written. Raises FormatError.
    """
    count = len(points)
    tiles, seeds, corrections, inputs = evaluation_arrays(
        shape.key_bytes, party, tile_keys, roots, words, first, points
    )
    writable("values", value, np.uint64, (count, 2))
    writable("MACs", mac, np.uint64, (count, 2))
    engine_fss_kernels.evaluate(
        kernel_number(),
        int(shape.comparison),
        party,
        shape.domain,
        words.size // shape.key_bytes,
        first,
        count,
        address(tiles),
        address(seeds),
        address(corrections),
        address(inputs),
        address(value),
        address(mac),
    )


def generation_arrays(
    payload: tuple[int, ...],
    tile_keys: U64,
    roots0: U64,
    roots1: U64,
    points: U64,
    below: U64,
    from_: U64,
) -> tuple[U64, U64, U64, U64, U64, U64]:
    """What a generation reads, in this order, for its kernel. payload: the shape of one.

    Shapes as in `generate`. Raises FormatError for another dtype or shape.
    """
    count = len(points)
    return (
        readable("tile keys", tile_keys, np.uint64, (-(-count // KEY_TILE), 2)),
        readable("roots of P0", roots0, np.uint64, (count, 2)),
        readable("roots of P1", roots1, np.uint64, (count, 2)),
        readable("points", points, np.uint64, (count,)),
        readable("payloads", below, np.uint64, (count, *payload)),
        readable("payloads", from_, np.uint64, (count, *payload)),
    )


def evaluation_arrays(
    key_bytes: int, party: int, tile_keys: U64, roots: U64, words: U8, first: int, points: U64
) -> tuple[U64, U64, U8, U64]:
    """Tile keys, roots, correction words and points of an evaluation, for its kernel.

    Shapes as in `evaluate`. Raises FormatError for another dtype or shape, a party but 0 and 1, or
    keys that are not there.
    """
    count = len(points)
    keys = words.size // key_bytes
    if words.size % key_bytes or not 0 <= first <= first + count <= keys:
        raise FormatError(
            f"evaluation: found keys {first} to {first + count} of {words.size} bytes, "
            f"expected keys of {key_bytes} bytes among these"
        )
    if party not in (0, 1):
        raise FormatError(f"evaluation: found party {party}, expected 0 or 1")
    return (
        readable("tile keys", tile_keys, np.uint64, (-(-keys // KEY_TILE), 2)),
        readable("roots", roots, np.uint64, (count, 2)),
        readable("correction words", words, np.uint8, (words.size,)),
        readable("points", points, np.uint64, (count,)),
    )
