"""Arithmetic of Z_{2^128} against Python integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared import ring
from shared.errors import FormatError, RangeError

M = 1 << 128
EDGES = [0, 1, 2, (1 << 32) - 1, 1 << 32, (1 << 64) - 1, 1 << 64, 1 << 127, M - 2, M - 1]
ELEMENTS = st.one_of(st.sampled_from(EDGES), st.integers(0, M - 1))

U64 = NDArray[np.uint64]


def random(rng: np.random.Generator, *shape: int) -> U64:
    return rng.integers(0, 1 << 64, (*shape, 2), dtype=np.uint64)


@settings(max_examples=100)
@given(pairs=st.lists(st.tuples(ELEMENTS, ELEMENTS), max_size=20))
def test_elementwise_arithmetic_wraps(pairs: list[tuple[int, int]]) -> None:
    a, b = ring.from_ints([p for p, _ in pairs]), ring.from_ints([q for _, q in pairs])
    assert ring.to_ints(ring.add(a, b)) == [(p + q) % M for p, q in pairs]
    assert ring.to_ints(ring.sub(a, b)) == [(p - q) % M for p, q in pairs]
    assert ring.to_ints(ring.mul(a, b)) == [(p * q) % M for p, q in pairs]
    assert ring.to_ints(ring.neg(a)) == [-p % M for p, _ in pairs]


def test_every_pair_of_edges_multiplies_right() -> None:
    pairs = [(p, q) for p in EDGES for q in EDGES]
    product = ring.mul(ring.from_ints([p for p, _ in pairs]), ring.from_ints([q for _, q in pairs]))
    assert ring.to_ints(product) == [p * q % M for p, q in pairs]


def test_integers_of_any_sign_and_size_are_reduced() -> None:
    assert ring.to_ints(ring.from_ints([-1, M, 3 * M + 5, -M - 7])) == [M - 1, 0, 5, M - 7]


@pytest.mark.parametrize("operation", [ring.add, ring.sub, ring.mul])
def test_the_result_may_replace_an_operand(operation: Callable[..., U64]) -> None:
    rng = np.random.default_rng(1)
    a, b = random(rng, 3, 4), random(rng, 3, 4)
    expected = operation(a, b)
    assert operation(a, b, a) is a
    assert np.array_equal(a, expected)


def test_read_only_and_strided_operands_are_taken() -> None:
    rng = np.random.default_rng(2)
    a, b = random(rng, 6, 3), random(rng, 3, 3)
    frozen = np.frombuffer(b.tobytes(), dtype=np.uint64).reshape(b.shape)
    expected = [(p + q) % M for p, q in zip(ring.to_ints(a[::2]), ring.to_ints(b), strict=True)]
    assert ring.to_ints(ring.add(a[::2], frozen)) == expected


@pytest.mark.parametrize("other", [(3, 2), (4, 2, 1), (4,)])
def test_operands_of_other_shapes_are_refused(other: tuple[int, ...]) -> None:
    with pytest.raises(FormatError):
        ring.add(np.zeros((4, 2), dtype=np.uint64), np.zeros(other, dtype=np.uint64))


@pytest.mark.parametrize(("faces", "places"), [(0, 0), (1, 1), (3, 5), (64, 7)])
def test_the_check_value_is_the_sum_of_the_definition(faces: int, places: int) -> None:
    rng = np.random.default_rng(faces)
    chi, macs, kappas = (random(rng, faces * places) for _ in range(3))
    alphas = random(rng, faces)
    values = [ring.to_ints(array) for array in (chi, macs, kappas)]
    alpha = ring.to_ints(alphas)
    expected = sum(
        c * (m - alpha[i // places] * k) for i, (c, m, k) in enumerate(zip(*values, strict=True))
    )
    found = ring.inner_mac_check(chi, macs, alphas, kappas)
    assert ring.to_ints(found) == [expected % M]


def test_check_values_of_honest_parties_cancel() -> None:
    rng = np.random.default_rng(3)
    faces, places = 5, 8
    kappa, mac0, chi = (random(rng, faces * places) for _ in range(3))
    alpha0, alpha1 = random(rng, faces), random(rng, faces)
    alpha = np.repeat(ring.add(alpha0, alpha1), places, axis=0)
    mac1 = ring.sub(ring.mul(alpha, kappa), mac0)
    sigma0 = ring.inner_mac_check(chi, mac0, alpha0, kappa)
    sigma1 = ring.inner_mac_check(chi, mac1, alpha1, kappa)
    assert ring.to_ints(ring.add(sigma0, sigma1)) == [0]
    kappa[17, 0] += np.uint64(1)
    sigmas = [
        ring.inner_mac_check(chi, mac, share, kappa)
        for mac, share in ((mac0, alpha0), (mac1, alpha1))
    ]
    error = ring.mul(chi[17], alpha[17])
    assert ring.to_ints(ring.add(*sigmas)) == ring.to_ints(ring.neg(error)) != [0]


@pytest.mark.parametrize("openings", [1, 5])
def test_openings_that_do_not_divide_among_the_slots_are_refused(openings: int) -> None:
    array = np.zeros((openings, 2), dtype=np.uint64)
    for alphas in (np.zeros((2, 2), dtype=np.uint64), np.zeros((0, 2), dtype=np.uint64)):
        with pytest.raises(FormatError):
            ring.inner_mac_check(array, array, alphas, array)


def exact_product(ch: NDArray[np.int32], shares: U64) -> list[int]:
    rows = ch.tolist()
    faces = [ring.to_ints(face) for face in shares]
    return [
        sum(p * q for p, q in zip(row, face, strict=True)) % M for face in faces for row in rows
    ]


@settings(max_examples=40)
@given(
    places=st.integers(0, 20),
    coordinates=st.integers(1, 40),
    faces=st.integers(0, 5),
    bound=st.sampled_from([1, 1 << 12, 1 << 16, 1 << 20, (1 << 31) - 1]),
    seed=st.integers(0, 1 << 32),
)
def test_the_public_products_are_exact(
    places: int, coordinates: int, faces: int, bound: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ch = rng.integers(-bound, bound, (places, coordinates), endpoint=True, dtype=np.int32)
    shares = random(rng, faces, coordinates)
    shares[rng.random(shares.shape) < 0.2] = np.uint64((1 << 64) - 1)
    found = ring.public_matrix_product(ch, shares)
    assert found.shape == (faces, places, 2)
    assert ring.to_ints(found) == exact_product(ch, shares)
    e = shares[:, :, 0].astype(np.uint32)
    low = ring.public_product_mod32(ch, e)
    expected = np.array(exact_product(ch, shares), dtype=object) % (1 << 32)
    assert low.reshape(-1).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("value", "limb_bits"), [((1 << 16) - 1, 32), (1 << 16, 16), ((1 << 31) - 1, 16)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_products_at_the_bound_of_exactness_are_exact(
    value: int, limb_bits: int, sign: int
) -> None:
    # 32 coordinates of 2^16 are a 1-norm of 2^21: with limbs of 2^32 - 1 it is the first too big.
    ch = np.full((3, 32), sign * value, dtype=np.int32)
    matrix = ring.PublicMatrix(ch)
    assert matrix.limb_bits == limb_bits
    shares = np.full((2, 32, 2), (1 << 64) - 1, dtype=np.uint64)
    shares[1, ::3] = 0
    assert ring.to_ints(ring.public_matrix_product(matrix, shares)) == exact_product(ch, shares)


def test_a_matrix_too_large_to_be_exact_is_refused() -> None:
    with pytest.raises(RangeError, match="1-norm"):
        ring.PublicMatrix(np.full((1, 65), -(1 << 31), dtype=np.int32))


@pytest.mark.parametrize("faces", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("places", [1, 15, 16, 17, 150])
def test_products_do_not_depend_on_how_faces_are_grouped(faces: int, places: int) -> None:
    rng = np.random.default_rng(faces * places)
    ch = rng.integers(-5000, 5000, (places, 9), dtype=np.int32)
    matrix, scratch = ring.PublicMatrix(ch), ring.Scratch()
    shares = random(rng, faces, 9)
    out = np.zeros((faces, places, 2), dtype=np.uint64)
    assert ring.public_matrix_product(matrix, shares, out, scratch) is out
    e = shares[:, :, 1].astype(np.uint32)
    together = ring.public_product_mod32(matrix, e)
    for face in range(faces):
        alone = ring.public_matrix_product(matrix, shares[face : face + 1], None, scratch)
        assert np.array_equal(alone[0], out[face])
        assert np.array_equal(ring.public_product_mod32(ch, e[face : face + 1])[0], together[face])


@pytest.mark.parametrize("ch", [np.zeros((2, 3), dtype=np.int64), np.zeros(3, dtype=np.int32)])
def test_a_matrix_of_another_kind_is_refused(ch: NDArray[np.int32]) -> None:
    with pytest.raises(FormatError):
        ring.PublicMatrix(ch)


def test_shares_that_do_not_fit_the_matrix_are_refused() -> None:
    ch = np.ones((2, 3), dtype=np.int32)
    with pytest.raises(FormatError):
        ring.public_matrix_product(ch, np.zeros((1, 4, 2), dtype=np.uint64))
    with pytest.raises(FormatError):
        ring.public_product_mod32(ch, np.zeros((1, 4), dtype=np.uint32))
    with pytest.raises(FormatError):
        ring.public_matrix_product(
            ch, np.zeros((1, 3, 2), dtype=np.uint64), np.zeros((1, 3, 2), dtype=np.uint64)
        )
