"""A camera, or whoever has its key, that sends other faces, slots and sizes than it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from party.eventlines import Status
from shared.errors import FormatError, HeaderMismatch, ResourceError, SlotReused, WindowClosed
from shared.messages import BURNED, CAMERA_CODEC, VERIFIED, CameraHello, Faces, Run
from tests.adversary.attacks import attack, forgeries
from tests.support.pair import LIMITS, Frames, Pair
from tests.support.scenes import NEAR_ADA, PARAMS, STRANGER, ground, watchlist

REFUSALS = (FormatError, HeaderMismatch, ResourceError, SlotReused)


def decoded(frames: Frames) -> Faces:
    """A camera's message again."""
    message = CAMERA_CODEC.decode([bytes(frame) for frame in frames])
    assert isinstance(message, Faces)
    return message


def others_go_on(pair: Pair) -> None:
    """The other camera's faces are matched as if nothing had been."""
    north = pair.cameras["north"]
    north.send([NEAR_ADA])
    assert pair.run(5, lambda: all(("north", north.next_slot - 1) in s.faces() for s in pair.sides))
    for side in pair.sides:
        assert side.verified()[("north", north.next_slot - 1)] == ("ada",)
        assert side.session.closed is None
        assert not side.told("outage")
        assert side.shown.twice() == []


def test_every_changed_field_of_a_message_with_faces_is_refused_or_costs_its_own_slots() -> None:
    """Sent to both parties; a change that only the camera could know of gives random bits."""
    with Pair(ground(), watchlist()) as pair:
        sample = decoded(pair.cameras["east"].message([NEAR_ADA, STRANGER]))
    for forgery in forgeries(sample):
        with attack(f"camera: {forgery.name}"), Pair(ground(), watchlist()) as pair:
            assert pair.run(3, pair.prepared)
            frames: Frames = [bytes(frame) for frame in CAMERA_CODEC.encode(forgery.message)]
            for side in pair.sides:
                side.from_camera(frames, pair.moment)
            pair.run(0.5)
            for side in pair.sides:
                if forgery.field not in ("times", "masked", "first"):
                    assert isinstance(side.camera_errors[-1], REFUSALS)
                assert all(isinstance(error, REFUSALS) for error in side.camera_errors)
                if side.camera_errors:
                    assert side.faces() == {}
            assert pair.p0.verified() == pair.p1.verified()
            others_go_on(pair)


