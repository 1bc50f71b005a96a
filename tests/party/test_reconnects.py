"""Cut wires and killed processes: what passed stays, the rest is burned, nothing comes twice."""

from __future__ import annotations

import pytest

from party.eventlines import Status
from party.journal import Count, SlotState
from party.windowstate import Moment
from shared.errors import WindowClosed
from shared.messages import (
    BURNED,
    VERIFIED,
    Approved,
    Burned,
    Confirm0,
    Confirm1,
    Held,
    Hello,
    PartyMessage,
    Ping,
    PlaceMap,
    PlaceMapAgreed,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Reveal0,
    Reveal1,
    Run,
)
from tests.adversary.meeting import EVERYBODY, aftermath, goes_on, meet, outcome
from tests.support.pair import LIMITS, Frames, Pair, honest
from tests.support.scenes import NEAR_ADA, STRANGER, ground, watchlist

KINDS = (Hello, Prep0, Prep1, Prep2, Prep3, Prep4, Reveal0, Reveal1, Confirm0, Confirm1)


class Scissors:
    """A tap that cuts the wire for good when a message of this kind comes by."""

    def __init__(self, kind: type[PartyMessage], *, deliver: bool = False) -> None:
        self.kind = kind
        self.deliver = deliver
        self.cut = False

    def __call__(self, _sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if self.cut:
            return []
        self.cut = isinstance(message, self.kind)
        return [frames] if self.deliver or not self.cut else []


def mend(pair: Pair) -> None:
    """The wire is whole again."""
    pair.tap = lambda _sender, _message, frames: [frames]


@pytest.mark.parametrize("restarted", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("deliver", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_window_goes_on_after_a_cut_at_any_message(
    kind: type[PartyMessage], deliver: bool, restarted: tuple[int, ...]
) -> None:
    scissors = Scissors(kind, deliver=deliver)
    with Pair(ground(), watchlist(), tap=scissors) as pair:
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA, STRANGER])
        pair.run(1)
        assert scissors.cut
        for party in restarted:
            pair.restart(party)
        mend(pair)
        for camera in pair.cameras.values():
            for number in range(len(camera.stored)):
                camera.resend(number)
        assert pair.run(20, pair.ended)
        for _ in range(12):  # some slots ahead may have burned with their check
            for camera in pair.cameras.values():
                camera.send([NEAR_ADA])
            assert pair.run(5, pair.ended)
        assert pair.wrong_results(watchlist()) == []
        for side in pair.sides:
            assert side.verified()[("east", 13)] == side.verified()[("north", 13)] == ("ada",)
            assert not side.session.closed


def run_to(kind: type[PartyMessage], deliver: bool) -> Pair:
    """A pair that was cut at this message, with one face of the east camera."""
    pair = Pair(ground(), watchlist())
    assert pair.run(5, pair.prepared)
    pair.tap = Scissors(kind, deliver=deliver)
    pair.cameras["east"].send([NEAR_ADA])
    pair.run(1)
    return pair


def test_without_confirm1_p0_reports_unresolved_and_resolves_after_reconnecting() -> None:
    with run_to(Confirm1, deliver=False) as pair:
        assert pair.p1.verified() == {("east", 0): ("ada",)}
        pair.run(LIMITS.peer_silence + 1)
        (event,) = pair.p0.faces().values()
        assert (event.status, event.entries) == (Status.UNRESOLVED, ())
        assert pair.p0.session.status()["faces_unresolved"] == 1
        assert pair.p0.acks() == {("east", 0): [BURNED]}  # nothing more for the camera to do
        mend(pair)
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == {("east", 0): ("ada",)}
        assert pair.p0.session.status()["faces_unresolved"] == 0
        assert pair.p0.journal.counts("w1")[Count.OUTAGES] == 1


@pytest.mark.parametrize("restarted", [(0,), (1,), (0, 1), (1, 0)])
def test_a_late_confirm1_is_accepted_after_either_party_restarted(
    restarted: tuple[int, ...],
) -> None:
    with run_to(Confirm1, deliver=False) as pair:
        for party in restarted:
            pair.restart(party)
        if 0 in restarted:
            (event,) = pair.p0.faces().values()
            assert event.status is Status.UNRESOLVED
        mend(pair)
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == {("east", 0): ("ada",)}
        pair.run(3)
        assert pair.wrong_results(watchlist()) == []
        assert pair.p0.journal.pending() == []


def test_without_confirm0_p1_burns_and_p0_stays_unresolved() -> None:
    with run_to(Confirm0, deliver=False) as pair:
        pair.run(LIMITS.peer_silence + 1)
        mend(pair)
        pair.run(5)
        assert pair.p1.faces()[("east", 0)].status is Status.BURNED
        assert pair.p0.faces()[("east", 0)].status is Status.UNRESOLVED
        assert pair.p1.state("east", 0) is SlotState.BURNED
        pair.cameras["east"].resend(0)
        assert pair.p0.verified() == pair.p1.verified() == {}


def test_p1_killed_between_storing_its_opening_and_telling_the_result_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    for name in ("record", "finish"):
        with Pair(ground(), watchlist()) as pair:
            assert pair.run(5, pair.prepared)
            pair.cameras["east"].send([NEAR_ADA])
            owner = pair.p1.events if name == "record" else pair.p1.journal
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, killed)
                with pytest.raises(KilledError):
                    pair.run(1)
            pair.restart(1)
            assert pair.p1.verified() == {("east", 0): ("ada",)}
            assert pair.p1.state("east", 0) is SlotState.DONE
            assert len(pair.p1.events.events()) == 1
            assert pair.run(5, pair.settled)
            assert pair.p0.verified() == pair.p1.verified()


