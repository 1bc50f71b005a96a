"""Operations as pure coroutines: they ask for rounds and never do I/O themselves.

An operation yields the requests of a round and is sent the replies; several run side by side and
share their rounds. What it costs is declared before it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from party.engine.arrays import MacKey
from party.engine.material import Items
from shared.engine_plan import Kind

U64 = NDArray[np.uint64]
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Opening:
    """Shares to be opened; the reply is the opened elements. value, mac: (n, 2) uint64.

    Both arrays become the session's, which writes the opened elements over `value`: hand over what
    was made for this opening, and is contiguous.
    """

    value: U64 = field(repr=False)
    mac: U64 = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sending:
    """Elements that one party sends and both then have. data: (count, 2) at that party."""

    sender: int
    count: int
    data: U64 | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class BitOpening:
    """Authenticated bits to be opened; the reply is the bits, (n,) uint64 of 0 and 1.

    tags: (n,) uint64, this party's shares, of which the least bits are sent. They become the
    session's, which writes over them.
    """

    tags: U64 = field(repr=False)

    @property
    def elements(self) -> int:
        """Ring elements whose place the packed bits of one party take."""
        return bit_elements(len(self.tags))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Public data that both parties must hold alike, by its digest; no elements are sent."""

    digest: bytes


Request = Opening | BitOpening | Sending | Agreement
Steps = Generator[tuple[Request, ...], tuple[U64, ...], T_co]


def bit_elements(count: int) -> int:
    """Ring elements that have room for so many bits."""
    return -(-count // 128)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation takes: rounds, bytes of ring elements that both parties send together
    (without the fixed header of a message), and items of material."""

    rounds: int = 0
    bytes: int = 0
    material: Mapping[Kind, int] = field(default_factory=dict)

    def then(self, *others: Cost) -> Cost:
        """One after the other."""
        return _join([self, *others], self.rounds + sum(other.rounds for other in others))

    def beside(self, *others: Cost) -> Cost:
        """At the same time, in shared rounds."""
        return _join([self, *others], max([self.rounds, *(other.rounds for other in others)]))


def _join(costs: Sequence[Cost], rounds: int) -> Cost:
    material: dict[Kind, int] = {}
    for cost in costs:
        for kind, count in cost.material.items():
            material[kind] = material.get(kind, 0) + count
    return Cost(rounds, sum(cost.bytes for cost in costs), material)


class Context(Protocol):
    """What an operation gets from its session."""

    @property
    def key(self) -> MacKey:
        """This party's share of the MAC key."""

    def take(self, kind: Kind, count: int, at: int | None = None) -> Items:
        """The next items of a kind, or a client's `at` this place, once and for all."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[T_co]):
    """What is to be done, what it costs, and the coroutine that does it."""

    cost: Cost
    start: Callable[[Context], Steps[T_co]]


def beside(steps: Sequence[Steps[Any]]) -> Steps[list[Any]]:
    """Runs coroutines side by side: in each round the requests of all that still run."""
    results: list[Any] = [None] * len(steps)
    waiting: dict[int, tuple[Request, ...]] = {}

    def advance(number: int, replies: tuple[U64, ...] | None) -> None:
        try:
            step = steps[number]
            waiting[number] = next(step) if replies is None else step.send(replies)
        except StopIteration as end:
            waiting.pop(number, None)
            results[number] = end.value

    for number in range(len(steps)):
        advance(number, None)
    while waiting:
        order = sorted(waiting)
        replies = yield tuple(request for number in order for request in waiting[number])
        at = 0
        for number in order:
            count = len(waiting[number])
            advance(number, replies[at : at + count])
            at += count
    return results
