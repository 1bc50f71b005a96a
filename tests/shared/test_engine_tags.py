"""Keys of comparisons with tags: every point and every input of small domains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import engine_tags, kernels
from shared.engine_tags import TagShape
from shared.errors import FormatError
from tests.shared.test_engine_fss import Dealt, words

ROOT = Path(__file__).parents[2]
U64 = NDArray[np.uint64]


class DealtTags(Dealt):
    """The same with keys of tags."""

    module = engine_tags
    payload = ()

    def shares(self, x: U64, first: int = 0) -> U64:
        """By party: (2, n)."""
        shares = np.empty((2, len(x)), dtype=np.uint64)
        for party in (0, 1):
            engine_tags.evaluate(
                self.shape,
                party,
                self.tile_keys,
                self.roots[party, first : first + len(x)],
                self.words,
                first,
                x,
                shares[party],
            )
        return shares

    def outputs(self, x: U64, first: int = 0) -> U64:
        """Both parties' shares joined: (n,)."""
        shares = self.shares(x, first)
        joined: U64 = shares[0] ^ shares[1]
        return joined

    def expected(self, x: U64, first: int = 0) -> U64:
        part = slice(first, first + len(x))
        payload: U64 = np.where(x < self.points[part], self.below[part], self.from_[part])
        return payload


@pytest.mark.parametrize("domain", [2, 3, 5])
def test_all_points_and_inputs_of_a_small_domain_give_the_payload(domain: int, kernel: str) -> None:
    size = 1 << domain
    points = np.repeat(np.arange(size, dtype=np.uint64), size)
    x = np.tile(np.arange(size, dtype=np.uint64), size)
    dealt = DealtTags(TagShape(domain), points)
    assert np.array_equal(dealt.outputs(x), dealt.expected(x))


@pytest.mark.parametrize("domain", [33, 63, 64])
def test_large_domains_are_right_at_and_around_the_point(domain: int, kernel: str) -> None:
    rng = np.random.default_rng(domain)
    mask = np.uint64((1 << domain) - 1)
    points = words(rng, 40) & mask
    points[:3] = 0, 1, mask
    dealt = DealtTags(TagShape(domain), points)
    others = words(rng, 40) & mask
    for x in (points, (points + np.uint64(1)) & mask, (points - np.uint64(1)) & mask, others):
        assert np.array_equal(dealt.outputs(x), dealt.expected(x))


def test_every_kernel_makes_the_same_keys_and_the_same_shares(choose: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    points, x = words(rng, 19), words(rng, 19)
    made, shares = set(), set()
    for name in kernels.available():
        choose.setenv("TWOKEY_KERNEL", name)
        kernels.kernel_name.cache_clear()
        kernels.kernel_number.cache_clear()
        dealt = DealtTags(TagShape(64), points)
        made.add(dealt.words.tobytes())
        shares.add(dealt.shares(x).tobytes())
    assert len(made) == len(shares) == 1


@pytest.mark.parametrize(
    ("first", "count"), [(0, 5), (0, 15), (3, 20), (16, 16), (30, 7), (35, 2), (36, 1), (5, 0)]
)
def test_any_run_of_keys_can_be_evaluated_alone(first: int, count: int, kernel: str) -> None:
    rng = np.random.default_rng(5)
    dealt = DealtTags(TagShape(9), words(rng, 37) & np.uint64(511))
    x = words(rng, count) & np.uint64(511)
    assert np.array_equal(dealt.outputs(x, first), dealt.expected(x, first))


GUARDED = """
import numpy as np
from shared import engine_tags
from tests.support.guarded import guarded
from tests.shared.test_engine_tags import DealtTags, TagShape, words

for keys in (1, 2, 3, 5, 9, 16, 21):
    rng = np.random.default_rng(keys)
    shape = TagShape(12)
    dealt = DealtTags(shape, words(rng, keys) & np.uint64(4095))
    x = words(rng, keys) & np.uint64(4095)
    out = guarded(np.zeros(keys, np.uint64))
    inputs = map(guarded, (dealt.tile_keys, dealt.roots[0], dealt.words))
    engine_tags.evaluate(shape, 0, *inputs, 0, guarded(x), out)
    assert np.array_equal(out, dealt.shares(x)[0])
    secrets = map(guarded, (dealt.points, dealt.below, dealt.from_))
    made = guarded(np.zeros(keys * shape.key_bytes, np.uint8))
    both = map(guarded, dealt.roots)
    engine_tags.generate(shape, guarded(dealt.tile_keys), *both, *secrets, made)
    assert np.array_equal(made, dealt.words)
print("untouched")
"""


def test_nothing_beyond_the_arrays_is_read_or_written(kernel: str) -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr[-500:]


def test_a_changed_correction_word_changes_the_output() -> None:
    rng = np.random.default_rng(6)
    dealt = DealtTags(TagShape(63), words(rng, 16) >> np.uint64(1))
    x = words(rng, 16) >> np.uint64(1)
    dealt.words ^= 1
    assert not np.array_equal(dealt.outputs(x), dealt.expected(x))


@pytest.mark.parametrize("domain", [1, 65])
def test_a_domain_out_of_range_is_refused(domain: int) -> None:
    with pytest.raises(FormatError, match="domain"):
        TagShape(domain)


def test_keys_beyond_the_end_are_refused() -> None:
    dealt = DealtTags(TagShape(4), np.zeros(3, dtype=np.uint64))
    with pytest.raises(FormatError, match="keys 2 to 4"):
        dealt.outputs(np.zeros(2, dtype=np.uint64), 2)
