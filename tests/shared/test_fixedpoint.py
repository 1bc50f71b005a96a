"""Fixed point: rounding, exact range checks, and the two linear forms of encodings E6."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared import fixedpoint
from shared.errors import RangeError
from shared.params import Parameters, for_bounds

I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1


def small_params(dim: int, bound: int = 7000) -> Parameters:
    return Parameters(
        dim=dim,
        fraction_bits=12,
        headroom_bits=5,
        places=4,
        threshold=100,
        face_bound=bound,
        entry_bound=bound,
        model="any",
    )


def test_halves_are_rounded_to_even() -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999]) / 4096
    assert fixedpoint.quantise(values, 12).tolist() == [0, 2, 2, 0, -2, 0]


def test_float32_is_upcast_before_it_is_scaled() -> None:
    value = np.float32(0.1)
    assert int(fixedpoint.quantise(value, 15)) == round(float(value) * 32768)
    rows = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    expected = [[round(float(v) * 4096) for v in row] for row in rows]
    assert fixedpoint.quantise(rows, 12).tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, 2.0**19, -(2.0**19)])
def test_what_no_integer_stands_for_is_refused(bad: float) -> None:
    with pytest.raises(RangeError):
        fixedpoint.quantise(np.array([[0.0, bad]]), 12)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex128, np.longdouble, object])
def test_only_floats_are_quantised(dtype: type) -> None:
    with pytest.raises(RangeError, match="dtype"):
        fixedpoint.quantise(np.zeros((1, 2), dtype=dtype), 12)


coordinate = st.one_of(
    st.integers(-4, 4), st.integers(I64_MIN, I64_MAX), st.sampled_from([I64_MIN, I64_MAX, 1 << 32])
)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=4), st.integers(0, 65536))
def test_the_norm_check_is_exact_for_every_int64(
    rows: list[tuple[int, int, int]], bound: int
) -> None:
    vectors = np.array(rows, dtype=np.int64).reshape(-1, 3)
    expected = [sum(v * v for v in row) <= bound * bound for row in rows]
    assert fixedpoint.within_norm(vectors, bound).tolist() == expected


def test_a_norm_at_the_bound_passes_and_one_above_is_refused() -> None:
    params = small_params(2, bound=5000)
    at_bound = np.array([[0, 0], [3000, -4000]], dtype=np.int64)
    fixedpoint.check_faces(at_bound, params)
    fixedpoint.check_entries(at_bound, params)
    above = at_bound + np.array([0, -1])
    with pytest.raises(RangeError, match="face 1"):
        fixedpoint.check_faces(above, params)
    with pytest.raises(RangeError, match="entry 1"):
        fixedpoint.check_entries(above, params)


def test_the_error_shows_no_coordinate() -> None:
    with pytest.raises(RangeError) as caught:
        fixedpoint.check_faces(np.array([[54321, 0]], dtype=np.int64), small_params(2))
    assert "54321" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((1, 3), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros((1, 2), dtype=np.int32),
        np.zeros((1, 2), dtype=np.float64),
    ],
)
def test_another_shape_or_dtype_is_refused(bad: NDArray[np.int64]) -> None:
    with pytest.raises(RangeError):
        fixedpoint.check_faces(bad, small_params(2))


@pytest.mark.parametrize(("threshold", "good"), [(-1, False), (0, True), (64, True), (65, False)])
def test_the_threshold_ends_at_half_the_ring(threshold: int, good: bool) -> None:
    if good:
        fixedpoint.check_threshold(threshold, 7)
    else:
        with pytest.raises(RangeError):
            fixedpoint.check_threshold(threshold, 7)


@given(st.lists(st.tuples(coordinate, coordinate), max_size=4))
def test_face_input_is_right_mod_2_32(rows: list[tuple[int, int]]) -> None:
    faces = np.array(rows, dtype=np.int64).reshape(-1, 2)
    expected = [[x % 2**32, y % 2**32, (x * x + y * y) % 2**32] for x, y in rows]
    found = fixedpoint.face_input(faces)
    assert found.dtype == np.uint32
    assert found.shape == (len(rows), 3)
    assert found.tolist() == expected


def test_both_linear_forms_give_the_distance() -> None:
    rng = np.random.default_rng(2)
    faces = rng.integers(-3000, 3000, size=(6, 5), dtype=np.int64)
    entries = rng.integers(-3000, 3000, size=(4, 5), dtype=np.int64)
    ch, constant = fixedpoint.entry_matrix(entries)
    assert ch.dtype == np.int32
    product = fixedpoint.face_input(faces).astype(np.int64) @ ch.T.astype(np.int64)
    distances = (product + constant) % 2**29
    expected = ((faces[:, None, :] - entries) ** 2).sum(axis=2)
    assert (distances == expected).all()


def test_the_largest_entry_coordinates_fit() -> None:
    entries = np.full((1, 4096), 1 << 16, dtype=np.int64)
    ch, constant = fixedpoint.entry_matrix(entries)
    assert ch[0, 0] == -(1 << 17)
    assert constant[0] == 1 << 44
    with pytest.raises(RangeError):
        fixedpoint.entry_matrix(np.array([[I64_MIN]], dtype=np.int64))


limited = st.one_of(st.integers(-3, 3), st.integers(-65536, 65536))


@given(
    st.lists(st.tuples(limited, limited), min_size=1, max_size=4),
    st.lists(st.tuples(limited, limited), min_size=1, max_size=4),
    st.integers(-1, 1),
)
def test_plaintext_matches_are_exact_around_the_threshold(
    faces: list[tuple[int, int]], entries: list[tuple[int, int]], offset: int
) -> None:
    distances = [[(x - a) ** 2 + (y - b) ** 2 for a, b in entries] for x, y in faces]
    threshold = distances[0][0] + offset
    found = fixedpoint.plaintext_matches(
        np.array(faces, dtype=np.int64), np.array(entries, dtype=np.int64), threshold
    )
    assert found.tolist() == [[value < threshold for value in row] for row in distances]


def test_plaintext_matches_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    faces = rng.integers(-2000, 2000, size=(37, 16), dtype=np.int64)
    entries = rng.integers(-2000, 2000, size=(5, 16), dtype=np.int64)
    whole = fixedpoint.plaintext_matches(faces, entries, 40_000_000)
    assert 0 < whole.sum() < whole.size
    monkeypatch.setattr(fixedpoint, "_BLOCK", 11)
    assert (fixedpoint.plaintext_matches(faces, entries, 40_000_000) == whole).all()


@pytest.mark.parametrize(("faces", "entries"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_compare_gives_an_empty_answer(faces: int, entries: int) -> None:
    found = fixedpoint.plaintext_matches(
        np.zeros((faces, 4), dtype=np.int64), np.zeros((entries, 4), dtype=np.int64), 1
    )
    assert found.shape == (faces, entries)


def test_faces_and_entries_of_different_dimension_are_refused() -> None:
    with pytest.raises(RangeError, match="coordinates"):
        fixedpoint.plaintext_matches(
            np.zeros((1, 4), dtype=np.int64), np.zeros((1, 5), dtype=np.int64), 1
        )


def test_parameters_from_real_bounds_accept_vectors_of_that_norm() -> None:
    params = for_bounds(
        dim=128, places=1, threshold=0.36, face_norm=2.30, entry_norm=1.69, model="dlib-resnet-v1"
    )
    unit = np.full((1, 128), 1 / np.sqrt(128))
    fixedpoint.check_faces(fixedpoint.quantise(2.29 * unit, 12), params)
    fixedpoint.check_entries(fixedpoint.quantise(1.68 * unit, 12), params)
