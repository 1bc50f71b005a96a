"""Kinds of the engine's material: what an item of each consists of, and where it comes from.

An *item* is a few ring elements shared with MACs, and keys of `engine_fss`. Elements are uniform
(both shares from the parties' seeds) or derived (P1's share is a correction); the sizes follow
from the kind alone, so a plan of kinds and counts says where every byte lies (docs/engine.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from shared.engine_fss import KEY_TILE, KeyShape
from shared.engine_tags import TagShape
from shared.errors import FormatError, InputError, RangeError
from shared.hashing import digest

RING_BITS: Final = 64  # k: secrets are numbers mod 2^64
COUNT_LIMIT: Final = 1 << 32
ELEMENT_LIMIT: Final = 1 << 24
CORRECTIONS_GOAL: Final = 512 << 10  # bytes of a chunk, at most
KEYS_GOAL: Final = 2 << 20
KINDS_LIMIT: Final = 256
CLIENTS_LIMIT: Final = 64

# Pseudorandom domains (encodings E2): 1 is ALPHA; those of the kind number p of a plan begin at
# DOMAIN_BASE + DOMAIN_STEP p.
DOMAIN_BASE: Final = 1 << 12
DOMAIN_STEP: Final = 16
VALUE, MAC, HIDDEN, ROOT = 0, 1, 2, 3


class Family(IntEnum):
    """What the elements of an item are to each other. r, a, b are uniform in Z_{2^128}."""

    MASK = 1  # r, to hide the bits above bit k of an output
    INPUT = 2  # r, which one party knows; parameter: that party
    TRIPLE = 3  # a, b, ab
    SQUARE = 4  # a, a^2
    MATMUL = 5  # A (n, m), B (m, p), AB; parameters n, m, p
    BITS = 6  # so many uniform bits; parameter: how many
    SIGN = 7  # r, a bit b; a tag key: whether z - r mod 2^64 is negative, xor b
    ZERO = 8  # r; a point key: whether z = r mod 2^64
    TRUNCATION = 9  # r, (r mod 2^64) >> f; keys: z < r mod 2^64, z < r mod 2^f; parameter f
    CLIENT = 10  # r, which an outside client knows; parameter: the number of the client
    FIXED = 11  # B (m, 1), A B for the one A (n, m) of the session; parameters n, m
    FIXED_LEFT = 12  # the A of FIXED; parameters n, m


_PARAMETERS: Final[Mapping[Family, int]] = {
    Family.INPUT: 1,
    Family.MATMUL: 3,
    Family.BITS: 1,
    Family.TRUNCATION: 1,
    Family.CLIENT: 1,
    Family.FIXED: 2,
    Family.FIXED_LEFT: 2,
}


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """One kind of material: a family and its parameters (zero where there is none).

    Raises RangeError for parameters that the family does not have.
    """

    family: Family
    p: int = 0
    q: int = 0
    r: int = 0

    def __post_init__(self) -> None:
        wanted = _PARAMETERS.get(self.family, 0)
        given = (self.p, self.q, self.r)
        if any(given[wanted:]):
            raise RangeError(f"{self.family.name.lower()}: expected {wanted} parameters")
        low, high = {
            Family.INPUT: (0, 1),
            Family.CLIENT: (0, CLIENTS_LIMIT - 1),
            Family.BITS: (1, RING_BITS),
            Family.TRUNCATION: (1, RING_BITS - 2),
        }.get(self.family, (1, ELEMENT_LIMIT))
        if not all(low <= value <= high for value in given[:wanted]):
            raise RangeError(f"{self}: expected parameters from {low} to {high}")
        if self.elements > ELEMENT_LIMIT:
            raise RangeError(f"{self}: {self.elements} elements, expected up to {ELEMENT_LIMIT}")

    def __str__(self) -> str:
        given = (self.p, self.q, self.r)[: _PARAMETERS.get(self.family, 0)]
        name = self.family.name.lower().replace("_", "-")
        return ":".join([name, "x".join(map(str, given))]) if given else name

    @property
    def uniform(self) -> int:
        """Authenticated elements of an item that are uniform; they come first."""
        family = self.family
        if family is Family.TRIPLE:
            return 2
        if family is Family.BITS:
            return 0
        if family is Family.MATMUL:
            return self.p * self.q + self.q * self.r
        if family is Family.FIXED:
            return self.q
        if family is Family.FIXED_LEFT:
            return self.p * self.q
        return 1

    @property
    def derived(self) -> int:
        """Authenticated elements of an item that depend on others."""
        return {
            Family.TRIPLE: 1,
            Family.SQUARE: 1,
            Family.TRUNCATION: 1,
            Family.SIGN: 1,
            Family.BITS: self.p,
            Family.MATMUL: self.p * self.r,
            Family.FIXED: self.p,
        }.get(self.family, 0)

    @property
    def elements(self) -> int:
        """Authenticated elements of an item."""
        return self.uniform + self.derived

    @property
    def hidden(self) -> int:
        """Uniform elements without a MAC from which the dealer takes its choice."""
        return 1 if self.family in (Family.BITS, Family.SIGN) else 0

    @property
    def tags(self) -> TagShape | None:
        """The key of an item whose output is a tag, where there is one."""
        return TagShape(RING_BITS - 1) if self.family is Family.SIGN else None

    @property
    def keys(self) -> tuple[KeyShape, ...]:
        """Keys of an item whose outputs are ring elements."""
        if self.family is Family.ZERO:
            return (KeyShape(RING_BITS, comparison=False),)
        if self.family is Family.TRUNCATION:
            return (KeyShape(RING_BITS, comparison=True), KeyShape(self.p, comparison=True))
        return ()

    @property
    def wide(self) -> bool:
        """Whether arrays of items hold one item after the other, or one element after the other."""
        return self.family in (Family.MATMUL, Family.BITS, Family.FIXED, Family.FIXED_LEFT)

    def correction_bytes(self, party: int) -> int:
        """Bytes of an item's corrections in this party's file.

        P0 has its MAC shares of uniform elements, P1 its shares and MAC shares of derived ones.
        """
        return 16 * self.uniform if party == 0 else 32 * self.derived

    @property
    def key_bytes(self) -> int:
        """Bytes of an item's keys, in both files."""
        tags = self.tags.key_bytes if self.tags is not None else 0
        return tags + sum(shape.key_bytes for shape in self.keys)

    def shape(self, first: int, count: int) -> tuple[int, int, int]:
        """The array that `count` elements of `first` items fill."""
        return (first, count, 2) if self.wide else (count, first, 2)

    @property
    def correction_step(self) -> int:
        """Items in a chunk of corrections, of either party."""
        return _step(max(map(self.correction_bytes, (0, 1))), CORRECTIONS_GOAL)

    @property
    def key_step(self) -> int:
        """Items in a chunk of keys: whole tiles."""
        return max(KEY_TILE, _step(self.key_bytes, KEYS_GOAL)) if self.key_bytes else 0


