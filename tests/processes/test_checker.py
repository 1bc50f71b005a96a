"""The checker finds what the other tests trust it to find."""

from __future__ import annotations

import numpy as np

from shared.messages import Confirm1, Faces, PartyMessage, Prep0, Prep1, Reveal0, Run, pack_runs
from tests.processes.checker import confirmed_without_reveal, other_bytes_on_a_slot, shown_twice

SET = b"12345678"
SESSION = bytes(32)


def prep0(check: int, first: int, length: int, places: tuple[int, ...]) -> Prep0:
    runs = pack_runs([Run(SET, first, length)])
    wanted = np.asarray(places, dtype="<u4").tobytes()
    return Prep0(SESSION, check, bytes(32), bytes(32), runs, wanted, b"", bytes(32))


def reveal0(batch: int, first: int, length: int) -> Reveal0:
    runs = pack_runs([Run(SET, first, length)])
    return Reveal0(SESSION, batch, bytes(32), bytes(32), bytes(32), b"\1", runs, b"")


def faces(first: int, masked: list[int]) -> Faces:
    times = np.zeros(len(masked), dtype="<u8").tobytes()
    return Faces(
        bytes(16), bytes(32), "w", "gate", first, times, np.asarray(masked, "<u4").tobytes()
    )


def test_other_places_of_a_slot_and_other_slots_are_no_reuse() -> None:
    p0: list[PartyMessage] = [prep0(0, 0, 4, (0, 1)), prep0(1, 0, 4, (2,)), prep0(2, 4, 4, (0,))]
    assert shown_twice([*p0, reveal0(0, 0, 2), reveal0(1, 2, 2)], []) == []


def test_a_place_opened_twice_is_found_at_either_party() -> None:
    p0: list[PartyMessage] = [prep0(0, 0, 4, (0, 1)), prep0(1, 3, 2, (1, 2))]
    p1: list[PartyMessage] = [Prep1(SESSION, check, b"", bytes(32)) for check in (0, 1)]
    assert shown_twice(p0, p1) == [
        "P0 opened slot 3 place 1 2 times",
        "P1 opened slot 3 place 1 2 times",
    ]


def test_a_slot_revealed_twice_is_found() -> None:
    assert shown_twice([reveal0(0, 0, 3), reveal0(1, 2, 1)], []) == ["P0 revealed slot 2 2 times"]


def test_two_confirmations_of_one_batch_are_found_unless_they_are_the_same() -> None:
    one = Confirm1(SESSION, 0, bytes(32), bytes(16))
    other = Confirm1(SESSION, 0, bytes(31) + b"\1", bytes(16))
    assert confirmed_without_reveal([reveal0(0, 0, 1)], [one, one]) == []
    assert confirmed_without_reveal([reveal0(0, 0, 1)], [one, other]) == [
        "P1 confirmed batch 0 in two ways"
    ]
    assert confirmed_without_reveal([], [one]) != []


def test_two_masked_faces_on_one_slot_are_found_a_resend_is_none() -> None:
    assert other_bytes_on_a_slot({"p0": [faces(0, [1, 2])], "p1": [faces(0, [1, 2])]}) == []
    found = other_bytes_on_a_slot({"p0": [faces(0, [1, 2])], "p1": [faces(1, [3])]})
    assert found == ["slot 1: another masked face went to p1"]
