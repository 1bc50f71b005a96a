"""Shares of bits xor public bits, and their MACs."""

from __future__ import annotations

import numpy as np
import pytest

from shared import engine_ring, ring
from shared.engine_flip import flip_shares
from shared.errors import FormatError


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_both_parties_shares_add_up_to_the_xor_with_right_macs(count: int) -> None:
    rng = np.random.default_rng(count)
    alphas, first, first_mac = (
        rng.integers(0, 1 << 64, (n, 2), dtype=np.uint64) for n in (2, count, count)
    )
    alpha = ring.add(alphas[:1], alphas[1:])[0]
    bits, public = rng.integers(0, 2, (2, count), dtype=np.uint64)
    value = np.zeros((count, 2), dtype=np.uint64)
    value[:, 0] = bits
    second = ring.sub(value, first)
    second_mac = ring.sub(engine_ring.scale(value, alpha), first_mac)
    one = flip_shares(0, alphas[0], first, first_mac, public)
    other = flip_shares(1, alphas[1], second, second_mac, public)
    total, mac = (ring.add(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(total[:, 0], bits ^ public)
    assert not total[:, 1].any()
    assert np.array_equal(mac, engine_ring.scale(total, alpha))


def test_bits_of_another_number_are_refused() -> None:
    zeros = np.zeros((3, 2), dtype=np.uint64)
    with pytest.raises(FormatError, match="shares of bits"):
        flip_shares(0, zeros[0], zeros, zeros, np.zeros(2, dtype=np.uint64))
