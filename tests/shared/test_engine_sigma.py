"""The engine's check value equals that of the coefficients as they stand, in any pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared import prg, ring
from shared.engine_sigma import add_to_sigma
from shared.errors import FormatError

COIN = bytes(range(32))


@pytest.mark.parametrize("count", [0, 1, 3, 511, 512, 513, 2000])
def test_it_is_the_sum_with_the_expanded_coefficients(count: int, kernel: str) -> None:
    rng = np.random.default_rng(count)
    macs, opened = rng.integers(0, 1 << 64, (2, count, 2), dtype=np.uint64)
    alpha = rng.integers(0, 1 << 64, 2, dtype=np.uint64)
    chi = prg.expand(COIN, np.arange(7, 7 + count, dtype=np.uint64), prg.CHI, 1)[:, 0]
    sigma = np.zeros(2, dtype=np.uint64)
    add_to_sigma(COIN, 7, macs, opened, alpha, sigma)
    assert np.array_equal(sigma, ring.inner_mac_check(chi, macs, alpha.reshape(1, 2), opened))
    pieces = np.zeros(2, dtype=np.uint64)
    for first, stop in ((0, count // 3), (count // 3, count)):
        part = slice(first, stop)
        add_to_sigma(COIN, 7 + first, macs[part], opened[part], alpha, pieces)
    assert np.array_equal(pieces, sigma)


def test_a_coin_of_another_length_is_refused() -> None:
    zeros = np.zeros((1, 2), dtype=np.uint64)
    with pytest.raises(FormatError, match="31 bytes"):
        add_to_sigma(COIN[1:], 0, zeros, zeros, zeros[0], np.zeros(2, dtype=np.uint64))


def test_a_check_value_that_is_no_place_for_one_is_refused() -> None:
    zeros = np.zeros((1, 2), dtype=np.uint64)
    fixed = np.zeros(2, dtype=np.uint64)
    fixed.flags.writeable = False
    places: list[tuple[Any, str]] = [
        (np.zeros(1, dtype=np.uint64), r"check value: found uint64 of shape \(1,\)"),
        (np.zeros(2, dtype=np.uint32), "check value: found uint32"),
        (np.zeros(4, dtype=np.uint64)[::2], "check value: expected a contiguous, writable array"),
        (fixed, "check value: expected a contiguous, writable array"),
    ]
    for sigma, found in places:
        with pytest.raises(FormatError, match=found):
            add_to_sigma(COIN, 0, zeros, zeros, zeros[0], sigma)
