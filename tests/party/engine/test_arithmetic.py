"""Values in and out, linear operations and products, against NumPy's wrapping arithmetic."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from party.engine import (
    EngineSession,
    SharedArray,
    concatenate,
    dot,
    matmul,
    multiply,
    random_bits,
    square,
)
from party.engine.arrays import MacKey, to_ring
from shared.engine_plan import INPUTS, MASK, RANDOM_BIT, SQUARE, TRIPLE, Kind
from shared.engine_plan import matmul as matmul_kind
from shared.errors import InputError, RangeError
from tests.engine_support import Stage

I64 = NDArray[np.int64]
EDGES = [0, 1, -1, 2, -2, 2**63 - 1, -(2**63), 2**62, -(2**62), 2**31, -(2**31) - 1]


def wide(rng: np.random.Generator, *shape: int) -> I64:
    return rng.integers(-(2**63), 2**63 - 1, shape, dtype=np.int64, endpoint=True)


def inputs(session: EngineSession, x: I64, y: I64) -> tuple[SharedArray, SharedArray]:
    """x from P0, y from P1."""
    a = session.input(0, x.shape, x if session.party == 0 else None)
    b = session.input(1, y.shape, y if session.party == 1 else None)
    return a, b


def masks(*arrays: I64, outputs: int) -> dict[Kind, int]:
    return {INPUTS[0]: arrays[0].size, INPUTS[1]: arrays[1].size, MASK: outputs}


def test_linear_operations_wrap_as_64_bit_numbers_do(stage: Stage) -> None:
    rng = np.random.default_rng(1)
    x, y = wide(rng, 4, 11), wide(rng, 4, 11)
    x[0], y[0] = EDGES, EDGES[::-1]
    p = wide(rng, 11)

    def program(session: EngineSession) -> list[I64]:
        a, b = inputs(session, x, y)
        return session.open_all(
            [
                a + b,
                a - b,
                -a,
                a + p,
                p - a,
                a * p,
                3 * a - 7,
                a.sum(0),
                a.sum(),
                a[1:, 2],
                concatenate([a, b])[5],
                a.transpose(),
                session.public(p) + b,
            ]
        )

    found, same = stage.honest(masks(x, y, outputs=500), program)
    with np.errstate(over="ignore"):
        expected = [
            x + y,
            x - y,
            -x,
            x + p,
            p - x,
            x * p,
            3 * x - 7,
            x.sum(0),
            x.sum(),
            x[1:, 2],
            np.concatenate([x, y])[5],
            x.T,
            p + y,
        ]
    for a, b, c in zip(found, same, expected, strict=True):
        assert np.array_equal(a, c)
        assert np.array_equal(b, c)


def test_products_squares_dots_and_matrix_products_are_those_of_numpy(stage: Stage) -> None:
    rng = np.random.default_rng(2)
    x, y = wide(rng, 3, 11), wide(rng, 3, 11)
    x[0], y[0] = EDGES, EDGES[::-1]

    def program(session: EngineSession) -> list[I64]:
        a, b = inputs(session, x, y)
        batches = a.reshape(3, 1, 11), b.reshape(3, 11, 1)
        return session.open_all(
            session.together(
                multiply(a, b),
                multiply(a, b[0]),
                square(a),
                dot(a, b),
                matmul(a, b.transpose()),
                matmul(*batches),
            )
        )

    counts = masks(x, y, outputs=200) | {
        TRIPLE: 66,
        SQUARE: 33,
        matmul_kind(1, 11, 1): 6,
        matmul_kind(3, 11, 3): 1,
    }
    found, _ = stage.honest(counts, program)
    with np.errstate(over="ignore"):
        sums = (x * y).sum(1)
        expected = [x * y, x * y[0], x * x, sums, x @ y.T, sums.reshape(3, 1, 1)]
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b)


def test_products_of_products_and_values_after_an_output_are_right(stage: Stage) -> None:
    x, y = np.array([3, -4, 5]), np.array([7, 8, -9])

    def program(session: EngineSession) -> tuple[I64, I64, int]:
        a, b = inputs(session, x, y)
        c = session.run(multiply(a, b))
        first = session.open(c)
        second = session.open(session.run(multiply(c, c + a)))
        return first, second, session.unchecked

    found, _ = stage.honest(masks(x, y, outputs=6) | {TRIPLE: 6}, program)
    assert np.array_equal(found[0], x * y)
    assert np.array_equal(found[1], x * y * (x * y + x))
    assert found[2] == 0


def test_a_matrix_larger_than_one_message_arrives_whole(stage: Stage) -> None:
    x = np.arange(300_000)

    def program(session: EngineSession) -> Any:
        a = session.input(0, x.shape, x if session.party == 0 else None)
        session.check()
        return session.open(a.reshape(3, 100_000).sum(1)), session.counters.bytes

    found, same = stage.honest({INPUTS[0]: x.size, MASK: 3}, program)
    assert np.array_equal(found[0], x.reshape(3, -1).sum(1))
    assert np.array_equal(same[0], found[0])
    assert found[1] == 16 * x.size + 3 * 32


def test_random_bits_are_bits_that_differ(stage: Stage) -> None:
    def program(session: EngineSession) -> I64:
        return session.open(session.run(random_bits((10, 30))))

    found, same = stage.honest({RANDOM_BIT: 300, MASK: 300}, program)
    assert found.shape == (10, 30)
    assert set(found.ravel().tolist()) == {0, 1}
    assert 90 < found.sum() < 210
    assert np.array_equal(found, same)


def key() -> MacKey:
    return MacKey(0, np.array([1, 2], dtype=np.uint64), np.array([3], dtype=np.uint64))


def array(*shape: int, of: MacKey | None = None) -> SharedArray:
    zeros = np.zeros((*shape, 2), dtype=np.uint64)
    return SharedArray(of or key(), zeros, zeros.copy())


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda k: array(3, of=k) + array(4, of=k), r"\(3,\) and \(4,\)"),
        (lambda k: array(3, of=k) - np.zeros(2, dtype=np.int64), "do not fit"),
        (lambda k: multiply(array(3, of=k), array(2, 4, of=k)), "do not fit"),
        (lambda k: matmul(array(3, 4, of=k), array(3, 4, of=k)), "do not fit"),
        (lambda k: matmul(array(3, of=k), array(3, of=k)), "two matrices"),
        (lambda k: dot(array(3, of=k), array(4, of=k)), "two equal ones"),
        (lambda k: array(3, of=k).sum(1), "axis 1"),
        (lambda k: array(3, of=k).reshape(2, 2), "shape"),
        (lambda k: array(3, of=k)[5], "out of bounds"),
        (lambda k: array(3, of=k).transpose(), "two axes"),
        (lambda k: array(3, of=k) + np.zeros(3), "expected integers"),
        (lambda k: array(3, of=k) * ["a"], "expected integers"),
        (lambda k: operator.mul(array(3, of=k), array(3, of=k)), "takes a round"),
        (lambda k: array(3, of=k) + array(3), "two sessions"),
        (lambda k: multiply(array(3, of=k), array(3)), "two sessions"),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_refused(act: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        act(key())


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**200])
def test_numbers_out_of_range_are_refused_and_never_wrapped(value: int) -> None:
    with pytest.raises(RangeError):
        to_ring([value])
    with pytest.raises(RangeError):
        array(1) + value


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8))
@settings(max_examples=50)
def test_integers_are_extended_with_their_sign(values: list[int]) -> None:
    words = to_ring(np.array(values, dtype=np.int64)).tolist()
    assert [(low | high << 64) for low, high in words] == [v % 2**128 for v in values]


def test_a_shared_array_shows_nothing_and_is_neither_true_nor_equal() -> None:
    one = array(2)
    assert repr(one) == "SharedArray(shape=(2,))"
    assert "alpha" not in repr(one.key)
    with pytest.raises(TypeError):
        bool(one)
    with pytest.raises(TypeError):
        _ = one == one
