"""The watchlist changes while the window runs: places, their check, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.messages import PlaceMap, Prep0
from shared.watchlist import Entry
from tests.support.minted import minted, parameters
from tests.support.pair import LIMITS, Frames, Pair, honest
from tests.support.scenes import (
    NEAR_ADA,
    NEAR_DAN,
    STRANGER,
    ground,
    watchlist,
)


def change(pair: Pair, entries: Sequence[Entry], parties: Sequence[int] = (0, 1)) -> None:
    """These parties have another watchlist from now on."""
    for party in parties:
        side = pair.sides[party]
        side.session.set_watchlist(entries, side.local(pair.moment))


def live(pair: Pair, party: int = 0) -> set[str]:
    """Names of the entries in the place map in force."""
    return {entry.name for entry in pair.sides[party].session.table.entries.values()}


def match(pair: Pair, face: Sequence[int]) -> tuple[str, ...]:
    """What both parties report for one more face."""
    camera = pair.cameras["east"]
    slot = camera.next_slot
    camera.send([face])
    assert pair.run(5, pair.settled)
    found = pair.p0.verified()[("east", slot)]
    assert pair.p1.verified()[("east", slot)] == found
    return found


def test_a_new_entry_takes_a_free_place_and_is_live_once_prepared() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        assert match(pair, NEAR_DAN) == ()
        change(pair, watchlist("ada", "bob", "cyd", "dan"))
        pair.run(1)
        assert live(pair) == live(pair, 1) == {"ada", "bob", "cyd", "dan"}
        # The slots that were ready already got a check of their own for the new place.
        checks = [m for m in pair.p0.sent if isinstance(m, Prep0)]
        assert any(bytes(m.places) == (3).to_bytes(4, "little") for m in checks)
        assert match(pair, NEAR_DAN) == ("dan",)
        assert match(pair, NEAR_ADA) == ("ada",)


def test_a_new_place_is_prepared_though_checks_were_in_flight_when_it_was_agreed() -> None:
    held: list[Frames] = []

    def slow(sender: int, message: object, frames: Frames) -> list[Frames]:
        if pair_slow and sender == 1 and type(message).__name__ == "Prep1":
            held.append(frames)
            return []
        return [frames]

    pair_slow = True
    with Pair(ground(), watchlist(), tap=slow) as pair:
        pair.run(0.5)
        change(pair, watchlist("ada", "bob", "cyd", "dan"))
        pair.run(0.5)
        assert held
        pair_slow = False
        pair.wire[1].extend(held)
        pair.run(1)
        assert match(pair, NEAR_DAN) == ("dan",)


def test_a_removed_entry_is_not_matched_any_more() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        assert match(pair, NEAR_ADA) == ("ada",)
        change(pair, watchlist("bob", "cyd"))
        pair.run(0.5)
        assert live(pair) == live(pair, 1) == {"bob", "cyd"}
        assert match(pair, NEAR_ADA) == ()


def test_one_party_alone_can_take_an_entry_out() -> None:
    for party in (0, 1):
        with Pair(ground(), watchlist()) as pair:
            assert pair.run(5, pair.prepared)
            change(pair, watchlist("bob", "cyd"), [party])
            pair.run(0.5)
            assert live(pair, 0) == live(pair, 1) == {"bob", "cyd"}
            assert match(pair, NEAR_ADA) == ()
            pair.run(LIMITS.entry_deadline + 2)
            other = pair.sides[1 - party]
            assert len(other.told("watchlist")) == 1
            assert "ada" in other.told("watchlist")[0]
            assert not pair.p1.told("omission")


def test_an_entry_that_comes_back_gets_its_old_place() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        change(pair, watchlist("bob", "cyd"))
        pair.run(0.5)
        change(pair, watchlist("dan", "bob", "cyd", "ada"))
        pair.run(1)
        table = pair.p1.session.table
        assert {place: e.name for place, e in table.entries.items()} == {
            0: "ada",
            1: "bob",
            2: "cyd",
            3: "dan",
        }
        assert match(pair, NEAR_ADA) == ("ada",)


def test_an_entry_of_one_party_only_is_never_live() -> None:
    with Pair(ground(), (watchlist(), watchlist("ada", "bob", "cyd", "dan"))) as pair:
        assert pair.run(5, pair.prepared)
        assert live(pair) == {"ada", "bob", "cyd"}
        assert match(pair, NEAR_DAN) == ()


def test_more_entries_than_places_leave_the_last_ones_out_and_say_so() -> None:
    params = parameters(places=2)
    with Pair(minted(params, ("east",)), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        assert live(pair) == live(pair, 1) == {"ada", "bob"}
        assert match(pair, NEAR_ADA) == ("ada",)
        pair.run(LIMITS.entry_deadline + 2)
        assert len(pair.p0.told("places")) == 1
        assert "cyd" in pair.p0.told("places")[0]
        assert not pair.p1.told("omission")  # P0 could not do better


def test_a_place_once_bound_is_not_given_to_another_entry() -> None:
    params = parameters(places=3)
    with Pair(minted(params, ("east",)), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        change(pair, watchlist("bob", "cyd", "dan"))
        pair.run(1)
        assert live(pair) == {"bob", "cyd"}
        assert "dan" in pair.p0.told("places")[0]
        pair.restart(0)
        pair.restart(1)
        for side in pair.sides:
            side.session.set_watchlist(watchlist("bob", "cyd", "dan"), pair.moment)
        pair.run(1)
        assert live(pair) == live(pair, 1) == {"bob", "cyd"}


def test_changes_that_cross_on_the_wire_end_in_the_same_map() -> None:
    names = ["ada", "bob", "cyd", "dan"]
    with Pair(ground(), watchlist(*names)) as pair:
        assert pair.run(5, pair.prepared)
        change(pair, watchlist("bob", "cyd", "dan"), [0])
        change(pair, watchlist("ada", "cyd", "dan"), [1])
        change(pair, watchlist("cyd", "dan"), [1])
        change(pair, watchlist("bob", "cyd"), [0])
        pair.run(1)
        assert live(pair) == live(pair, 1) == {"cyd"}
        for side in pair.sides:
            assert not side.told("violation")
            assert not side.told("mismatch")
        change(pair, watchlist(*names), [1])
        change(pair, watchlist(*names), [0])
        pair.run(1)
        assert live(pair) == live(pair, 1) == set(names)
        assert match(pair, NEAR_ADA) == ("ada",)


def test_batches_of_a_former_map_on_the_way_are_still_matched() -> None:
    def tap(sender: int, message: object, frames: Frames) -> list[Frames]:
        if stopped and sender == 1 and type(message).__name__ == "PlaceMapAgreed":
            held.append(frames)
            return []
        return [frames]

    held: list[Frames] = []
    stopped = False
    with Pair(ground(), watchlist(), tap=tap) as pair:
        assert pair.run(5, pair.prepared)
        stopped = True
        change(pair, watchlist("bob", "cyd"), [0])
        pair.run(0.2)
        change(pair, watchlist("cyd"), [0])
        pair.run(0.2)
        assert sum(isinstance(m, PlaceMap) for m in pair.p0.sent) == 3
        assert match(pair, STRANGER) == ()  # P0 has read no agreement yet
        stopped = False
        pair.wire[1].extend(held)
        pair.run(1)
        assert live(pair) == live(pair, 1) == {"cyd"}
        assert match(pair, STRANGER) == ()
        assert not pair.p0.told("outage")


def test_the_other_partys_watchlist_is_told_at_every_change() -> None:
    with Pair(ground(), watchlist(), limits=replace(LIMITS, entry_deadline=1.0)) as pair:
        assert pair.run(5, pair.prepared)
        change(pair, watchlist("bob", "cyd"), [0])
        pair.run(4)
        # P1 knows that P0 does not want ada any more: no omission, an honest difference.
        assert not pair.p1.told("omission")
        assert "ada" in pair.p1.told("watchlist")[0]


@pytest.mark.parametrize("party", [0, 1])
def test_faces_evaluated_before_a_new_place_was_prepared_are_evaluated_again(party: int) -> None:
    held: list[Frames] = []

    def hold(_sender: int, message: object, frames: Frames) -> list[Frames]:
        if type(message).__name__ == "Prep0":
            held.append(frames)
            return []
        return [frames]

    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.tap = hold
        change(pair, watchlist("ada", "bob", "cyd", "dan"))
        pair.cameras["east"].send([NEAR_DAN])
        pair.pump()
        assert pair.sides[party].session.work_ahead(10)  # the new place is agreed, no more
        pair.tick()
        assert held
        pair.tap = honest
        pair.wire[0].extend(held)
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == {("east", 0): ("dan",)}
