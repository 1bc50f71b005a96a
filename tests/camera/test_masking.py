"""e is the reference's, for every slot and across ratchet blocks; what was used is erased."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from shared.errors import RangeError, SlotReused
from shared.fixedpoint import face_input
from tests.camera.folder_support import PARAMS, STATES, face
from tests.reference import face as reference
from tests.reference.blocks import ratchet_state
from tests.reference.mint import MaterialSet, Params

REFERENCE = Params(**{name: getattr(PARAMS, name) for name in Params.__dataclass_fields__})
SET = MaterialSet(bytes(16), "now", "door", (bytes(32), bytes(32)), STATES)


def start(block: int = 0) -> Masker:
    state = b"".join(ratchet_state(one, block) for one in STATES)
    return Masker(PARAMS, RatchetState(block, state))


@given(
    first=st.integers(0, 300),
    rows=st.lists(st.lists(st.integers(-20, 20), min_size=4, max_size=4), min_size=1, max_size=9),
)
def test_every_masked_face_is_the_references(first: int, rows: list[list[int]]) -> None:
    masked = start().mask(first, np.array(rows, dtype=np.int64))
    assert masked.dtype == np.uint32
    expected = [reference.mask(REFERENCE, SET, first + k, row) for k, row in enumerate(rows)]
    assert masked.tolist() == expected


def test_a_message_over_three_ratchet_blocks_is_the_references() -> None:
    faces = face(*range(-10, 10)).repeat(8, axis=0)  # slots 50 to 209
    masked = start().mask(50, faces)
    for k in (0, 13, 14, 77, 78, 141, 142, 159):
        assert masked[k].tolist() == reference.mask(REFERENCE, SET, 50 + k, faces[k].tolist())


def test_a_masker_that_starts_at_a_stored_state_gives_the_same() -> None:
    assert start(3).mask(200, face(7)).tolist() == start().mask(200, face(7)).tolist()


def test_the_mask_hides_every_coordinate_also_the_sum_of_squares() -> None:
    masked = start().mask(0, face(*[9] * 64))
    assert (masked != face_input(face(*[9] * 64))).all()
    assert len(np.unique(masked)) == masked.size  # a pad that repeats would show here


def test_slots_behind_the_ratchet_are_refused_and_the_state_stays() -> None:
    masker = start()
    masker.mask(64, face(1))
    before = masker.state()
    with pytest.raises(SlotReused):
        masker.mask(63, face(1))
    assert masker.state() == before


def test_the_state_to_store_is_that_of_the_next_slot_and_nothing_before() -> None:
    masker = start()
    masker.mask(0, face(1))
    assert masker.state_for(63) is None
    state = masker.state_for(64)
    assert state is not None
    assert state.block == 1
    assert state.state == b"".join(ratchet_state(one, 1) for one in STATES)
    with pytest.raises(SlotReused):
        masker.mask(63, face(1))


def test_a_face_out_of_range_is_refused_before_the_ratchet_moves() -> None:
    masker = start()
    with pytest.raises(RangeError):
        masker.mask(640, face(21))  # norm 42, the bound is 40
    assert masker.state().block == 0


def test_closing_overwrites_the_states() -> None:
    masker = start()
    masker.close()
    assert masker.state().state == bytes(64)
