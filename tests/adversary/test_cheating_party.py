"""A party that runs other code than agreed: what it gains is an announcement on the other side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from party import follow, matching, prepare
from party.eventlines import Status
from party.events import EventStore
from party.journal import Count, SlotState
from party.matching import P0Confirming, P1Revealed, Verified
from party.material import PartySet
from party.places import PlaceTable
from party.prepare import OpeningShares, P0Committed, P1Judged, Passed
from shared.errors import WindowClosed
from shared.messages import (
    PARTY_CODEC,
    Burned,
    CameraHello,
    Confirm1,
    Held,
    PartyMessage,
    PlaceMap,
    Prep0,
    Prep4,
    Refused,
    Reveal0,
    Reveal1,
    Run,
    pack_runs,
)
from shared.watchlist import Entry
from tests.adversary.attacks import attack
from tests.adversary.meeting import EVERYBODY, outcome
from tests.support.minted import minted, parameters
from tests.support.pair import LIMITS, Frames, Pair, Side
from tests.support.scenes import NEAR_ADA, NEAR_DAN, PARAMS, STRANGER, ground, watchlist

PARTIES = pytest.mark.parametrize("cheat", [0, 1])
LAST = 1 << 127


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes one party skip its own checks: it goes on, whatever the other one proves."""

    def p0_prepare(self: P0Committed, message: object) -> tuple[Passed, Prep4]:
        answer = Prep4(self.header.session, self.header.check, self.sigma, self.nonce)
        return prepare._passed(self.header, self.kappa), answer

    def p1_prepare(self: P1Judged, message: object) -> Passed:
        return prepare._passed(self.header, self.kappa)

    def p0_match(self: P0Confirming, message: object) -> Verified:
        return Verified(self.header, self.bits, self.transcript)

    def p1_match(self: P1Revealed, message: object) -> tuple[Verified, Confirm1]:
        return Verified(self.header, self.bits, self.transcript), self.opening

    def patch(cheat: int) -> None:
        if cheat == 0:
            monkeypatch.setattr(P0Committed, "receive", p0_prepare)
            monkeypatch.setattr(P0Confirming, "receive", p0_match)
        else:
            monkeypatch.setattr(P1Judged, "receive", p1_prepare)
            monkeypatch.setattr(P1Revealed, "receive", p1_match)

    return patch


def send_faces(pair: Pair) -> None:
    """Two faces of one camera and one of the other."""
    pair.cameras["east"].send([NEAR_ADA, STRANGER])
    pair.cameras["north"].send([NEAR_ADA])


def caught_by_a_check(pair: Pair, victim: Side) -> None:
    """The honest side's own check failed: closed at once, nothing released, the rest burned."""
    closed = victim.session.closed or ""
    assert closed.startswith("TamperDetected"), (closed, outcome(victim))
    assert len(victim.told("tamper")) == 1
    assert victim.journal.counts("w1")[Count.FAILURES] == 1
    assert victim.journal.closed("w1") == closed
    assert victim.verified() == {}
    assert all(event.status is Status.BURNED for event in victim.faces().values())
    refusal = victim.sent[-1]
    assert isinstance(refusal, Refused)
    assert refusal.error == "TamperDetected"
    states = {
        SlotState(state)
        for held in victim.session.sets
        for state in victim.journal.load_states(held)
    }
    assert SlotState.REVEALED not in states
    assert SlotState.IN_PREPARE not in states


# -- other numbers than agreed --------------------------------------------------------------


@PARTIES
@pytest.mark.parametrize("name", ["ada", "bob", "cyd"])
@pytest.mark.parametrize("change", [(1, 0, 0, 0), (0, 0, 0, -1), (3, -4, 5, -6)])
def test_another_entry_for_a_place_is_caught_before_a_face_comes(
    cheat: int, name: str, change: Sequence[int], stubborn: Callable[[int], None]
) -> None:
    """The attack of the thesis, section 3.3: track p instead of c, under c's digest."""
    stubborn(cheat)
    forged = tuple(
        replace(entry, coordinates=entry.coordinates + np.array(change, dtype=np.int64))
        if entry.name == name
        else entry
        for entry in watchlist()
    )
    lists = (forged, watchlist()) if cheat == 0 else (watchlist(), forged)
    with attack(f"P{cheat} tracks another {name}"), Pair(ground(), lists) as pair:
        send_faces(pair)
        pair.run(2)
        victim = pair.sides[1 - cheat]
        caught_by_a_check(pair, victim)
        assert not any(isinstance(m, Reveal0 | Reveal1) for m in victim.sent)


