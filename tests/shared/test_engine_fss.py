"""Keys of comparison and point functions: every point and every input of small domains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import engine_fss, kernels, ring
from shared.engine_fss import KEY_TILE, KeyShape
from shared.errors import FormatError

ROOT = Path(__file__).parents[2]
U64 = NDArray[np.uint64]


def words(rng: np.random.Generator, *shape: int) -> U64:
    return rng.integers(0, 1 << 64, shape, dtype=np.uint64)


class Dealt:
    """Keys for given points with random payloads."""

    module: ModuleType = engine_fss
    payload: tuple[int, ...] = (4,)

    def __init__(self, shape: Any, points: U64, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        count = len(points)
        self.shape, self.points = shape, points
        self.tile_keys = words(rng, -(-count // KEY_TILE), 2)
        self.roots = words(rng, 2, count, 2)
        self.below, self.from_ = (words(rng, count, *self.payload) for _ in range(2))
        self.words = np.empty(count * shape.key_bytes, dtype=np.uint8)
        self.module.generate(
            shape,
            self.tile_keys,
            self.roots[0],
            self.roots[1],
            points,
            self.below,
            self.from_,
            self.words,
        )

    def shares(self, x: U64, first: int = 0) -> U64:
        """By party, value and MAC: (2, 2, n, 2)."""
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
        return shares

    def outputs(self, x: U64, first: int = 0) -> U64:
        """Both parties' shares added: (n, 4)."""
        shares = self.shares(x, first)
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
def test_large_domains_are_right_at_and_around_the_point(
    domain: int, comparison: bool, kernel: str
) -> None:
    rng = np.random.default_rng(domain)
    mask = np.uint64((1 << domain) - 1)
    points = words(rng, 40) & mask
    points[:3] = 0, 1, mask
    dealt = Dealt(KeyShape(domain, comparison), points)
    others = words(rng, 40) & mask
    for x in (points, (points + np.uint64(1)) & mask, (points - np.uint64(1)) & mask, others):
        assert np.array_equal(dealt.outputs(x), dealt.expected(x))


@pytest.mark.parametrize("comparison", [True, False])
def test_every_kernel_makes_the_same_keys_and_the_same_shares(
    comparison: bool, choose: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    points, x = words(rng, 19), words(rng, 19)
    made, shares = set(), set()
    for name in kernels.available():
        choose.setenv("TWOKEY_KERNEL", name)
        kernels.kernel_name.cache_clear()
        kernels.kernel_number.cache_clear()
        dealt = Dealt(KeyShape(64, comparison), points)
        made.add(dealt.words.tobytes())
        shares.add(dealt.shares(x).tobytes())
    assert len(made) == len(shares) == 1


@pytest.mark.parametrize("comparison", [True, False])
@pytest.mark.parametrize(
    ("first", "count"), [(0, 5), (0, 15), (3, 20), (16, 16), (30, 7), (35, 2), (36, 1), (5, 0)]
)
def test_any_run_of_keys_can_be_evaluated_alone(
    first: int, count: int, comparison: bool, kernel: str
) -> None:
    rng = np.random.default_rng(5)
    dealt = Dealt(KeyShape(9, comparison), words(rng, 37) & np.uint64(511))
    x = words(rng, count) & np.uint64(511)
    assert np.array_equal(dealt.outputs(x, first), dealt.expected(x, first))


GUARDED = """
import numpy as np
from shared import engine_fss
from tests.support.guarded import guarded
from tests.shared.test_engine_fss import Dealt, KeyShape, words

for comparison in (True, False):
    for keys in (1, 2, 3, 5, 9, 16, 21):
        rng = np.random.default_rng(keys)
        shape = KeyShape(12, comparison)
        dealt = Dealt(shape, words(rng, keys) & np.uint64(4095))
        x = words(rng, keys) & np.uint64(4095)
        out = [guarded(np.zeros((keys, 2), np.uint64)) for _ in range(2)]
        inputs = map(guarded, (dealt.tile_keys, dealt.roots[0], dealt.words))
        engine_fss.evaluate(shape, 0, *inputs, 0, guarded(x), *out)
        assert np.array_equal(out, dealt.shares(x)[0])
print("untouched")
"""


def test_nothing_beyond_the_arrays_is_read_or_written(kernel: str) -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr[-500:]


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
