"""Who is looked for and who is seen: vectors, the list after each change, and the plain answer."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from shared.fixedpoint import plaintext_matches, quantise
from shared.params import Parameters
from shared.watchlist import Person
from tests.processes.endurance.plan import RETURNS, ROTATING, VECTORS, Plan

POOL = 2048
_NORM = 1.5
_NEAR = (0.45, 0.75)  # around the threshold's 0.6
_STEP = 7919  # a prime, so that every face of the pool has its turn


@dataclass(frozen=True)
class Crowd:
    """names: of every entry that is ever on the list. entries: (E, d), pool: (POOL, d) int64.

    answers: for each face of the pool the names that it matches, of all that there ever are.
    """

    names: tuple[str, ...]
    people: dict[str, Person]
    pool: NDArray[np.int64]
    answers: tuple[frozenset[str], ...]
    base: int

    def listed(self, change: int) -> tuple[str, ...]:
        """The names on the list after so many changes."""
        return (*self.names[: self.base], *_rotating(self.names[self.base :], change))


def make_crowd(plan: Plan) -> Crowd:
    """Half of the faces are near an entry, a sixth of these at T - 1, T or T + 1 exactly."""
    rng = np.random.default_rng(plan.seed)
    params = plan.parameters()
    names = tuple(
        [f"base {number}" for number in range(plan.base)]
        + [f"comes and goes {number}" for number in range(VECTORS)]
    )
    listed = (_directions(rng, len(names), params.dim) * _NORM).astype(np.float32)
    entries = quantise(listed, params.fraction_bits)
    seen = _directions(rng, POOL, params.dim) * _NORM
    near = np.arange(0, POOL, 2)
    # Those that come and go are seen more often than the others.
    weights = np.ones(len(names))
    weights[plan.base :] = 4
    whom = rng.choice(len(names), len(near), p=weights / weights.sum())
    away = _directions(rng, len(near), params.dim) * rng.uniform(*_NEAR, (len(near), 1))
    seen[near] = listed[whom] + away
    pool = quantise(seen, params.fraction_bits)
    for count, (row, entry) in enumerate(zip(near[::6], whom[::6], strict=True)):
        pool[row] = entries[entry] + _at(params, params.threshold - 1 + count % 3)
    answers = plaintext_matches(pool, entries, params.threshold)
    return Crowd(
        names,
        {name: Person.of(name, row) for name, row in zip(names, listed, strict=True)},
        pool,
        tuple(frozenset(names[e] for e in np.flatnonzero(row)) for row in answers),
        plan.base,
    )


def first_row(captured_ms: int) -> int:
    """Which face of the pool is the first one of a frame; the others follow it."""
    return captured_ms * _STEP % POOL


def rows(captured_ms: int, faces: int) -> NDArray[np.intp]:
    """The faces of a frame, by their place in the pool."""
    return (first_row(captured_ms) + np.arange(faces)) % POOL


def _rotating(names: tuple[str, ...], change: int) -> tuple[str, ...]:
    """Each change takes the oldest one off the list and puts one on it, now and then a former."""
    present = list(names[:ROTATING])
    former: list[str] = []
    fresh = ROTATING
    for number in range(1, change + 1):
        former.append(present.pop(0))
        if number % RETURNS == 0:
            present.append(former.pop(-2))
            continue
        while names[fresh % len(names)] in present:
            fresh += 1
        name = names[fresh % len(names)]
        fresh += 1
        present.append(name)
        former = [one for one in former if one != name]
    return tuple(present)


def _at(params: Parameters, square: int) -> NDArray[np.int64]:
    """(d,) int64 whose squared norm is this: a sum of four squares, searched from above."""
    found = np.zeros(params.dim, dtype=np.int64)
    for first in range(isqrt(square), 0, -1):
        rest = square - first * first
        second = isqrt(rest)
        rest -= second * second
        third = isqrt(rest)
        rest -= third * third
        fourth = isqrt(rest)
        if fourth * fourth == rest:
            found[:4] = (first, second, third, fourth)
            return found
    raise AssertionError(f"{square} was not split into four squares")


def _directions(rng: np.random.Generator, count: int, dim: int) -> NDArray[np.float64]:
    vectors = rng.standard_normal((count, dim))
    found: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