@PARTIES
@pytest.mark.parametrize("change", [1, -1, 1000, 1 << 16, 1 << 15])
def test_another_threshold_is_caught(
    cheat: int, change: int, stubborn: Callable[[int], None]
) -> None:
    stubborn(cheat)
    with attack(f"P{cheat} uses another threshold"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        numbers = pair.sides[cheat].session.table.numbers
        numbers.constants[:] += np.uint32(change & 0xFFFFFFFF)
        send_faces(pair)
        pair.run(2)
        caught_by_a_check(pair, pair.sides[1 - cheat])


@PARTIES
@pytest.mark.parametrize(
    ("coordinate", "change"),
    [(0, 1), (0, 5), (3, 1), (3, (1 << 32) - 1), (4, 1), (4, 1 << 16), (4, (1 << 32) - 1)],
)
def test_another_masked_face_is_caught(
    cheat: int, coordinate: int, change: int, stubborn: Callable[[int], None]
) -> None:
    stubborn(cheat)
    with attack(f"P{cheat} uses another e"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        send_faces(pair)
        for held in pair.sides[cheat].session.intake:
            held.masked = held.masked.copy()
            held.masked[:1, coordinate] += np.uint32(change)
        pair.run(2)
        caught_by_a_check(pair, pair.sides[1 - cheat])


@PARTIES
@pytest.mark.parametrize("shift", [1, 1 << 16, 1 << 31, 1 << 63, 1 << 64, LAST])
@pytest.mark.parametrize("excused", [False, True])
def test_a_shifted_kappa_share_is_caught_whatever_is_said_of_its_mac(
    cheat: int,
    shift: int,
    excused: bool,
    stubborn: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stubborn(cheat)
    honest_shares = PartySet.opening_shares

    def shifted(self: PartySet, *arguments: Any) -> OpeningShares:
        shares = honest_shares(self, *arguments)
        if self.party == cheat:
            add(shares.kappa[0], shift)
            if excused:  # as if alpha were what the cheater hopes
                add(shares.mac[0], shift * 0x0123456789ABCDEF0123456789ABCDEF)
        return shares

    monkeypatch.setattr(PartySet, "opening_shares", shifted)
    with attack(f"P{cheat} shifts kappa by {shift:#x}"), Pair(ground(), watchlist()) as pair:
        send_faces(pair)
        pair.run(2)
        victim = pair.sides[1 - cheat]
        if shift == LAST and victim.session.closed is None:
            # An error of the highest bit tells one bit of this slot's alpha, and changes no kappa.
            assert victim.verified() == pair.plaintext(watchlist())
        else:
            caught_by_a_check(pair, victim)


def add(element: Any, amount: int) -> None:
    """Adds to one ring element in place."""
    total = int(element[0]) + (int(element[1]) << 64) + amount
    element[0], element[1] = total & (1 << 64) - 1, total >> 64 & (1 << 64) - 1


# -- bits -----------------------------------------------------------------------------------


@PARTIES
@pytest.mark.parametrize(("face", "place"), [(0, 0), (1, 2)])
@pytest.mark.parametrize("error", [1, 3, (1 << 64) - 1])
def test_a_wrong_bit_share_is_caught(
    cheat: int, face: int, place: int, error: int, stubborn: Callable[[int], None]
) -> None:
    """error: xored into the tag; its least bit flips the bit share."""
    stubborn(cheat)
    with attack(f"P{cheat} flips a bit share"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        session = pair.sides[cheat].session
        honest_shares = session.tag_shares

        def flipped(*arguments: Any) -> Any:
            shares = honest_shares(*arguments)
            shares.parts[0].tags[face, place] ^= np.uint64(error)
            return shares

        session.tag_shares = flipped  # type: ignore[method-assign,assignment]
        send_faces(pair)
        pair.run(2)
        caught_by_a_check(pair, pair.sides[1 - cheat])


@pytest.mark.parametrize("wanted", [0x00, 0xFF])
def test_a_p1_that_answers_with_the_bits_it_wants_is_caught(
    wanted: int, stubborn: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has P0's bits when it chooses its own."""
    stubborn(1)
    honest_answer = matching.reveal_p1

    def lie(header: Any, shares: Any, message: Reveal0, nonce: bytes) -> Any:
        state, answer = honest_answer(header, shares, message, nonce)
        mask = (1 << len(header.live)) - 1
        bits = bytes((wanted & mask) ^ byte for byte in bytes(message.bits))
        return state, replace(answer, bits=bits)

    monkeypatch.setattr(follow, "reveal_p1", lie)
    with attack(f"P1 forces the bits {wanted:#x}"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        send_faces(pair)
        pair.run(2)
        caught_by_a_check(pair, pair.p0)


def test_a_p1_that_commits_to_nothing_and_searches_later_is_caught(
    stubborn: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commitment that it can open to what Confirm0 tells does not exist."""
    stubborn(1)
    honest_answer = matching.reveal_p1

    def uncommitted(header: Any, shares: Any, message: Reveal0, nonce: bytes) -> Any:
        state, answer = honest_answer(header, shares, message, nonce)
        return state, replace(answer, commitment=bytes(32))

    monkeypatch.setattr(follow, "reveal_p1", uncommitted)
    with attack("P1 commits to zeros"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        send_faces(pair)
        pair.run(2)
        caught_by_a_check(pair, pair.p0)


# -- slots of its own choice ----------------------------------------------------------------


def crafted_check(
    pair: Pair, runs: Sequence[Run], places: tuple[int, ...], number: int = 1000
) -> Prep0:
    """A Prep0 that P0's own journal would not allow."""
    session = pair.p0.session
    header = prepare.CheckHeader(
        session.session or b"",
        number,
        PARAMS.digest(),
        session.table.digest(),
        tuple(runs),
        places,
    )
    _, message = prepare.start_p0(
        header, session.opening_shares(header, session.table), bytes(32), bytes(16)
    )
    return message


def say(pair: Pair, party: int, message: PartyMessage) -> None:
    """A party says something that its own code would not."""
    pair.wire[party].append(PARTY_CODEC.encode(message))
    pair.pump()


def refused(pair: Pair, messages: Sequence[PartyMessage], told: str) -> None:
    """P1 refuses the last of these, says why, and shows nothing for it."""
    before = len([m for m in pair.p1.sent if not isinstance(m, Refused)])
    shown = dict(pair.p1.shown.openings), dict(pair.p1.shown.reveals)
    answered = sum(isinstance(m, Prep0 | Reveal0) for m in messages[:-1])
    pair.wire[0].extend(PARTY_CODEC.encode(message) for message in messages)
    pair.pump()
    said = [m for m in pair.p1.sent if not isinstance(m, Refused)]
    assert len(said) == before + answered
    assert told in outcome(pair.p1), outcome(pair.p1)
    assert pair.p1.shown.twice() == []
    if not answered:
        assert (pair.p1.shown.openings, pair.p1.shown.reveals) == shown


SECOND_CHECKS: dict[str, Callable[[bytes], tuple[list[Run], tuple[int, ...]]]] = {
    "the same slots and places": lambda held: ([Run(held, 0, 4)], (0, 1, 2)),
    "one place again": lambda held: ([Run(held, 0, 4)], (1,)),
    "the last slot again": lambda held: ([Run(held, 5, 4)], (0, 1, 2)),
    "a slot twice in one check": lambda held: ([Run(held, 12, 2), Run(held, 13, 1)], (0, 1, 2)),
    "a place twice": lambda held: ([Run(held, 12, 2)], (0, 0, 1)),
    "places out of order": lambda held: ([Run(held, 12, 2)], (1, 0)),
    "a place without an entry": lambda held: ([Run(held, 12, 2)], (0, 4)),
}


@pytest.mark.parametrize("name", SECOND_CHECKS)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_place_of_a_slot_is_opened_once(name: str, restarted: bool) -> None:
    """Two preparations with different entries would give D_1 - D_2."""
    name_of_attack = f"P0 prepares {name}, restarted {restarted}"
    with attack(name_of_attack), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, lambda: pair.prepared(6))
        if restarted:
            pair.restart(1)
            meet_anew(pair)
        held = pair.cameras["east"].file.name.set_id()
        runs, places = SECOND_CHECKS[name](held)
        message = replace(
            crafted_check(pair, runs, (0, 1, 2)[: len(places)]),
            places=np.asarray(places, dtype="<u4").tobytes(),
        )
        about_places = name in ("a place twice", "places out of order", "a place without an entry")
        refused(pair, [message], "mismatch" if about_places else "violation")


def meet_anew(pair: Pair) -> None:
    """Until a new session is there, with the place map agreed."""
    pair.run(2)
    assert pair.run(8, lambda: pair.p0.session.session == pair.p1.session.session is not None)
    pair.run(1)


def test_a_slot_is_in_one_check_at_a_time() -> None:
    """Two checks at once would give two chances at one alpha."""
    with attack("P0 starts two checks of one slot"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, lambda: pair.prepared(6))
        held = pair.cameras["east"].file.name.set_id()
        first = crafted_check(pair, [Run(held, 10, 2)], (0, 1), 1000)
        second = crafted_check(pair, [Run(held, 11, 2)], (2,), 1001)
        refused(pair, [first, second], "violation")
        assert pair.p1.state("east", 10) is SlotState.BURNED


def test_numbers_of_checks_and_batches_are_not_used_again() -> None:
    with attack("P0 uses a check's number again"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, lambda: pair.prepared(6))
        held = pair.cameras["east"].file.name.set_id()
        refused(pair, [crafted_check(pair, [Run(held, 10, 2)], (0, 1), 0)], "violation")


def crafted_reveal(pair: Pair, runs: Sequence[Run], number: int = 1000) -> Reveal0:
    """The last Reveal0 of P0 with other slots."""
    last = [m for m in pair.p0.sent if isinstance(m, Reveal0)][-1]
    return replace(last, batch=number, runs=pack_runs(runs))


@pytest.mark.parametrize(
    "slots", [(0, 2), (0, 1), (2, 1), (3, 1), (20, 4), (0, 24), (23, 1), (0, 1 << 31)]
)
def test_only_slots_that_p1_holds_in_this_very_shape_are_revealed(slots: tuple[int, int]) -> None:
    with attack(f"P0 reveals slots {slots}"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.cameras["east"].send([NEAR_ADA, STRANGER])  # slots 0 and 1: done
        assert pair.run(3, pair.settled)
        pair.cameras["east"].send([NEAR_ADA, STRANGER], to=[1])  # slots 2 and 3
        held = pair.cameras["east"].file.name.set_id()
        refused(pair, [crafted_reveal(pair, [Run(held, *slots)])], "mismatch")


def test_a_batch_names_no_slot_twice_and_at_least_one() -> None:
    for runs in ([(2, 2), (2, 2)], []):
        with attack(f"P0 reveals {runs}"), Pair(ground(), watchlist()) as pair:
            assert pair.run(3, pair.prepared)
            pair.cameras["east"].send([NEAR_ADA, STRANGER])
            assert pair.run(3, pair.settled)
            pair.cameras["east"].send([NEAR_ADA, STRANGER], to=[1])
            held = pair.cameras["east"].file.name.set_id()
            message = crafted_reveal(pair, [Run(held, *run) for run in runs])
            refused(pair, [message], "mismatch")


# -- leaving out ----------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_an_entry_left_out_of_a_batch_is_announced(hidden: int) -> None:
    with attack(f"P0 leaves out place {hidden}"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        table = pair.p0.session.table
        chosen = table.chosen
        table.chosen = lambda mask: tuple(p for p in chosen(mask) if p != hidden)  # type: ignore[method-assign]
        send_faces(pair)
        assert pair.run(3, pair.settled)
        name = watchlist()[hidden].name
        assert any(name in told for told in pair.p1.told("omission"))
        assert pair.wrong_results(watchlist()) == []


@PARTIES
def test_faces_that_one_party_never_matches_are_announced_by_the_other(cheat: int) -> None:
    def tap(sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        hidden = Reveal0 if cheat == 0 else Held
        return [] if isinstance(message, hidden) else [frames]

    with attack(f"P{cheat} leaves faces out"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.tap = tap
        if cheat == 0:
            pair.p0.session._start_batches = lambda moment: None  # type: ignore[attr-defined]
            pair.p0.session.overdue_faces = lambda *_: None  # type: ignore[method-assign]
        send_faces(pair)
        pair.run(LIMITS.face_deadline + 2)
        victim = pair.sides[1 - cheat]
        assert victim.told("omission")
        assert all(event.status is Status.BURNED for event in victim.faces().values())
        assert len(victim.faces()) == 3


def test_time_without_a_session_is_not_p0s_excuse_for_ever() -> None:
    """Reconnecting again and again does not reset the deadline of held faces."""
    with attack("P0 reconnects for ever"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p0.session._start_batches = lambda moment: None  # type: ignore[attr-defined]
        pair.p0.session.overdue_faces = lambda *_: None  # type: ignore[method-assign]
        send_faces(pair)
        for _ in range(4):
            pair.run(LIMITS.face_deadline / 3)
            pair.p0.session.drop("on purpose", pair.moment)
        pair.run(2)
        assert pair.p1.told("omission")


def test_a_new_entry_that_p0_gives_no_place_is_announced() -> None:
    with attack("P0 gives an entry no place"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p0.session.on_watchlist = lambda *_: None  # type: ignore[method-assign]
        add_dan(pair)
        pair.run(LIMITS.entry_deadline + 3)
        assert any("dan" in told for told in pair.p1.told("omission"))


def test_a_new_entry_that_p0_never_prepares_is_announced() -> None:
    with attack("P0 prepares an entry for no face"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p0.session._start_check = lambda moment: None  # type: ignore[attr-defined]
        add_dan(pair)
        pair.run(LIMITS.entry_deadline + 2)
        send_faces(pair)
        assert pair.run(3, pair.settled)
        assert any("dan" in told for told in pair.p1.told("omission"))
        assert pair.wrong_results(watchlist(*EVERYBODY)) == []


def add_dan(pair: Pair) -> None:
    """One more entry on both watchlists."""
    for side in pair.sides:
        side.session.set_watchlist(watchlist(*EVERYBODY), side.local(pair.moment))
    pair.pump()


@PARTIES
def test_an_entry_that_the_other_party_does_not_approve_is_announced(cheat: int) -> None:
    lists: list[tuple[Entry, ...]] = [watchlist(), watchlist()]
    lists[cheat] = watchlist("bob", "cyd")
    with attack(f"P{cheat} approves less"), Pair(ground(), (lists[0], lists[1])) as pair:
        pair.run(LIMITS.entry_deadline + 3)
        assert "ada" in pair.sides[1 - cheat].told("watchlist")[0]


# -- place maps -----------------------------------------------------------------------------


def test_a_removed_entry_is_not_matched_on_a_former_map() -> None:
    """P0 agrees to the new map and goes on with the old one."""
    with attack("P0 uses a former place map"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        former = pair.p0.session.table
        for side in pair.sides:
            side.session.set_watchlist(watchlist("bob", "cyd"), side.local(pair.moment))
        pair.run(LIMITS.confirm_deadline + 1)
        pair.p0.session.table = former
        send_faces(pair)
        pair.run(1)
        assert "PeerVanished" in [m.error for m in pair.p1.sent if isinstance(m, Refused)]
        assert set(pair.p1.verified().values()) <= {()}  # in a new session, on the new map


def test_a_p0_that_ignores_a_removal_loses_its_session() -> None:
    with attack("P0 ignores a removal"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.p0.session.on_watchlist = lambda *_: None  # type: ignore[method-assign]
        pair.p1.session.set_watchlist(watchlist("bob", "cyd"), pair.moment)
        first = pair.p1.session.session
        pair.run(LIMITS.confirm_deadline + 1)
        assert pair.p1.session.session != first
        assert "ada" not in [e.name for e in pair.p1.session.table.entries.values()]


FORGED_MAPS: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "an entry on another place": lambda b: (b[0]._replace(place=3), *b[1:])[::-1],
    "two entries swapped": lambda b: (
        b[0]._replace(entry=b[1].entry),
        b[1]._replace(entry=b[0].entry),
        *b[2:],
    ),
    "an unknown entry": lambda b: (*b[:-1], b[-1]._replace(entry=bytes(32))),
    "a place out of range": lambda b: (*b[:-1], b[-1]._replace(place=6)),
    "an entry on two places": lambda b: (*b, b[-1]._replace(place=5)),
}


@pytest.mark.parametrize("name", FORGED_MAPS)
def test_a_place_stays_with_its_entry(name: str) -> None:
    with attack(f"P0 proposes {name}"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        session = pair.p0.session
        bindings = FORGED_MAPS[name](session.table.bindings())
        say(pair, 0, PlaceMap(session.session or b"", 100, bindings))
        assert {"violation", "mismatch"} & outcome(pair.p1)
        bound = {b.place: b.entry for b in pair.p1.journal.places("w1")}
        assert bound == {p: e.digest for p, e in enumerate(watchlist())}


def test_a_flood_of_place_maps_is_refused() -> None:
    with attack("P0 proposes without end"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        session = pair.p0.session.session or b""
        whole = pair.p0.session.table.bindings()
        for epoch in range(100, 140):
            part = tuple(b for i, b in enumerate(whole) if epoch >> i & 1)
            pair.wire[0].append(PARTY_CODEC.encode(PlaceMap(session, epoch, part)))
        pair.pump()
        agreed = pair.p1.session._tables  # type: ignore[attr-defined]
        assert len(agreed) <= 16


# -- who they are ---------------------------------------------------------------------------


OTHERS = {
    "another minting attempt": lambda: minted(PARAMS, attempt=1),
    "another threshold": lambda: minted(parameters(threshold=401)),
    "more places": lambda: minted(parameters(places=7)),
    "another camera": lambda: minted(PARAMS, ("south",)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_parties_with_other_material_or_parameters_begin_no_session(name: str) -> None:
    with attack(f"P1 has {name}"), Pair(ground(), watchlist()) as pair:
        side = pair.p1
        side.close()
        shutil.rmtree(side.folder)
        side.folder.mkdir()
        side.ground = OTHERS[name]()
        side.open(pair.moment)
        pair.run(3)
        for one in pair.sides:
            assert one.session.session is None
            assert not any(isinstance(m, Prep0) for m in one.sent)
        assert pair.p1.session.mismatch is not None
        assert len(pair.p1.told("mismatch")) == 1


@pytest.mark.parametrize("skew", [-6000, 6000, 3_600_000])
def test_parties_whose_clocks_differ_begin_no_session_and_say_so_once(skew: int) -> None:
    with attack(f"a clock {skew} ms off"), Pair(ground(), watchlist()) as pair:
        pair.p1.skew_ms = skew
        pair.run(3)
        assert pair.p0.session.session is pair.p1.session.session is None
        assert pair.p1.session.mismatch is None  # a clock can be set: no reason to end
        assert len(pair.p1.told("clock")) == 1
        pair.p1.skew_ms = 0
        assert pair.run(3, pair.prepared)


@PARTIES
def test_a_restored_backup_is_recognised(cheat: int) -> None:
    with attack(f"P{cheat} runs a restored backup"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        side = pair.sides[cheat]
        backup = pair.p0.folder.parent / "backup"
        side.close()
        shutil.copytree(side.folder, backup)
        side.open(pair.moment)
        meet_anew(pair)
        send_faces(pair)
        assert pair.run(5, pair.ended)
        pair.restart(cheat)
        meet_anew(pair)
        side.close()
        shutil.rmtree(side.folder)
        shutil.copytree(backup, side.folder)
        side.open(pair.moment)
        pair.run(8)
        victim = pair.sides[1 - cheat]
        assert len(victim.told("restored")) == 1
        assert pair.p0.session.session is None
        assert victim.shown.twice() == []


def test_a_new_journal_in_place_of_the_old_one_opens_no_slot_again() -> None:
    """A party that lost its disk: its peer's marks burn what it does not know."""
    for lost in (0, 1):
        with attack(f"P{lost} lost its journal"), Pair(ground(), watchlist()) as pair:
            assert pair.run(3, pair.prepared)
            send_faces(pair)
            assert pair.run(3, pair.settled)
            side = pair.sides[lost]
            events = side.verified()
            side.close()
            for path in side.folder.glob("journal*"):
                path.unlink()
            side.open(pair.moment)
            pair.run(8)
            pair.cameras["east"].resend(0)
            pair.run(2)
            assert side.shown.twice() == []
            assert side.verified() == events
            assert side.state("east", 0) is SlotState.BURNED


# -- after the end --------------------------------------------------------------------------


@PARTIES
def test_nothing_of_a_closed_window_is_used_any_more(
    cheat: int, stubborn: Callable[[int], None]
) -> None:
    stubborn(cheat)
    with attack(f"P{cheat} goes on after tampering"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        numbers = pair.sides[cheat].session.table.numbers
        numbers.constants[:] += np.uint32(7)
        send_faces(pair)
        pair.run(1)
        victim = pair.sides[1 - cheat]
        caught_by_a_check(pair, victim)
        sent, faces = len(victim.sent), victim.faces()
        pair.cameras["east"].send([NEAR_ADA], to=[victim.party])
        assert isinstance(victim.camera_errors[-1], WindowClosed)
        pair.run(5)
        for message in tuple(pair.sides[cheat].sent):
            say(pair, cheat, message)
        assert all(isinstance(m, Refused) for m in victim.sent[sent:])
        assert victim.faces() == faces
        held = next(iter(victim.session.sets))
        with pytest.raises(WindowClosed):
            victim.journal.mark_in_prepare(bytes(16), [Run(held, 20, 1)], [0])
        with pytest.raises(WindowClosed):
            victim.journal.reserve_reveal({held: 24})
        with pytest.raises(ValueError, match="destroyed"):
            victim.session.sets[held].opening_shares(20, 1, (0,), numbers)
        name = victim.session.sets[held].name
        hello = CameraHello(name.window, name.camera, name.mint_id, PARAMS.digest(), 0)
        with pytest.raises(WindowClosed):
            victim.session.welcome(hello)
        path = victim.folder
        victim.close()
        with pytest.raises(WindowClosed):
            victim.open(pair.moment)
        with EventStore(path / "events.sqlite", path / "events.jsonl") as events:
            assert [a.kind for a in events.announcements()].count("tamper") == 1
        pair.sides = tuple(side for side in pair.sides if side is not victim)


@PARTIES
def test_lies_about_burned_slots_burn_them_and_no_more(cheat: int) -> None:
    with attack(f"P{cheat} says slots are burned"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        send_faces(pair)
        assert pair.run(3, pair.settled)
        victim, liar = pair.sides[1 - cheat], pair.sides[cheat]
        verified = victim.verified()
        held = pair.cameras["east"].file.name.set_id()
        session = liar.session.session or b""
        say(pair, cheat, Burned(session, pack_runs([Run(held, 0, 6)])))
        assert victim.verified() == verified  # what was verified stays
        assert victim.state("east", 5) is SlotState.BURNED
        pair.cameras["east"].send([NEAR_ADA])
        pair.cameras["north"].send([NEAR_DAN])
        pair.run(4)
        assert victim.verified() | {("north", 1): ()} == victim.verified()
        assert pair.wrong_results(watchlist()) == []


def test_tables_differ_when_anything_that_is_public_differs() -> None:
    table = PlaceTable(PARAMS, "w1", 1, dict(enumerate(watchlist())))
    others = [
        PlaceTable(PARAMS, "w2", 1, dict(enumerate(watchlist()))),
        PlaceTable(parameters(threshold=401), "w1", 1, dict(enumerate(watchlist()))),
        PlaceTable(PARAMS, "w1", 1, dict(enumerate(watchlist("bob", "ada", "cyd")))),
        PlaceTable(PARAMS, "w1", 1, dict(enumerate(watchlist("ada", "bob")))),
    ]
    assert len({one.digest() for one in (table, *others)}) == 5
