"""Keys of comparison and point functions: every point and every input of small domains."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import engine_fss, ring
from shared.engine_fss import KEY_TILE, KeyShape
from shared.errors import FormatError

U64 = NDArray[np.uint64]


def words(rng: np.random.Generator, *shape: int) -> U64:
    return rng.integers(0, 1 << 64, shape, dtype=np.uint64)


class Dealt:
    """Keys for given points with random payloads."""

    def __init__(self, shape: KeyShape, points: U64, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        count = len(points)
        self.shape, self.points = shape, points
        self.tile_keys = words(rng, -(-count // KEY_TILE), 2)
        self.roots = words(rng, 2, count, 2)
        self.below, self.from_ = words(rng, count, 4), words(rng, count, 4)
        self.words = np.empty(count * shape.key_bytes, dtype=np.uint8)
        engine_fss.generate(
            shape,
            self.tile_keys,
            self.roots[0],
            self.roots[1],
            points,
            self.below,
            self.from_,
            self.words,
        )

    def outputs(self, x: U64, first: int = 0) -> U64:
        """Both parties' shares added: (n, 4)."""
        shares = np.empty((2, 2, len(x), 2), dtype=np.uint64)
        for party in (0, 1):
            engine_fss.evaluate(
                self.shape,
                party,
                self.tile_keys,
                self.roots[party, first : first + len(x)],
                self.words,
                first,
                x,
                shares[party, 0],
                shares[party, 1],
            )
        value, mac = ring.add(shares[0], shares[1])
        return np.concatenate([value, mac], axis=1)

    def expected(self, x: U64, first: int = 0) -> U64:
        part = slice(first, first + len(x))
        if self.shape.comparison:
            lower = (x < self.points[part])[:, None]
            return np.where(lower, self.below[part], self.from_[part])
        return np.where((x == self.points[part])[:, None], self.from_[part], np.uint64(0))


@pytest.mark.parametrize("comparison", [True, False])
@pytest.mark.parametrize("domain", [1, 2, 3, 5])
def test_all_points_and_inputs_of_a_small_domain_give_the_payload(
    domain: int, comparison: bool, kernel: str
) -> None:
    size = 1 << domain
    points = np.repeat(np.arange(size, dtype=np.uint64), size)
    x = np.tile(np.arange(size, dtype=np.uint64), size)
    dealt = Dealt(KeyShape(domain, comparison), points)
    assert np.array_equal(dealt.outputs(x), dealt.expected(x))


@pytest.mark.parametrize("comparison", [True, False])
@pytest.mark.parametrize("domain", [63, 64])
def test_large_domains_are_right_at_and_around_the_point(domain: int, comparison: bool) -> None:
    rng = np.random.default_rng(domain)
    mask = np.uint64((1 << domain) - 1)
    points = words(rng, 40) & mask
    points[:3] = 0, 1, mask
    dealt = Dealt(KeyShape(domain, comparison), points)
    others = words(rng, 40) & mask
    for x in (points, (points + np.uint64(1)) & mask, (points - np.uint64(1)) & mask, others):
        assert np.array_equal(dealt.outputs(x), dealt.expected(x))


def test_every_kernel_makes_the_same_keys(choose: pytest.MonkeyPatch) -> None:
    from shared import kernels

    points = words(np.random.default_rng(3), 19)
    made = []
    for name in kernels.available():
        choose.setenv("TWOKEY_KERNEL", name)
        kernels.kernel_name.cache_clear()
        kernels.kernel_number.cache_clear()
        made.append(Dealt(KeyShape(64, comparison=True), points).words.tobytes())
    assert len(set(made)) == 1


@pytest.mark.parametrize(("first", "count"), [(0, 5), (3, 20), (16, 16), (30, 7), (36, 1)])
def test_any_run_of_keys_can_be_evaluated_alone(first: int, count: int) -> None:
    rng = np.random.default_rng(5)
    dealt = Dealt(KeyShape(9, comparison=True), words(rng, 37) & np.uint64(511))
    x = words(rng, count) & np.uint64(511)
    assert np.array_equal(dealt.outputs(x, first), dealt.expected(x, first))


def test_a_changed_correction_word_changes_the_output() -> None:
    rng = np.random.default_rng(6)
    points = words(rng, 16)
    dealt = Dealt(KeyShape(64, comparison=True), points)
    x = words(rng, 16)
    expected = dealt.expected(x)
    dealt.words ^= 1
    assert not np.array_equal(dealt.outputs(x), expected)


@pytest.mark.parametrize("domain", [0, 65])
def test_a_domain_out_of_range_is_refused(domain: int) -> None:
    with pytest.raises(FormatError, match="domain"):
        KeyShape(domain, comparison=True)


def test_keys_beyond_the_end_are_refused() -> None:
    dealt = Dealt(KeyShape(4, comparison=True), np.zeros(3, dtype=np.uint64))
    with pytest.raises(FormatError, match="keys 2 to 4"):
        dealt.outputs(np.zeros(2, dtype=np.uint64), 2)
