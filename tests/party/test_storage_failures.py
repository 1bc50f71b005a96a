"""A disk that fails in the middle of a step ends the process, and never makes it forget."""

from __future__ import annotations

from typing import NoReturn

import pytest

from party.eventlines import Status
from party.journal import SlotState
from shared.errors import DiskFull, WindowClosed
from shared.messages import Confirm0, Confirm1, PartyMessage, Prep3, Prep4
from tests.support.pair import Frames, Pair
from tests.support.scenes import NEAR_ADA, STRANGER, ground, watchlist


def full(*_: object, **__: object) -> NoReturn:
    """What a store does without room."""
    raise DiskFull("no space left")


def run_into_it(pair: Pair) -> None:
    """Faces are sent; a party's process ends by its disk."""
    for camera in pair.cameras.values():
        camera.send([NEAR_ADA, STRANGER])
    with pytest.raises(DiskFull):
        pair.run(5)


def start_again(pair: Pair, party: int) -> None:
    """There is room again; the process starts, and cameras send again."""
    pair.restart(party)
    for camera in pair.cameras.values():
        camera.resend(0)
    assert pair.run(30, pair.settled)


@pytest.mark.parametrize("party", [0, 1])
def test_faces_whose_result_could_not_be_written_are_told_after_a_restart(
    party: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        with monkeypatch.context() as broken:
            broken.setattr(pair.sides[party].events, "record", full)
            run_into_it(pair)
        start_again(pair, party)
        assert pair.wrong_results(watchlist()) == []
        side = pair.sides[party]
        assert side.verified()[("north", 0)] == ("ada",)
        assert all(event.status is Status.VERIFIED for event in side.faces().values())


@pytest.mark.parametrize("party", [0, 1])
def test_a_check_whose_pass_could_not_be_written_is_burned(
    party: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pair(ground(), watchlist()) as pair:
        with monkeypatch.context() as broken:
            broken.setattr(pair.sides[party].journal, "mark_prepared", full)
            with pytest.raises(DiskFull):
                pair.run(5)
        pair.restart(party)
        assert pair.sides[party].state("north", 0) is SlotState.BURNED
        for _ in range(2):  # the first is lost, and tells the camera from which slot on to go on
            for camera in pair.cameras.values():
                camera.send([NEAR_ADA])
            pair.run(2)
        assert pair.prepared()
        assert pair.p0.verified() == pair.p1.verified() != {}
        assert pair.wrong_results(watchlist()) == []


@pytest.mark.parametrize(("kind", "victim"), [(Confirm1, 0), (Prep3, 0), (Confirm0, 1), (Prep4, 1)])
def test_a_failed_check_closes_the_window_though_nothing_more_can_be_written(
    kind: type[PartyMessage], victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forge(_sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if isinstance(message, kind):
            for name in ("announce", "record_burned", "note"):
                monkeypatch.setattr(pair.sides[victim].events, name, full)
            frames = [bytes(frames[0][:-1]) + bytes([frames[0][-1] ^ 1]), *frames[1:]]
        return [frames]

    with Pair(ground(), watchlist(), tap=forge) as pair:
        run_into_it(pair)
        side = pair.sides[victim]
        assert (side.journal.closed("w1") or "").startswith("TamperDetected")
        with pytest.raises(WindowClosed):
            pair.restart(victim)
