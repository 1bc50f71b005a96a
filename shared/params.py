"""Every public parameter of a window, in one frozen object with a digest (protocol section 2)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Self

from shared.errors import FormatError, RangeError
from shared.hashing import digest

PROTOCOL_VERSION = 1
LEAF_BITS = 2  # the last two levels of a DCF are one block of four payloads
_FRACTION_BITS = (1, 15)
TILE = 16  # places are stored and evaluated side by side in tiles of this many


@dataclass(frozen=True)
class Parameters:
    """Public parameters; all parties, cameras and the dealer must agree on every field.

    dim: coordinates of an embedding. fraction_bits: f. headroom_bits: g, so n = 2f + g.
    places: N, entry places of a slot. threshold: T, on the squared integer distance.
    face_bound, entry_bound: Bx and Bc, bounds on the Euclidean norms of the integer vectors.
    model: id of the embedding model. Raises RangeError when a field breaks section 2.
    """

    dim: int
    fraction_bits: int
    headroom_bits: int
    places: int
    threshold: int
    face_bound: int
    entry_bound: int
    model: str

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name != "model"):
            value = getattr(self, name)
            if type(value) is not int:
                raise RangeError(f"parameter {name}: {value!r} is not an integer")
        if type(self.model) is not str:
            raise RangeError("parameter model: not a string")
        _in_range("dim", self.dim, 1, 4096)
        _in_range("fraction_bits", self.fraction_bits, *_FRACTION_BITS)
        _in_range("headroom_bits", self.headroom_bits, 1, 30)
        _in_range("2 fraction_bits + headroom_bits", self.n, 7, 32)
        _in_range("places", self.places, 1, 1 << 20)
        _in_range("threshold", self.threshold, 0, 1 << (self.n - 1))
        _in_range("face_bound", self.face_bound, 0, 1 << 16)
        _in_range("entry_bound", self.entry_bound, 0, 1 << 16)
        reach = (self.face_bound + self.entry_bound) ** 2
        if reach >= 1 << (self.n - 1):
            raise RangeError(f"(face_bound + entry_bound)^2 = {reach} is not below 2^{self.n - 1}")
        if not 0 < len(self.model) <= 64 or not self.model.isascii():
            raise RangeError("parameter model: 1 to 64 ASCII characters expected")

    @cached_property
    def n(self) -> int:
        """Bits of the ring in which distances are compared."""
        return 2 * self.fraction_bits + self.headroom_bits

    @cached_property
    def low_bits(self) -> int:
        """Bits of the DCF domain, n - 1."""
        return self.n - 1

    @cached_property
    def levels(self) -> int:
        """Walked levels of a DCF key, before the leaf block."""
        return self.low_bits - LEAF_BITS

    @cached_property
    def coordinates(self) -> int:
        """Ring elements a camera sends for a face: the coordinates and the squared norm."""
        return self.dim + 1

    @cached_property
    def comparison_bytes(self) -> int:
        """Bytes of the correction words of one comparison (section 4)."""
        return 24 * self.levels + 32

    @cached_property
    def slot_match_bytes(self) -> int:
        """Bytes of one slot in a match chunk."""
        return self.places * self.comparison_bytes

    @cached_property
    def slot_prepare_bytes(self) -> int:
        """Bytes of one slot in a prepare chunk (P1's file only)."""
        return 16 * (self.coordinates + self.places)

    def digest(self) -> bytes:
        """32 bytes that name these parameters in every header and transcript."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return digest("parameters", PROTOCOL_VERSION, *asdict(self).values())

    def to_map(self) -> dict[str, int | str]:
        """A plain map for headers and files."""
        return asdict(self)

    @classmethod
    def from_map(cls, found: Any) -> Self:
        """The inverse of `to_map`; refuses unknown, missing and badly typed fields."""
        names = [f.name for f in fields(cls)]
        if not isinstance(found, dict) or set(found) != set(names):
            raise FormatError(f"parameters: expected exactly the fields {', '.join(names)}")
        return cls(**found)


def for_bounds(
    *,
    dim: int,
    places: int,
    threshold: float,
    face_norm: float,
    entry_norm: float,
    model: str,
    fraction_bits: int = 12,
    headroom_bits: int = 5,
) -> Parameters:
    """Parameters from real-valued bounds; the threshold is on the squared distance.

    Norm bounds are scaled by 2^f and rounded down. Raises RangeError.
    """
    for name, value in (
        ("threshold", threshold),
        ("face_norm", face_norm),
        ("entry_norm", entry_norm),
    ):
        if not math.isfinite(value):
            raise RangeError(f"{name}: {value} is not finite")
    _in_range("fraction_bits", fraction_bits, *_FRACTION_BITS)  # before anything is scaled by it
    scale = 1 << fraction_bits
    return Parameters(
        dim=dim,
        fraction_bits=fraction_bits,
        headroom_bits=headroom_bits,
        places=places,
        threshold=_scaled(threshold, fraction_bits),
        face_bound=math.floor(face_norm * scale),
        entry_bound=math.floor(entry_norm * scale),
        model=model,
    )


def scaled_threshold(threshold: float, params: Parameters) -> int:
    """T of a threshold on the squared distance, rounded to nearest even (section 2)."""
    return _scaled(threshold, params.fraction_bits)


def _scaled(threshold: float, fraction_bits: int) -> int:
    return round(threshold * (1 << 2 * fraction_bits))


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RangeError(f"parameter {name}: found {value}, expected {low} to {high}")