@pytest.mark.parametrize("bit", [0, 31, 32, 64])
def test_faces_that_differ_between_the_parties_are_burned_and_nobody_else(bit: int) -> None:
    """Otherwise one camera could end the session of all, again and again."""
    with attack("a camera tells the parties different faces"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        camera = pair.cameras["east"]
        frames = camera.message([NEAR_ADA, STRANGER])
        message = decoded(frames)
        masked = bytearray(message.masked)
        masked[bit // 8] ^= 1 << bit % 8
        other: Frames = [
            bytes(f) for f in CAMERA_CODEC.encode(replace(message, masked=bytes(masked)))
        ]
        pair.p0.from_camera(frames, pair.moment)
        pair.p1.from_camera(other, pair.moment)
        pair.run(1)
        for side in pair.sides:
            statuses = [side.faces()[("east", slot)].status for slot in (0, 1)]
            assert statuses == [Status.BURNED] * 2
            assert side.acks()[("east", 0)] == [BURNED]
        assert pair.p0.told("mismatch")
        others_go_on(pair)


def test_faces_for_one_party_only_are_burned_after_their_deadline() -> None:
    for party in (0, 1):
        with attack(f"a camera tells P{party} alone"), Pair(ground(), watchlist()) as pair:
            assert pair.run(3, pair.prepared)
            pair.cameras["east"].send([NEAR_ADA], to=[party])
            pair.run(LIMITS.face_deadline + 2)
            side = pair.sides[party]
            assert side.faces()[("east", 0)].status is Status.BURNED
            assert side.told("omission")
            assert side.session.status()["faces_held"] == 0
            others_go_on(pair)


def test_other_faces_in_slots_that_are_used_are_never_matched() -> None:
    with attack("a camera uses slots again"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        camera = pair.cameras["east"]
        camera.send([NEAR_ADA, STRANGER])
        assert pair.run(3, pair.settled)
        before = pair.p0.verified()
        masked = np.frombuffer(decoded(camera.stored[0]).masked, dtype="<u4") + np.uint32(7)
        again = replace(decoded(camera.stored[0]), masked=masked.astype("<u4").tobytes())
        for side in pair.sides:
            side.from_camera([bytes(f) for f in CAMERA_CODEC.encode(again)], pair.moment)
        pair.run(1)
        for side in pair.sides:
            assert side.verified() == before
            assert side.acks()[("east", 0)] == [VERIFIED] * 2
        others_go_on(pair)


@pytest.mark.parametrize(("first", "length"), [(1, 2), (0, 1), (1, 1), (0, 3)])
def test_a_message_over_used_and_unused_slots_burns_the_unused_ones(
    first: int, length: int
) -> None:
    with attack("a camera cuts its messages anew"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        camera = pair.cameras["east"]
        camera.send([NEAR_ADA, STRANGER])
        assert pair.run(3, pair.settled)
        before = pair.p0.verified()
        message = decoded(camera.stored[0])
        anew = replace(
            message,
            first=first,
            times=bytes(8 * length),
            masked=bytes(4 * PARAMS.coordinates * length),
        )
        for side in pair.sides:
            side.from_camera([bytes(f) for f in CAMERA_CODEC.encode(anew)], pair.moment)
        pair.run(1)
        for side in pair.sides:
            assert side.verified() == before
        others_go_on(pair)


def test_a_flood_fills_its_own_share_only() -> None:
    limits = replace(LIMITS, held_faces=8)
    with attack("a camera floods"), Pair(ground(), watchlist(), limits=limits) as pair:
        assert pair.run(3, pair.prepared)
        camera = pair.cameras["east"]
        for _ in range(20):
            camera.send([STRANGER], to=[0])  # P1 never gets them
        assert any(isinstance(error, ResourceError) for error in pair.p0.camera_errors)
        others_go_on(pair)


def test_a_camera_of_another_attempt_or_window_is_told_so() -> None:
    with Pair(ground(), watchlist()) as pair:
        name = pair.cameras["east"].file.name
        good = CameraHello("w1", "east", name.mint_id, PARAMS.digest(), 0)
        assert pair.p0.session.welcome(good) == 0
        for bad in (
            replace(good, mint_id=bytes(16)),
            replace(good, params=bytes(32)),
        ):
            with attack("a camera with other material"), pytest.raises(HeaderMismatch):
                pair.p0.session.welcome(bad)
        with attack("a camera without material here"), pytest.raises(ResourceError):
            pair.p0.session.welcome(replace(good, camera="south"))
        pair.p0.session.close("a test", pair.moment)
        with attack("a camera of a closed window"), pytest.raises(WindowClosed):
            pair.p0.session.welcome(good)


@pytest.mark.parametrize("first", [0, 1])
def test_a_camera_is_told_to_leave_out_what_burned_ahead_of_it(first: int) -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        camera = pair.cameras["east"]
        hello = CameraHello("w1", "east", camera.file.name.mint_id, PARAMS.digest(), 0)
        pair.p0.session.burn([Run(camera.file.name.set_id(), first, 4)], "a test")
        pair.pump()
        if first:
            camera.send([NEAR_ADA])
        pair.run(1)
        assert pair.p0.session.welcome(hello) == pair.p1.session.welcome(hello) == first + 4
        camera.send([NEAR_ADA])
        assert camera.next_slot == first + 5
        assert pair.run(5, pair.settled)
        right = {("east", slot): ("ada",) for slot in {0, first + 4} if slot == first + 4 or first}
        assert pair.p0.verified() == pair.p1.verified() == right