MASK: Final = Kind(Family.MASK)
INPUTS: Final = (Kind(Family.INPUT, 0), Kind(Family.INPUT, 1))
TRIPLE: Final = Kind(Family.TRIPLE)
SQUARE: Final = Kind(Family.SQUARE)
SIGN: Final = Kind(Family.SIGN)
ZERO: Final = Kind(Family.ZERO)
RANDOM_BIT: Final = Kind(Family.BITS, 1)
DECOMPOSED: Final = Kind(Family.BITS, RING_BITS)


def client(number: int) -> Kind:
    """Masks of an outside client, by its number."""
    return Kind(Family.CLIENT, number)


def fixed(n: int, m: int) -> Kind:
    """Products of the session's one (n, m) matrix of this size by vectors of m."""
    return Kind(Family.FIXED, n, m)


def matmul(n: int, m: int, p: int) -> Kind:
    """Products of (n, m) by (m, p) matrices; dot products are (1, m) by (m, 1)."""
    return Kind(Family.MATMUL, n, m, p)


def truncation(bits: int) -> Kind:
    """Division by 2^bits, 1 to 62."""
    return Kind(Family.TRUNCATION, bits)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many items of each kind a session's material has; kinds ascending, each once.

    Raises FormatError or RangeError for anything else.
    """

    counts: tuple[tuple[Kind, int], ...]

    def __post_init__(self) -> None:
        kinds = [kind for kind, _ in self.counts]
        if not kinds or len(kinds) > KINDS_LIMIT or kinds != sorted(set(kinds)):
            raise FormatError(
                f"plan: expected 1 to {KINDS_LIMIT} kinds in ascending order, each once"
            )
        for kind, count in self.counts:
            if not 1 <= count < COUNT_LIMIT:
                raise RangeError(f"plan: found {count} items of {kind}, expected 1 to 2^32 - 1")
        for left in (kind for kind in kinds if kind.family is Family.FIXED_LEFT):
            if self.count(left) != 1:
                raise RangeError(f"plan: expected one item of {left}")
        for kind in (kind for kind in kinds if kind.family is Family.FIXED):
            if self.count(left_of(kind)) != 1:
                raise RangeError(f"plan: {kind} needs one item of {left_of(kind)}")

    def count(self, kind: Kind) -> int:
        """Items of this kind; 0 where there is none."""
        return next((count for found, count in self.counts if found == kind), 0)

    def domain(self, kind: Kind, use: int) -> int:
        """The pseudorandom domain of a kind's VALUE, MAC, HIDDEN or ROOT + number of the key."""
        number = [found for found, _ in self.counts].index(kind)
        return DOMAIN_BASE + DOMAIN_STEP * number + use

    def digest(self) -> bytes:
        """32 bytes that name the plan."""
        return digest("engine plan", *(value for row in self.rows() for value in row))

    def rows(self) -> list[list[int]]:
        """A plain list for headers: family, three parameters, count."""
        return [[int(k.family), k.p, k.q, k.r, count] for k, count in self.counts]

    def streams(self, party: int) -> Iterator[Stream]:
        """The sequences of chunks in this party's file, in their order."""
        number = 0
        for kind, count in self.counts:
            for size, step, keys in (
                (kind.correction_bytes(party), kind.correction_step, False),
                (kind.key_bytes, kind.key_step, True),
            ):
                if size:
                    yield Stream(number, kind, count, size, step, keys)
                number += 1


