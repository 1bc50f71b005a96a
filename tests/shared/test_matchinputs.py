"""What matching expands in one call is what its parts are."""

from __future__ import annotations

import numpy as np
import pytest

from shared import prg, shares
from shared.matchinputs import dcf_key, match_inputs
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
