"""How a window ends: in good order, drained, or closed because too much went wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from party.eventlines import Status
from party.journal import Count, SlotState
from shared.messages import BURNED, Confirm1, Held, PartyMessage, Prep3, Reveal0
from tests.support.pair import LIMITS, Frames, Pair, honest
from tests.support.scenes import NEAR_ADA, STRANGER, ground, watchlist


def without(kind: type[PartyMessage]) -> object:
    """A tap that loses all messages of a kind."""

    def tap(_sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        return [] if isinstance(message, kind) else [frames]

    return tap


def test_at_the_end_what_is_held_or_awaited_gets_its_last_word() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.tap = without(Confirm1)  # type: ignore[assignment]
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(0.5)
        pair.cameras["north"].send([STRANGER], to=[0])
        for side in pair.sides:
            side.session.close("the window has ended", pair.moment)
        assert pair.p1.verified() == {("east", 0): ("ada",)}
        statuses = {key: event.status for key, event in pair.p0.faces().items()}
        assert statuses == {("east", 0): Status.BURNED, ("north", 0): Status.BURNED}
        assert pair.p0.session.status()["faces_unresolved"] == 0
        assert pair.p0.journal.pending() == []
        pair.flush()
        assert pair.p0.acks() == {("east", 0): [BURNED] * 2, ("north", 0): [BURNED]}
        assert pair.p0.state("east", 0) is SlotState.BURNED
        for side in pair.sides:
            assert side.told("outage") == []


def test_a_p1_that_stops_names_no_more_faces_and_ends_what_runs() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p1.session.draining = True
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(1)
        assert not any(isinstance(message, Held) for message in pair.p1.sent)
        assert not pair.p1.session.busy
        pair.restart(1, orderly=True)
        pair.cameras["east"].resend(0)
        assert pair.run(8, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == {("east", 0): ("ada",)}
        assert not pair.p0.told("outage")


def test_a_p0_that_stops_begins_nothing_new() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p0.session.draining = True
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(1)
        assert not any(isinstance(message, Reveal0) for message in pair.p0.sent)
        assert not pair.p0.session.busy


@pytest.mark.parametrize("most", [1, 3])
def test_failed_prepare_checks_are_counted_and_capped(most: int) -> None:
    limits = replace(LIMITS, prepare_attempts=most, outages=100)
    with Pair(ground(), watchlist(), limits=limits, tap=without(Prep3)) as pair:  # type: ignore[arg-type]
        pair.run(40, lambda: pair.p0.session.closed is not None)
        assert "prepare checks failed" in (pair.p0.session.closed or "")
        assert pair.p0.journal.counts("w1")[Count.PREPARE_ATTEMPTS] >= most


def test_a_silent_peer_is_an_outage_only_when_it_cost_something() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.run(1)
        pair.cut = True
        pair.run(LIMITS.peer_silence + 1)
        for side in pair.sides:
            assert side.session.session is None
            assert side.told("outage") == []
        pair.cut = False
        pair.tap = honest
        assert pair.run(3, lambda: pair.p1.session.session is not None)
