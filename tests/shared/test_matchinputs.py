"""What matching expands in one call is what its parts are."""

from __future__ import annotations

import numpy as np
import pytest

from shared import prg, shares
from shared.errors import FormatError
from shared.matchinputs import dcf_key, match_inputs, match_inputs_each
from shared.secret import Secret


@pytest.mark.parametrize(("faces", "used"), [(1, 1), (1, 150), (5, 18), (64, 3), (2, 0)])
@pytest.mark.parametrize("party", [0, 1])
def test_one_call_equals_the_three_expansions(party: int, faces: int, used: int) -> None:
    key, set_digest, first = bytes(range(32)), bytes(range(32, 64)), 1000
    slots = np.arange(first, first + faces, dtype=np.uint64)
    found = match_inputs(Secret(key), party, dcf_key(set_digest), first, faces, used)
    assert np.array_equal(found.slot_keys, prg.slot_keys(set_digest, slots))
    assert np.array_equal(found.roots, shares.dcf_roots(key, slots, used))
    assert np.array_equal(found.deltas, shares.deltas(key, party, slots))


def test_slots_of_several_sets_come_as_each_alone() -> None:
    keys = [Secret(bytes([number]) * 32) for number in range(5)]
    publics = [dcf_key(bytes([number]) * 32) for number in range(5)]
    slots = np.array([7, 0, 2**31, 7, 1], dtype=np.uint64)
    found = match_inputs_each(keys, 1, publics, slots, 18)
    for face in range(5):
        alone = match_inputs(keys[face], 1, publics[face], int(slots[face]), 1, 18)
        assert np.array_equal(found.slot_keys[face], alone.slot_keys[0])
        assert np.array_equal(found.roots[face], alone.roots[0])
        assert found.deltas[face] == alone.deltas[0]


def test_a_key_too_few_is_refused() -> None:
    with pytest.raises(FormatError, match="expected 2 keys"):
        match_inputs_each([Secret(bytes(32))], 0, [bytes(32)], np.zeros(2, dtype=np.uint64), 1)
