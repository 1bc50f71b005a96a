"""Two honest parties: every released result is the plaintext's, whatever the faces and batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from party.eventlines import Status
from party.journal import SlotState
from shared.messages import BURNED, VERIFIED, Confirm1, Held, Prep0, Reveal0
from tests.support.minted import entries_of, minted, parameters
from tests.support.pair import LIMITS, Pair
from tests.support.scenes import (
    NEAR_ADA,
    PEOPLE,
    STRANGER,
    at_distance,
    ground,
    watchlist,
)

FAR = {
    "east": [120, 0, 0, 0],
    "west": [-120, 0, 0, 0],
    "zero": [0, 0, 0, 0],
    "low": [0, 0, 0, -120],
}
CORNERS = [*FAR.values(), [0, 120, 0, 0], [60, -60, 60, -60], [0, 0, 0, 1]]


def settle(pair: Pair) -> None:
    """Until every face has its outcome on both sides."""
    assert pair.run(5, pair.settled)


@pytest.mark.parametrize("threshold", [0, 1, 400, 57_599, 57_600, 57_601, 1 << 16])
def test_bits_equal_the_plaintext_at_every_threshold(threshold: int) -> None:
    params = parameters(threshold=threshold)
    entries = entries_of(params, FAR)
    with Pair(minted(params, ("east",)), entries) as pair:
        assert pair.run(5, pair.prepared)
        pair.cameras["east"].send(CORNERS)
        settle(pair)
        right = pair.plaintext(entries)
        assert pair.p0.verified() == pair.p1.verified() == right
        assert any(right.values()) == (threshold > 0)


def test_bits_equal_the_plaintext_just_around_the_threshold() -> None:
    entries = watchlist()
    with Pair(ground(), entries) as pair:
        assert pair.run(5, pair.prepared)
        faces = [at_distance(row, d) for row in PEOPLE.values() for d in (399, 400, 401)]
        for start in range(0, 9, 2):
            pair.cameras["north"].send(faces[start : start + 2])
            pair.tick()
        settle(pair)
        right = pair.plaintext(entries)
        assert [len(right[("north", slot)]) for slot in range(9)] == [1, 0, 0] * 3
        assert pair.p0.verified() == pair.p1.verified() == right


@pytest.mark.parametrize(("dim", "places"), [(1, 1), (16, 17), (5, 20)])
def test_bits_equal_the_plaintext_for_random_faces(dim: int, places: int) -> None:
    random = np.random.default_rng(dim)
    params = parameters(dim=dim, places=places, threshold=3000)
    rows = random.integers(-25, 26, (places, dim))
    entries = entries_of(params, {f"e{i}": row.tolist() for i, row in enumerate(rows)})
    with Pair(minted(params, ("east", "north", "south"), slots=12), entries) as pair:
        assert pair.run(5, pair.prepared)
        for camera in pair.cameras.values():
            for size in (1, 3, 2, 5):
                camera.send(random.integers(-25, 26, (size, dim)))
        settle(pair)
        assert pair.p0.verified() == pair.p1.verified() == pair.plaintext(entries)
        assert len(pair.captured) == 33


def test_without_an_entry_no_face_can_be_matched_and_both_parties_say_so() -> None:
    with Pair(ground(), ()) as pair:
        pair.run(1)
        pair.cameras["east"].send([STRANGER])
        pair.run(10)
        for side in pair.sides:
            assert side.verified() == {}
            assert side.faces()[("east", 0)].status is Status.BURNED
            assert side.acks() == {("east", 0): [BURNED]}
        assert pair.p0.told("omission")


def test_a_batch_may_mix_cameras_and_is_one_round() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA, STRANGER], to=[0])
        for camera in pair.cameras.values():
            camera.resend(0, to=[1])
        settle(pair)
        reveals = [m for m in pair.p0.sent if isinstance(m, Reveal0)]
        assert [len(m.runs) // 16 for m in reveals] == [2]


def test_a_batch_is_no_larger_than_its_limit() -> None:
    limits = replace(LIMITS, batch_faces=3, batches_in_flight=2, prepare_ahead=16)
    with Pair(ground(), watchlist(), limits=limits) as pair:
        assert pair.run(5, lambda: pair.prepared(16))
        for _ in range(5):
            pair.cameras["east"].send([NEAR_ADA, STRANGER], to=[0])
        for number in range(5):
            pair.cameras["east"].resend(number, to=[1])
        settle(pair)
        reveals = [m for m in pair.p0.sent if isinstance(m, Reveal0)]
        assert [len(m.runs) // 16 for m in reveals] == [1] * 5
        assert pair.wrong_results(watchlist()) == []


def test_a_message_over_two_checks_with_different_places_is_matched() -> None:
    limits = replace(LIMITS, prepare_ahead=4, check_slots=4)
    with Pair(ground(), watchlist("ada", "bob"), limits=limits) as pair:
        assert pair.run(5, lambda: pair.prepared(4))
        for side in pair.sides:
            side.session.set_watchlist(watchlist(), side.local(pair.moment))
        pair.run(1)
        ledger = pair.p0.session.ledger(pair.cameras["east"].file.name.set_id())
        assert ledger.opened[0b11].covers(0, 4)
        pair.cameras["east"].send([STRANGER, NEAR_ADA])
        settle(pair)
        pair.run(1)
        assert 0b111 in ledger.opened  # what follows is prepared at all places at once
        pair.cameras["east"].send([STRANGER, NEAR_ADA, STRANGER, at_distance(PEOPLE["cyd"], 1)])
        settle(pair)
        assert pair.p0.verified() == pair.p1.verified() == pair.plaintext(watchlist())


def test_faces_wait_until_both_parties_hold_them_and_their_slots_are_prepared() -> None:
    with Pair(ground(), watchlist()) as pair:
        pair.cameras["east"].send([NEAR_ADA], to=[0])
        pair.run(2)
        assert not any(isinstance(m, Reveal0) for m in pair.p0.sent)
        pair.cameras["east"].resend(0, to=[1])
        settle(pair)
        kinds = [type(m) for m in pair.p0.sent + pair.p1.sent]
        assert {Prep0, Held, Reveal0, Confirm1} <= set(kinds)
        assert pair.p0.verified() == pair.plaintext(watchlist())


def test_an_outcome_is_told_to_the_camera_by_both_and_again_for_a_resend() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.cameras["east"].send([NEAR_ADA])
        settle(pair)
        pair.cameras["east"].resend(0)
        pair.run(1)
        for side in pair.sides:
            assert side.acks() == {("east", 0): [VERIFIED, VERIFIED]}
            assert len(side.faces()) == 1
            assert side.state("east", 0) is SlotState.DONE


def test_other_bytes_for_a_held_slot_are_refused_and_the_first_ones_matched() -> None:
    with Pair(ground(), watchlist()) as pair:
        camera = pair.cameras["east"]
        camera.send([NEAR_ADA])
        forged = list(camera.stored[0])
        forged[2] = bytes(len(forged[2]))
        for side in pair.sides:
            side.from_camera(forged, pair.moment)
            assert [type(e).__name__ for e in side.camera_errors] == ["SlotReused"]
        settle(pair)
        assert pair.p0.verified() == pair.plaintext(watchlist())


def test_nothing_is_left_in_memory_of_finished_faces() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        for _ in range(3):
            for camera in pair.cameras.values():
                camera.send([NEAR_ADA, STRANGER, STRANGER, NEAR_ADA])
            settle(pair)
        pair.run(3)
        for side in pair.sides:
            status = side.session.status()
            assert status["faces_held"] == status["batches_in_flight"] == 0
            assert status["faces_unresolved"] == 0
            assert side.journal.pending() == []
            assert side.session.matched_faces == 24
