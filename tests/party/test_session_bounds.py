"""What a session keeps ends some day, and what the peer asks for stays within bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from party import follow
from party.journal import SlotState
from party.outbox import Limits
from party.places import accept
from shared.errors import FormatError, SlotReused
from shared.messages import CAMERA_CODEC, Binding, Burned, Confirm1, Faces, PartyMessage, Run
from tests.party.test_watchlist_changes import change, live
from tests.support.pair import LIMITS, Frames, Pair
from tests.support.scenes import NEAR_ADA, PARAMS, STRANGER, ground, watchlist


def test_openings_of_former_sessions_are_forgotten_once_p0_awaits_none() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA])
        assert pair.run(5, pair.settled)
        assert pair.p1.journal.pending()  # P0 has not said yet that it has them
        pair.p1.session.drop("for the test", pair.moment)
        pair.run(3)
        assert pair.p1.session.session is not None
        assert pair.p1.journal.pending() == []


def test_an_opening_that_p0_still_awaits_is_kept_over_several_sessions() -> None:
    def lost(_sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        return [] if isinstance(message, Confirm1) else [frames]

    with Pair(ground(), watchlist(), tap=lost) as pair:
        assert pair.run(5, pair.prepared)
        pair.cameras["north"].send([NEAR_ADA])
        for _ in range(3):
            pair.run(4)
        assert pair.p0.session.unresolved == 1
        pair.tap = lambda _sender, _message, frames: [frames]
        pair.p1.session.drop("for the test", pair.moment)
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == {("north", 0): ("ada",)}


def test_a_message_that_reaches_into_burned_slots_is_burned_as_a_whole() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        camera = pair.cameras["north"]
        camera.send([STRANGER, NEAR_ADA, STRANGER], to=[1])
        slots = Run(camera.file.name.set_id(), 1, 1)
        pair.p1.journal.burn([slots])
        pair.p1.session._burned_already([slots], "for the test")
        assert [pair.p1.state("north", slot) for slot in range(4)] == [
            *3 * [SlotState.BURNED],
            SlotState.PREPARED,
        ]
        assert [m for m in pair.p1.outbox.peer if isinstance(m, Burned)]
        pair.run(1)
        assert pair.p0.state("north", 0) is SlotState.BURNED
        assert pair.prepared(3)


def test_a_batch_larger_than_any_honest_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        monkeypatch.setattr(follow, "most_faces", lambda places: 6 // places)
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA, STRANGER])
        pair.run(1)
        assert any("more than 2 faces" in line for line in pair.p1.told("mismatch"))
        assert pair.p0.verified() == {}


def test_a_check_of_more_slots_than_the_places_in_use_allow_is_refused() -> None:
    with Pair(ground(), watchlist()) as pair:
        pair.p1.session.limits = replace(LIMITS, check_slots=2)
        pair.run(1)
        assert any("expected 1 to 2" in line for line in pair.p1.told("mismatch"))
    assert Limits().slots_per_check(1 << 20) == 1
    assert Limits().faces_per_batch(1 << 21) == 1


def test_watchlist_changes_without_a_face_between_them_are_no_violation() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        for number in range(40):
            change(pair, watchlist("ada", "bob") if number % 2 else watchlist("ada"))
            pair.run(0.5)
        assert live(pair) == live(pair, 1) == {"ada", "bob"}
        assert pair.p1.told("violation") == []


def test_a_map_that_gives_a_new_entry_two_places_is_refused() -> None:
    (ada,) = watchlist("ada")
    with pytest.raises(SlotReused, match="another place"):
        accept(PARAMS, {}, [ada], [Binding(0, ada.digest), Binding(1, ada.digest)])


def test_a_message_of_too_many_faces_is_refused() -> None:
    with Pair(ground(), watchlist()) as pair:
        name = pair.cameras["north"].file.name
        message = Faces(
            name.mint_id,
            PARAMS.digest(),
            name.window,
            name.camera,
            0,
            bytes(8 * 1025),
            bytes(4 * 1025 * PARAMS.coordinates),
        )
        pair.p0.from_camera(CAMERA_CODEC.encode(message), pair.moment)
        (error,) = pair.p0.camera_errors
        assert isinstance(error, FormatError)
        assert "found 1025 in one message" in str(error)