@dataclass(frozen=True, slots=True)
class Stream:
    """One sequence of chunks: the corrections or the keys of all items of a kind.

    number: in nonce and associated data. item_bytes: of an item. step: items in a full chunk.
    """

    number: int
    kind: Kind
    count: int
    item_bytes: int
    step: int
    keys: bool

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.count // self.step)

    def items(self, chunk: int) -> int:
        """Items in this chunk; the last one may have fewer."""
        return min(self.step, self.count - chunk * self.step)


def parse_kind(text: str) -> Kind:
    """The kind that this text names, as `str` of a kind does: triple, matmul:3x3x3, input:0.

    Raises InputError, RangeError.
    """
    name, colon, given = text.partition(":")
    names = {family.name.lower().replace("_", "-"): family for family in Family}
    if name not in names:
        raise InputError(f"kind {text!r:.40}: expected one of {', '.join(names)}")
    numbers = given.split("x") if colon else []
    wanted = _PARAMETERS.get(names[name], 0)
    readable = all(re.fullmatch("[0-9]{1,9}", number) for number in numbers)
    if not readable or len(numbers) != wanted:
        raise InputError(
            f"kind {text!r:.40}: expected {wanted} numbers after the name, as in matmul:3x4x5"
        )
    return Kind(names[name], *map(int, numbers))


def plan(counts: Mapping[Kind, int]) -> Plan:
    """A plan of these kinds and counts; kinds with count 0 are left out."""
    return Plan(tuple(sorted((kind, count) for kind, count in counts.items() if count)))


def plan_of_rows(rows: object) -> Plan:
    """The inverse of `Plan.rows`. Raises FormatError, RangeError."""
    if not isinstance(rows, list):
        raise FormatError("plan: expected a list")
    found = []
    for row in rows:
        if (
            not isinstance(row, list)
            or len(row) != 5
            or any(type(value) is not int for value in row)
        ):
            raise FormatError("plan: expected rows of five integers")
        try:
            family = Family(row[0])
        except ValueError:
            raise FormatError(f"plan: unknown family {row[0]}") from None
        found.append((Kind(family, *row[1:4]), row[4]))
    return Plan(tuple(found))


def left_of(kind: Kind) -> Kind:
    """The one left matrix that products of a FIXED kind share."""
    return Kind(Family.FIXED_LEFT, kind.p, kind.q)


def _step(size: int, goal: int) -> int:
    """The largest power of two of items that fill so many bytes at most, at least one."""
    fits = max(1, goal // max(size, 1))
    return 1 << (fits.bit_length() - 1)