def test_p0_killed_between_the_verdict_and_its_end_tells_the_result_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.cameras["east"].send([NEAR_ADA])
        with monkeypatch.context() as patch:
            patch.setattr(pair.p0.journal, "finish", killed)
            with pytest.raises(KilledError):
                pair.run(1)
        lines = (pair.p0.folder / "events.jsonl").read_text().count('"face"')
        pair.restart(0)
        pair.run(3)
        assert pair.p0.verified() == {("east", 0): ("ada",)}
        assert pair.p0.state("east", 0) is SlotState.DONE
        assert (pair.p0.folder / "events.jsonl").read_text().count('"face"') == lines == 1


def test_an_orderly_stop_is_no_outage_and_costs_no_slot() -> None:
    for party in (0, 1):
        with Pair(ground(), watchlist()) as pair:
            assert pair.run(5, pair.prepared)
            pair.run(1)
            pair.restart(party, orderly=True)
            assert pair.run(8, lambda: all(s.session.session is not None for s in pair.sides))
            pair.run(1)
            pair.cameras["east"].send([NEAR_ADA])
            assert pair.run(8, pair.settled)
            for side in pair.sides:
                assert side.told("outage") == side.told("burned") == []
                assert side.verified() == {("east", 0): ("ada",)}


def test_many_faces_settle_after_a_restart_though_kappas_were_forgotten_meanwhile() -> None:
    with Pair(ground(), watchlist()) as pair:
        for _ in range(3):
            pair.tap = Scissors(Confirm1)
            pair.cameras["east"].send([NEAR_ADA])
            pair.run(LIMITS.peer_silence + 1)
            mend(pair)
            assert pair.run(5, pair.settled)
        for _ in range(5):  # these slots share a block of kappas with the ones above
            pair.cameras["east"].send([STRANGER, NEAR_ADA])
            assert pair.run(5, pair.settled)
        assert pair.wrong_results(watchlist()) == []
        assert pair.p0.verified() == pair.p1.verified()
        assert len(pair.p0.verified()) >= 8


