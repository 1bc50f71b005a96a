"""Opening of bits with tags: what is sent, and what both parties have alike if nobody lied."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from party.engine.bits import join, packed
from shared.errors import ProtocolViolation

U64 = NDArray[np.uint64]
COUNTS = [1, 7, 8, 63, 64, 65, 127, 128, 129, 1000]


def dealt(count: int) -> tuple[U64, U64, U64]:
    """Bits, both parties' tag shares (2, n), and their shares of Delta (2, 1)."""
    rng = np.random.default_rng(count)
    deltas = rng.integers(0, 1 << 64, (2, 1), dtype=np.uint64)
    deltas[0] |= np.uint64(1)
    deltas[1] &= np.uint64((1 << 64) - 2)
    bits = rng.integers(0, 2, count, dtype=np.uint64)
    first = rng.integers(0, 1 << 64, count, dtype=np.uint64)
    return bits, np.array([first, first ^ (bits * (deltas[0] ^ deltas[1]))]), deltas


@pytest.mark.parametrize("count", COUNTS)
def test_honest_parties_get_the_bits_and_tags_that_are_equal(count: int) -> None:
    bits, tags, deltas = dealt(count)
    sent = [packed(share) for share in tags]
    assert sent[0].shape == (-(-count // 128), 2)
    for party in (0, 1):
        assert np.array_equal(join(sent[party], sent[1 - party], tags[party], deltas[party]), bits)
    assert np.array_equal(tags[0], tags[1])


@pytest.mark.parametrize("count", COUNTS)
def test_a_flipped_bit_sets_the_tags_apart_by_delta_whichever_bit_the_liar_counts_with(
    count: int,
) -> None:
    bits, tags, deltas = dealt(count)
    sent = [packed(share) for share in tags]
    place = count // 2
    lie = sent[1].copy()
    lie.view(np.uint8).reshape(-1)[place // 8] ^= np.uint8(1 << place % 8)
    honest = tags[0].copy()
    found = join(sent[0], lie, honest, deltas[0])
    assert np.flatnonzero(found != bits).tolist() == [place]
    for counted in (sent[1], lie):
        own = tags[1].copy()
        join(counted, sent[0], own, deltas[1])
        apart = own ^ honest
        assert np.flatnonzero(apart).tolist() == [place]
        # By P0's Delta where the liar takes the true bit, else by both parties'.
        assert apart[place] in (deltas[0, 0], deltas[0, 0] ^ deltas[1, 0])


@pytest.mark.parametrize("count", [1, 7, 65, 129])
def test_a_bit_behind_the_last_one_is_refused(count: int) -> None:
    _, tags, deltas = dealt(count)
    sent = packed(tags[0])
    theirs = packed(tags[1])
    theirs.view(np.uint8).reshape(-1)[-1] ^= np.uint8(128)
    with pytest.raises(ProtocolViolation, match=f"behind the last of {count}"):
        join(sent, theirs, tags[0], deltas[0])
