"""Comparison keys with a tag as output: the matching's function on numbers of up to 64 bits.

Encodings E4 with another domain, in tiles of 16 keys that share a public key (docs/engine.md,
"Keys"). The bit that is compared stays shared; its tag is what a check detects errors by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared import dcf_portable
from shared.aes_schedule import expand_key_128
from shared.dcf import evaluate_places, generate_tile
from shared.engine_fss import KEY_TILE, evaluation_arrays, generation_arrays
from shared.errors import FormatError
from shared.kernels import (
    FOUR_BLOCKS,
    PORTABLE,
    TWO_BLOCKS,
    address,
    compiled,
    helper,
    kernel_number,
    load64,
    store64,
    writable,
)
from shared.params import LEAF_BITS

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_LEVEL: Final = 24  # bytes of a level's correction: seed and payload
_LEAF: Final = 32


@dataclass(frozen=True, slots=True)
class TagShape:
    """What a key shares: a payload of 64 bits, one for x < a, another for x >= a.

    domain: bits of x, 2 to 64.
    """

    domain: int

    def __post_init__(self) -> None:
        if not LEAF_BITS <= self.domain <= 64:
            raise FormatError(
                f"key: found a domain of {self.domain} bits, expected {LEAF_BITS} to 64"
            )

    @property
    def levels(self) -> int:
        """Levels that an evaluation walks before the leaf."""
        return self.domain - LEAF_BITS

    @property
    def key_bytes(self) -> int:
        """Bytes of a key's correction words, the same for both parties."""
        return _LEVEL * self.levels + _LEAF


def generate(
    shape: TagShape,
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
    and 1 not used. points, below, from_: (n,) uint64, a and the payloads at x < a and x >= a. No
    branch and no address depends on roots, points or payloads, except in the portable kernel.
    Raises FormatError for another dtype or shape.
    """
    tiles, first, second, secret, lower, upper = generation_arrays(
        (), tile_keys, roots0, roots1, points, below, from_
    )
    writable("correction words", out, np.uint8, (len(points) * shape.key_bytes,))
    _generate(
        kernel_number(),
        shape.levels,
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
    shape: TagShape,
    party: int,
    tile_keys: U64,
    roots: U64,
    words: U8,
    first: int,
    points: U64,
    out: U64,
) -> None:
    """This party's shares of the payloads at public points: XOR of both parties' is the payload.

    words: the correction words of c keys (c key_bytes uint8); evaluated are keys first to
    first + n - 1 of them, at points (n,) uint64 below 2^domain. tile_keys: (ceil(c / 16), 2).
    roots: (n, 2) uint64. out: (n,) uint64, written. Raises FormatError.
    """
    tiles, seeds, corrections, inputs = evaluation_arrays(
        shape.key_bytes, party, tile_keys, roots, words, first, points
    )
    writable("tags", out, np.uint64, (len(points),))
    _evaluate(
        kernel_number(),
        party,
        shape.levels,
        words.size // shape.key_bytes,
        first,
        len(points),
        address(tiles),
        address(seeds),
        address(corrections),
        address(inputs),
        address(out),
    )


# -- kernels ---------------------------------------------------------------------------


@helper
def _evaluate_tile(
    kernel: Any,
    keys: Any,
    roots: Any,
    words: Any,
    width: Any,
    begin: Any,
    end: Any,
    points: Any,
    party: Any,
    levels: Any,
    out: Any,
) -> None:
    """Keys begin to end - 1 of a tile; addresses are those of its first key."""
    at = begin
    if kernel == FOUR_BLOCKS and end - begin >= 4:
        while at < end:
            evaluate_places(
                4, 4, 1, keys, roots, words, width, at, end - 4, points, party, levels, out
            )
            at += 16
    elif kernel >= TWO_BLOCKS and end - begin >= 2:
        while at < end:
            evaluate_places(
                2, 4, 1, keys, roots, words, width, at, end - 2, points, party, levels, out
            )
            at += 8
    else:
        while at < end:
            evaluate_places(
                1, 4, 1, keys, roots, words, width, at, end - 1, points, party, levels, out
            )
            at += 4


_generate_tile = generate_tile(1)


@compiled
def _evaluate(
    kernel: int,
    party: int,
    levels: int,
    keys: int,
    first: int,
    count: int,
    tile_keys: int,
    roots: int,
    words: int,
    points: int,
    out: int,
) -> None:
    memory = np.empty(44, dtype=np.uint32)
    rounds = memory.ctypes.data
    done = 0
    while done < count:
        tile = (first + done) // KEY_TILE
        begin = first + done - tile * KEY_TILE
        width = min(KEY_TILE, keys - tile * KEY_TILE)
        end = min(width, begin + count - done)
        expand_key_128(kernel, tile_keys + 16 * tile, rounds)
        base = words + tile * KEY_TILE * (levels * _LEVEL + _LEAF)
        own = roots + 16 * (done - begin)
        at = points + 8 * (done - begin)
        target = out + 8 * (done - begin)
        if kernel == PORTABLE:
            for i in range(begin, end):
                point = load64(at + 8 * i)
                share = dcf_portable.evaluate_place(
                    rounds, own + 16 * i, base, width, i, point, party, levels
                )
                store64(target + 8 * i, share)
        else:
            _evaluate_tile(kernel, rounds, own, base, width, begin, end, at, party, levels, target)
        done += end - begin


@compiled
def _generate(
    kernel: int,
    levels: int,
    count: int,
    tile_keys: int,
    roots0: int,
    roots1: int,
    points: int,
    below: int,
    from_: int,
    words: int,
) -> None:
    memory = np.empty(44, dtype=np.uint32)
    rounds = memory.ctypes.data
    for first in range(0, count, KEY_TILE):
        width = min(KEY_TILE, count - first)
        tile = tile_keys + first  # 16 bytes for 16 keys
        base = words + first * (levels * _LEVEL + _LEAF)
        own0, own1 = roots0 + 16 * first, roots1 + 16 * first
        a, lower, upper = points + 8 * first, below + 8 * first, from_ + 8 * first
        expand_key_128(kernel, tile, rounds)
        if kernel == PORTABLE:
            for i in range(width):
                dcf_portable.generate_place(
                    rounds,
                    own0 + 16 * i,
                    own1 + 16 * i,
                    base,
                    width,
                    i,
                    load64(a + 8 * i),
                    load64(lower + 8 * i),
                    load64(upper + 8 * i),
                    levels,
                )
        else:
            _generate_tile(kernel, rounds, own0, own1, base, width, a, lower, upper, levels)