def test_faces_held_during_an_outage_are_matched_afterwards() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.cut = True
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(3 * LIMITS.face_deadline)
        pair.cut = False
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == {("east", 0): ("ada",)}


def test_faces_in_slots_that_burn_are_let_go_on_both_sides() -> None:
    with Pair(ground(), watchlist()) as pair:
        pair.tap = Scissors(Prep3)
        pair.cameras["east"].send([NEAR_ADA, STRANGER])
        pair.run(LIMITS.peer_silence + 1)
        mend(pair)
        assert pair.run(10, pair.settled)
        pair.run(3 * LIMITS.face_deadline)
        for side in pair.sides:
            assert [e.status for e in side.faces().values()] == [Status.BURNED] * 2
            assert side.session.status()["faces_held"] == 0
            assert side.told("omission") == []
            assert {outcome for told in side.acks().values() for outcome in told} == {BURNED}


def test_faces_that_come_for_burned_slots_are_told_as_burned_once() -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        set_id = pair.cameras["east"].file.name.set_id()
        for side in pair.sides:
            side.session.burn([Run(set_id, 0, 1)], "a test")
        pair.cameras["east"].send([NEAR_ADA, STRANGER])
        pair.cameras["east"].resend(0)
        for side in pair.sides:
            assert [e.status for e in side.faces().values()] == [Status.BURNED] * 2
            assert (side.folder / "events.jsonl").read_text().count('"face"') == 2


def test_the_cameras_outcomes_never_contradict_what_a_party_released() -> None:
    for kind in (Reveal1, Confirm0, Confirm1):
        for deliver in (False, True):
            with run_to(kind, deliver) as pair:
                pair.run(LIMITS.peer_silence + 1)
                mend(pair)
                pair.run(5)
                for side in pair.sides:
                    acks = side.acks().get(("east", 0), [])
                    assert VERIFIED not in acks or side.verified()
                    assert acks


def test_more_outages_than_allowed_close_the_window() -> None:
    with Pair(ground(), watchlist()) as pair:
        for _ in range(LIMITS.outages):
            assert pair.run(8, lambda: pair.p0.session.session is not None)
            pair.tap = Scissors(Reveal1)
            pair.cameras["east"].send([STRANGER])
            pair.run(LIMITS.peer_silence + 1)
            assert pair.p0.session.closed is None
            mend(pair)
        pair.run(2)
        pair.tap = Scissors(Reveal1)
        pair.cameras["east"].send([STRANGER])
        pair.run(LIMITS.peer_silence + 1)
        mend(pair)
        assert "outages" in (pair.p0.session.closed or "")
        with pytest.raises(WindowClosed):
            pair.restart(0)
        pair.p0.session.sets.clear()


@pytest.mark.parametrize("party", [0, 1])
def test_a_journal_that_is_older_than_the_events_burns_what_they_tell(party: int) -> None:
    """Put back, or cut short by a disk; the peer is not asked."""
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        side = pair.sides[party]
        side.close()
        names = [path.name for path in side.folder.glob("journal.sqlite*")]
        old = {name: (side.folder / name).read_bytes() for name in names}
        side.open(pair.moment)
        assert pair.run(20, lambda: pair.prepared() and pair.p0.session.session is not None)
        for camera in pair.cameras.values():
            camera.send([NEAR_ADA, STRANGER])
        assert pair.run(10, pair.ended)
        before = side.verified()
        assert before
        side.close()
        for name, content in old.items():
            (side.folder / name).write_bytes(content)
        side.open(pair.moment)
        (told,) = side.told("restored")
        assert "the slot journal is older than the events" in told
        for name, slot in before:
            assert side.state(name, slot) is SlotState.BURNED
        assert side.verified() == before


SENT = (
    *((sender, kind) for kind in (Hello, Approved, Burned, Ping) for sender in (0, 1)),
    *((0, kind) for kind in (PlaceMap, Prep0, Prep2, Prep4, Reveal0, Confirm0)),
    *((1, kind) for kind in (PlaceMapAgreed, Prep1, Prep3, Held, Reveal1, Confirm1)),
)


