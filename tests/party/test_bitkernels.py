"""Packing and unmasking of authenticated bits, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from party import bitkernels
from shared.errors import FormatError
from tests.support.guarded import guarded

LIVE = [0, 1, 7, 8, 9, 16, 63, 150]


@pytest.mark.parametrize("live", LIVE)
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_packed_bits_are_the_least_bits_in_order(faces: int, live: int) -> None:
    rng = np.random.default_rng(live)
    tags = rng.integers(0, 1 << 64, (faces, live), dtype=np.uint64)
    packed = np.full((faces, -(-live // 8)), 0xA5, dtype=np.uint8)
    bitkernels.pack_bits(guarded(tags), packed)
    least = (tags & np.uint64(1)).astype(np.uint8)
    assert np.array_equal(packed, np.packbits(least, axis=1, bitorder="little"))


@pytest.mark.parametrize("live", LIVE)
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_tags_whose_bit_is_set_lose_delta_and_others_stay(faces: int, live: int) -> None:
    rng = np.random.default_rng(live)
    tags = rng.integers(0, 1 << 64, (faces, live), dtype=np.uint64)
    deltas = rng.integers(0, 1 << 64, faces, dtype=np.uint64)
    opened = rng.integers(0, 2, (faces, live), dtype=np.uint8)
    packed = np.packbits(opened, axis=1, bitorder="little")
    out = guarded(np.zeros_like(tags))
    bitkernels.unmask(guarded(tags), guarded(packed), guarded(deltas), out)
    assert np.array_equal(out, tags ^ opened * deltas[:, None])


def test_rows_that_lie_apart_are_refused() -> None:
    tags = np.arange(60, dtype=np.uint64).reshape(3, 20)[:, ::2]
    with pytest.raises(FormatError, match="contiguous"):
        bitkernels.pack_bits(tags, np.zeros((3, 2), dtype=np.uint8))
    spread = np.arange(6, dtype=np.uint64)[::2]
    with pytest.raises(FormatError, match="contiguous"):
        bitkernels.unmask(
            np.zeros((3, 10), np.uint64),
            np.zeros((3, 2), np.uint8),
            spread,
            np.zeros((3, 10), np.uint64),
        )


@pytest.mark.parametrize("wrong", ["tags", "bits", "deltas", "out"])
def test_arrays_that_do_not_fit_are_refused(wrong: str) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "tags": np.zeros((2, 9), dtype=np.uint64),
        "bits": np.zeros((2, 2), dtype=np.uint8),
        "deltas": np.zeros(2, dtype=np.uint64),
        "out": np.zeros((2, 9), dtype=np.uint64),
    }
    arrays[wrong] = arrays[wrong][:1]
    with pytest.raises(FormatError):
        bitkernels.unmask(arrays["tags"], arrays["bits"], arrays["deltas"], arrays["out"])
    with pytest.raises(FormatError):
        bitkernels.pack_bits(np.zeros((2, 9), np.uint64), np.zeros((2, 1), np.uint8))
