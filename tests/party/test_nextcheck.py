"""Shares of the next check, computed ahead: the same ones, foreseen rightly, and never too many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from party.material import PartySet
from party.nextcheck import PIECE
from party.prepare import OpeningShares
from shared.errors import ResourceError
from shared.messages import Prep0, Prep1, Run
from tests.support.minted import minted
from tests.support.pair import LIMITS, Pair, Side
from tests.support.scenes import NEAR_ADA, PARAMS, STRANGER, watchlist

SLOTS = 512
LIMITS_HERE = replace(LIMITS, prepare_ahead=SLOTS, check_slots=128)


class Calls:
    """Slots whose shares a party computes, by party."""

    def __init__(self) -> None:
        self.slots: tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]] = ([], [])

    def note(self, owner: PartySet, first: int, length: int) -> None:
        self.slots[owner.party].extend(
            (owner.set_id, slot) for slot in range(first, first + length)
        )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()
    compute = PartySet.opening_shares

    def counted(self: PartySet, first: int, length: int, *rest: Any) -> OpeningShares:
        made.note(self, first, length)
        return compute(self, first, length, *rest)

    monkeypatch.setattr(PartySet, "opening_shares", counted)
    return made


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair(minted(PARAMS, slots=SLOTS), watchlist(), limits=LIMITS_HERE) as made:
        yield made


def idle(side: Side) -> int:
    """All that a party does ahead; how many pieces."""
    done = 0
    while side.session.next_check.work_waits and side.session.next_check.work_ahead():
        done += 1
    return done


def same(one: OpeningShares, other: OpeningShares) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("kappa", "mac", "alphas")
    )


def test_shares_computed_ahead_are_the_shares(pair: Pair) -> None:
    pair.tick()
    for side in pair.sides:
        session = side.session
        assert idle(side) > 0
        ready = dict(session.next_check._ready)
        places = session.next_check._places
        for piece, shares in ready.items():
            owner = session.sets[piece.set_id]
            numbers = session.table.numbers
            assert same(shares, owner.opening_shares(piece.first, piece.length, places, numbers))
        table = session.table
        one, *_ = ready
        runs = [Run(one.set_id, one.first + 3, PIECE + 20)]  # never asked for like that
        together = session.next_check.shares(runs, places, table)
        apart = session.sets[one.set_id].opening_shares(
            one.first + 3, PIECE + 20, places, table.numbers
        )
        assert same(together, apart)


def test_both_foresee_what_is_prepared_next_and_compute_nothing_twice(
    pair: Pair, calls: Calls
) -> None:
    heard: list[int] = []

    def counting(sender: int, message: Any, frames: Any) -> Any:
        if isinstance(message, Prep0 | Prep1):
            heard.append(sender)
        return [frames]

    pair.tap = counting
    for _ in range(200):
        for side in pair.sides:
            idle(side)
        pair.tick()
        if pair.prepared(SLOTS):
            break
    assert pair.prepared(SLOTS)
    assert len(heard) > 10
    for party in (0, 1):
        computed = calls.slots[party]
        assert len(computed) == len(set(computed)) == len(pair.cameras) * SLOTS


def test_what_was_computed_ahead_serves_the_check_that_asks(pair: Pair, calls: Calls) -> None:
    pair.tick()
    for side in pair.sides:
        idle(side)
        calls.slots[side.party].clear()
    pair.p0.session.tick(pair.moment)
    asked = [m for m in pair.p0.outbox.peer if isinstance(m, Prep0)]
    pair.pump()
    assert len(asked) <= LIMITS_HERE.checks_in_flight
    assert calls.slots == ([], [])


def test_faces_are_matched_rightly_while_checks_are_foreseen(pair: Pair) -> None:
    pair.tick()
    for i in range(20):
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA, STRANGER][i % 2 : i % 2 + 1])
        pair.tick()
    assert pair.run(20, pair.settled)
    assert pair.p0.verified() == pair.p1.verified() == pair.plaintext(watchlist())
    assert all(side.shown.twice() == [] for side in pair.sides)


def test_other_places_make_what_was_computed_worthless(pair: Pair) -> None:
    pair.tick()
    for side in pair.sides:
        assert idle(side) > 0
        session = side.session
        places = session.next_check._places
        one = next(iter(session.next_check._ready))
        some = session.next_check.shares([one], places[:1], session.table)
        assert same(
            some,
            session.sets[one.set_id].opening_shares(
                one.first, one.length, places[:1], session.table.numbers
            ),
        )
        assert session.next_check._ready == {}


def test_no_more_is_kept_than_the_checks_that_may_be_in_flight(pair: Pair) -> None:
    most = LIMITS_HERE.checks_in_flight * LIMITS_HERE.check_slots
    for _ in range(40):
        pair.tick()
        for side in pair.sides:
            idle(side)
            kept = side.session.next_check._ready
            assert sum(piece.length for piece in kept) <= most
            assert all(
                piece.first // PIECE == (piece.stop - 1) // PIECE for piece in kept
            )  # a chunk of the file is decrypted once


def test_a_closed_window_keeps_no_shares(pair: Pair) -> None:
    pair.tick()
    for side in pair.sides:
        idle(side)
        assert side.session.next_check._ready
        side.session.close("for a test", pair.moment)
        assert side.session.next_check._ready == {}
        assert not side.session.work_ahead(64)


def test_no_opening_leaves_unless_its_mark_can_be_made_durable(pair: Pair) -> None:
    pair.tick()

    def failing() -> None:
        raise ResourceError("the disk did not confirm a write")

    for side in pair.sides:
        side.outbox.barrier = failing
    before = [len(side.shown.openings) for side in pair.sides]
    with pytest.raises(ResourceError):
        pair.run(5)
    for side in pair.sides:
        side.take()
    assert [len(side.shown.openings) for side in pair.sides] == before