class LossyLine:
    """A tap that loses the n-th message of a kind; whoever misses it finds out at the next one."""

    def __init__(self, sender: int, kind: type[PartyMessage], number: int) -> None:
        self.sender, self.kind, self.left = sender, kind, number + 1
        self.missing = 0

    def __call__(self, sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if sender == self.sender and isinstance(message, self.kind):
            self.left -= 1
            if self.left == 0:
                self.missing += 1
                return []
        return [frames]

    def between(self, pair: Pair) -> None:
        """Puts this line between the parties of a pair."""
        pair.tap = self
        receiver = pair.sides[1 - self.sender]
        deliver = receiver.deliver

        def found_out(frames: Frames, moment: Moment) -> None:
            missing, self.missing = self.missing, 0
            if missing:
                receiver.session.lost(missing, receiver.local(moment))
            deliver(frames, moment)

        receiver.deliver = found_out  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("sender", "kind"), SENT, ids=[f"P{sender}-{kind.__name__}" for sender, kind in SENT]
)
def test_a_message_lost_on_the_way_is_an_outage_and_no_offence_of_the_peer(
    sender: int, kind: type[PartyMessage], number: int
) -> None:
    line = LossyLine(sender, kind, number)
    with Pair(ground(), watchlist()) as pair:
        line.between(pair)
        meet(pair)
        aftermath(pair)
        assert pair.wrong_results(watchlist(*EVERYBODY)) == []
        assert goes_on(pair)
        for side in pair.sides:
            assert not {"mismatch", "violation", "tamper", "restored"} & outcome(side)
            assert side.journal.counts("w1")[Count.OUTAGES] <= 1
        found = line.left <= 0 and kind not in (Hello, Ping)
        assert not found or "sent PeerVanished" in outcome(pair.sides[1 - sender])


@pytest.mark.parametrize("stops", [0, 1])
def test_a_party_that_stops_in_good_order_says_so_and_the_other_waits_for_it(stops: int) -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.sides[stops].session.suspend(pair.moment)
        pair.pump()
        other = pair.sides[1 - stops]
        assert other.session.session is None
        assert other.told("refused") == other.told("outage") == []
        pair.restart(stops)
        pair.cameras["north"].send([NEAR_ADA])
        assert pair.run(10, pair.ended)
        assert other.verified()[("north", 0)] == ("ada",)
        for side in pair.sides:
            assert side.told("refused") == side.told("outage") == []


@pytest.mark.parametrize("kind", [Prep0, Reveal0])
def test_what_p0_began_before_it_heard_that_p1_stops_is_ended_and_nothing_is_burned(
    kind: type[PartyMessage],
) -> None:
    pair: Pair

    def crossing(sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if sender == 0 and isinstance(message, kind):
            pair.p1.session.draining = True  # it is asked to stop while this is on its way
        return [frames]

    with Pair(ground(), watchlist()) as pair:
        assert pair.run(5, pair.prepared)
        pair.tap = crossing
        pair.cameras["north"].send([NEAR_ADA, STRANGER])
        assert pair.run(5, lambda: pair.p1.session.draining)
        assert pair.p1.session.busy or pair.p1.session.expects_more
        assert pair.run(5, lambda: not pair.p1.session.busy and not pair.p1.session.expects_more)
        assert not pair.p0.session.busy
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(1)
        assert not pair.p0.session.busy
        pair.restart(1, orderly=True)
        pair.tap = honest
        for name in ("north", "east"):
            pair.cameras[name].resend(0)
        assert pair.run(8, pair.settled)
        for side in pair.sides:
            assert side.verified()[("north", 0)] == ("ada",)
            assert side.verified()[("east", 0)] == ("ada",)
            assert side.told("outage") == side.told("burned") == []
            for held in side.session.sets:
                assert not side.journal.ledger(held).burned.total
