"""Both comparison protocols against NumPy, on edges of the range and at random."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from party.engine import (
    EngineSession,
    argmin,
    compare_bits,
    compare_dcf,
    equal,
    is_zero,
    less_than,
    select,
    top1,
    truncate,
)
from shared.engine_plan import DECOMPOSED, INPUTS, MASK, SIGN, TRIPLE, ZERO, truncation
from tests.engine_support import Stage

I64 = NDArray[np.int64]
EDGES = [0, 1, -1, 2, -2, 2**63 - 1, -(2**63), -(2**63) + 1, 2**62, -(2**62), 2**32, -(2**32)]
PAIRS = np.array(list(itertools.product(EDGES, EDGES)), dtype=np.int64).T
RANDOM = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, (2, 60), dtype=np.int64)
X, Y = np.concatenate([PAIRS, RANDOM], axis=1)


def test_both_protocols_agree_with_the_sign_on_the_whole_range(stage: Stage) -> None:
    def program(session: EngineSession) -> list[I64]:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        return session.open_all(
            session.together(compare_dcf.is_negative(x), compare_bits.is_negative(x))
        )

    n = X.size
    counts = {INPUTS[0]: n, SIGN: n, DECOMPOSED: n, TRIPLE: 120 * n, MASK: 3 * n}
    (by_key, by_bits), _ = stage.honest(counts, program)
    assert np.array_equal(by_key, X < 0)
    assert np.array_equal(by_bits, X < 0)


def test_less_than_equality_and_selection_hold_where_the_difference_overflows(
    stage: Stage,
) -> None:
    def program(session: EngineSession) -> list[I64]:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        y = session.input(1, Y.shape, Y if session.party == 1 else None)
        less, same, none = session.together(less_than(x, y), equal(x, y), is_zero(x))
        return session.open_all([less, same, none, session.run(select(less, x, y))])

    n = X.size
    counts = {INPUTS[0]: n, INPUTS[1]: n, SIGN: 3 * n, ZERO: 2 * n, TRIPLE: 3 * n, MASK: 4 * n}
    (less, same, none, smaller), _ = stage.honest(counts, program)
    assert np.array_equal(less, X < Y)
    assert np.array_equal(same, X == Y)
    assert np.array_equal(none, X == 0)
    assert np.array_equal(smaller, np.minimum(X, Y))


def test_less_than_on_dealt_bits_agrees(stage: Stage) -> None:
    x, y = X[:: len(X) // 20], Y[:: len(X) // 20]
    n = x.size

    def program(session: EngineSession) -> I64:
        a = session.input(0, x.shape, x if session.party == 0 else None)
        b = session.input(1, y.shape, y if session.party == 1 else None)
        return session.open(session.run(less_than(a, b, compare_bits.is_negative)))

    counts = {
        INPUTS[0]: n,
        INPUTS[1]: n,
        DECOMPOSED: 3 * n,
        TRIPLE: 362 * n,
        MASK: 4 * n,
    }
    found, _ = stage.honest(counts, program)
    assert np.array_equal(found, x < y)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8])
def test_the_smallest_and_the_largest_are_those_of_numpy_and_ties_go_to_the_first(
    stage: Stage, length: int
) -> None:
    rng = np.random.default_rng(length)
    x = np.concatenate([rng.integers(-2, 2, (6, length)), rng.choice(EDGES, (6, length))])

    def program(session: EngineSession) -> list[I64]:
        a = session.input(0, x.shape, x if session.party == 0 else None)
        least, most = session.together(argmin(a), top1(a))
        return session.open_all([*least, *most])

    n = x.size
    counts = {INPUTS[0]: n, SIGN: 6 * n, TRIPLE: 8 * n, MASK: 4 * n}
    found, _ = stage.honest(counts, program)
    expected = [x.argmin(1), x.min(1), x.argmax(1), x.max(1)]
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("bits", [1, 12, 16, 40, 62])
def test_truncation_is_the_exact_arithmetic_shift(stage: Stage, bits: int) -> None:
    def program(session: EngineSession) -> I64:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        return session.open(session.run(truncate(x, bits)))

    n = X.size
    found, _ = stage.honest({INPUTS[0]: n, truncation(bits): n, MASK: n}, program)
    assert np.array_equal(found, X >> bits)


@pytest.mark.parametrize("width", [3, 4, 5])
def test_the_argument_for_two_sign_bits_holds_for_every_pair_of_a_small_ring(width: int) -> None:
    """The steps of `less_than` on k-bit numbers in the clear, and why they are right."""
    size, half = 1 << width, 1 << (width - 1)
    for x, y in itertools.product(range(-half, half), repeat=2):
        a, b = int(x < 0), int(y < 0)
        difference = (x - y + half) % size - half
        c = int(difference < 0)
        h = a ^ b
        if h == 0:  # same signs: the difference fits, so its sign tells
            assert difference == x - y
        else:  # a negative number is the smaller one
            assert (x < y) == bool(a)
        assert a - a * b + (2 * a * b - a - b + 1) * c == int(x < y)


@pytest.mark.parametrize("width", [3, 4, 5])
def test_the_identity_of_the_sign_holds_for_every_mask_of_a_small_ring(width: int) -> None:
    size, half = 1 << width, 1 << (width - 1)
    for x, r in itertools.product(range(size), repeat=2):
        z = (x + r) % size
        u = (r // half) ^ int(z % half < r % half)
        assert x // half == (z // half) ^ u


@pytest.mark.parametrize("width", [4, 5])
def test_the_identity_of_truncation_holds_for_every_mask_of_a_small_ring(width: int) -> None:
    size, half = 1 << width, 1 << (width - 1)
    for x, r, f in itertools.product(range(-half, half), range(size), range(1, width - 1)):
        z = (x + half + r) % size
        low = 1 << f
        found = (z >> f) - (r >> f) - int(z % low < r % low) + (size >> f) * int(z < r)
        assert found - (half >> f) == x >> f
