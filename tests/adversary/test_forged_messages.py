"""Every field of every message between the parties, changed on its way; the receiver is honest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from party.journal import Count, SlotState
from shared.messages import (
    Approved,
    Burned,
    Confirm0,
    Confirm1,
    Held,
    Hello,
    PartyMessage,
    Paused,
    Ping,
    PlaceMap,
    PlaceMapAgreed,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Refused,
    Reveal0,
    Reveal1,
    Stopping,
)
from tests.adversary.attacks import Forgery, attack, forgeries
from tests.adversary.meeting import (
    BATCHES,
    CHECKS,
    EVERYBODY,
    Attacker,
    aftermath,
    attacked_runs,
    goes_on,
    meet,
    new_pair,
    outcome,
    states,
)
from tests.support.pair import LIMITS, Frames, Pair, Side
from tests.support.scenes import ground, watchlist

# What a change may end in, for the honest receiver:
#   tamper    its own check failed: announced, counted, the window closed at once
#   accused   the sender found out first and said so: the window is closed
#   refused   it refused the message, announced why, and began a new session
#   vanished  it never got a valid answer: announced as an outage, a new session
#   told      no harm done, but announced: an omission, a difference, an odd clock
#   burned    slots are lost and announced
#   nothing   no effect: all faces are verified as if nothing had been
VERDICTS: dict[str, set[str]] = {
    "Hello.party": {"refused"},
    "Hello.window": {"nothing"},
    "Hello.params": {"refused"},
    "Hello.nonce": {"nothing"},
    "Hello.answers": {"refused", "nothing"},
    "Hello.clock_ms": {"told", "nothing"},
    "Hello.journal": {"nothing"},
    "Hello.generation": {"refused", "nothing"},
    "Hello.sets": {"refused", "vanished", "burned", "nothing"},
    "Hello.prepared": {"refused", "burned", "nothing"},
    "Hello.used": {"refused", "burned", "nothing"},
    "Hello.approved": {"told", "nothing"},
    "Approved.session": {"told"},
    "Approved.entries": {"told", "nothing"},
    "PlaceMap.session": {"nothing"},
    "PlaceMap.epoch": {"refused", "nothing"},
    "PlaceMap.bindings": {"refused", "nothing"},
    "PlaceMapAgreed.session": {"nothing"},
    "PlaceMapAgreed.epoch": {"refused"},
    "PlaceMapAgreed.place_map": {"refused"},
    "Prep0.session": {"burned"},
    "Prep0.check": {"refused", "vanished"},
    "Prep0.params": {"refused"},
    "Prep0.place_map": {"refused"},
    "Prep0.runs": {"refused", "accused"},
    "Prep0.places": {"refused"},
    "Prep0.kappa": {"refused", "accused"},
    "Prep0.seed_commitment": {"tamper"},
    "Prep1.session": {"vanished"},
    "Prep1.check": {"refused"},
    "Prep1.kappa": {"tamper", "refused"},
    "Prep1.seed": {"tamper"},
    "Prep2.session": {"vanished"},
    "Prep2.check": {"refused"},
    "Prep2.seed": {"tamper"},
    "Prep2.nonce": {"tamper"},
    "Prep2.sigma_commitment": {"accused"},
    "Prep3.session": {"vanished"},
    "Prep3.check": {"refused"},
    "Prep3.verdict": {"tamper"},
    "Prep4.session": {"vanished"},
    "Prep4.check": {"refused"},
    "Prep4.sigma": {"tamper"},
    "Prep4.nonce": {"tamper"},
    "Held.session": {"told"},
    "Held.runs": {"refused", "told"},
    "Held.faces": {"refused", "told"},
    "Reveal0.session": {"burned"},
    "Reveal0.batch": {"refused", "vanished"},
    "Reveal0.params": {"refused"},
    "Reveal0.place_map": {"refused"},
    "Reveal0.faces": {"refused"},
    "Reveal0.live": {"refused", "tamper"},
    "Reveal0.runs": {"refused"},
    "Reveal0.bits": {"refused", "tamper"},
    "Reveal1.session": {"vanished"},
    "Reveal1.batch": {"refused"},
    "Reveal1.commitment": {"accused"},
    "Reveal1.bits": {"refused", "accused"},
    "Confirm0.session": {"vanished"},
    "Confirm0.batch": {"refused"},
    "Confirm0.confirmation": {"tamper"},
    "Confirm1.session": {"vanished"},
    "Confirm1.batch": {"vanished"},
    "Confirm1.confirmation": {"tamper"},
    "Confirm1.nonce": {"tamper"},
    "Burned.session": {"nothing"},
    "Burned.runs": {"refused", "burned", "nothing"},
    "Ping.session": {"nothing"},
    "Ping.clock_ms": {"told", "nothing"},
    "Ping.settled": {"nothing"},
}

SENT: tuple[tuple[int, type[PartyMessage]], ...] = (
    *((sender, kind) for kind in (Hello, Approved, Burned, Ping) for sender in (0, 1)),
    *((0, kind) for kind in (PlaceMap, Prep0, Prep2, Prep4, Reveal0, Confirm0)),
    *((1, kind) for kind in (PlaceMapAgreed, Prep1, Prep3, Held, Reveal1, Confirm1)),
)


REFUSALS = ("ProtocolViolation", "PeerVanished", "TamperDetected", "no error of ours", "")


@cache
def recorded() -> dict[tuple[int, type[PartyMessage]], list[PartyMessage]]:
    """What honest parties send; the same in every meeting."""
    seen: dict[tuple[int, type[PartyMessage]], list[PartyMessage]] = {}

    def record(sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        seen.setdefault((sender, type(message)), []).append(message)
        return [frames]

    with Pair(ground(), watchlist(), tap=record) as pair:
        meet(pair)
        meet_again(pair)
        aftermath(pair)
        assert goes_on(pair)
        assert pair.wrong_results(watchlist(*EVERYBODY)) == []
        assert {"tamper", "outage", "violation"}.isdisjoint(outcome(pair.p0) | outcome(pair.p1))
    return seen


def verdict(pair: Pair, victim: Side) -> str:
    """How it ended for the honest receiver; asserts what must hold in that case."""
    told = outcome(victim)
    closed = victim.session.closed
    if closed is not None:
        if not closed.startswith("TamperDetected"):
            assert "the peer refused: TamperDetected" in closed
            return "accused"
        assert {"tamper", "sent TamperDetected"} <= told
        assert victim.journal.counts("w1")[Count.FAILURES] == 1
        assert victim.journal.closed("w1") == closed
        return "tamper"
    if "watchlist" in told and not victim.session.table.entries:
        return "told"  # the peer approves of nobody: nobody is matched
    assert goes_on(pair)
    if {"mismatch", "violation"} & told and any(t.startswith("sent ") for t in told):
        return "refused"
    if "outage" in told:
        return "vanished"
    if {"omission", "watchlist", "clock", "mismatch"} & told:
        return "told"
    given_up = len(victim.told("burned")) <= 2  # as in every meeting
    return "nothing" if given_up else "burned"


def strike(sender: int, forgery: Forgery[PartyMessage], number: int = 0) -> None:
    """One attack, from the beginning to its end."""

    def forge(message: PartyMessage) -> Iterable[PartyMessage]:
        return [f.message for f in forgeries(message) if f.name == forgery.name]

    kind = type(forgery.message)
    attacker = Attacker(sender, kind, forge, number)
    with attack(f"P{sender} {forgery.name}"), new_pair(attacker) as pair:
        meet(pair)
        if number:
            meet_again(pair)
        if isinstance(forgery.message, Approved | Hello):
            pair.run(7)  # until a difference of the watchlists is announced
        aftermath(pair, 2 if kind is Held else 1)  # the first face may be one that P1 lied about
        assert attacker.struck is not None
        judge(pair, sender, forgery, attacker.struck)


def meet_again(pair: Pair) -> None:
    """The wire is cut for a while, with nothing in flight."""
    pair.cut = True
    pair.run(LIMITS.peer_silence + 1)
    pair.cut = False
    pair.run(1)


def judge(pair: Pair, sender: int, forgery: Forgery[PartyMessage], struck: PartyMessage) -> None:
    """What must hold after an attack."""
    victim = pair.sides[1 - sender]
    kind = type(struck)
    assert pair.wrong_results(watchlist(*EVERYBODY)) == []
    found = verdict(pair, victim)
    allowed = VERDICTS[f"{kind.__name__}.{forgery.field}"]
    assert found in allowed, f"found {found}, expected one of {sorted(allowed)}"
    if isinstance(struck, CHECKS + BATCHES) and found != "nothing":
        lost = {SlotState.BURNED}
        if kind is Confirm1 and found == "vanished":
            lost = {SlotState.DONE}  # P1 has offered its opening again
        if kind is Prep0 and found == "accused":
            lost |= {SlotState.FRESH}  # other slots than these were burned; the window is closed
        assert states(victim, attacked_runs(pair, struck)) <= lost


def chosen(
    sender: int, kind: type[PartyMessage], number: int = 0
) -> Iterator[Forgery[PartyMessage]]:
    """All forgeries of the n-th message of this kind."""
    yield from forgeries(recorded()[(sender, kind)][number])


def test_every_message_and_every_field_has_an_expected_end() -> None:
    elsewhere = {Refused, Stopping, Paused}  # here below, and test_forged_stops.py
    assert {kind for _, kind in SENT} | elsewhere == set(PartyMessage.__args__)
    fields = {f"{kind.__name__}.{name}" for _, kind in SENT for name in kind.__dataclass_fields__}
    assert set(VERDICTS) == fields


@pytest.mark.parametrize(
    ("sender", "kind"), SENT, ids=[f"P{sender}-{kind.__name__}" for sender, kind in SENT]
)
def test_a_changed_message_is_caught(sender: int, kind: type[PartyMessage]) -> None:
    for forgery in chosen(sender, kind):
        strike(sender, forgery)


@pytest.mark.parametrize("sender", [0, 1])
def test_what_a_party_says_of_its_slots_on_meeting_again_burns_at_most(sender: int) -> None:
    for forgery in chosen(sender, Hello, 1):
        if forgery.field in ("prepared", "used"):
            strike(sender, forgery, 1)


@pytest.mark.parametrize("sender", [0, 1])
def test_a_refusal_out_of_the_blue_ends_the_session_and_a_verdict_the_window(sender: int) -> None:
    for error in REFUSALS:
        for own in (True, False):

            def refuse(message: PartyMessage, own: bool = own, error: str = error) -> list[Refused]:
                assert isinstance(message, Ping)
                session = message.session if own else bytes(32)
                return [Refused(session, error, "for no reason")]

            attacker = Attacker(sender, Ping, refuse, 1)
            with attack(f"P{sender} Refused {error} own {own}"), new_pair(attacker) as pair:
                meet(pair)
                aftermath(pair)
                victim = pair.sides[1 - sender]
                assert pair.wrong_results(watchlist(*EVERYBODY)) == []
                if error == "TamperDetected" and own:
                    assert verdict(pair, victim) == "accused"
                else:
                    assert verdict(pair, victim) == "nothing"
                    # A peer that says it takes us for vanished was restarted: no news but the end.
                    assert len(victim.told("refused")) == (own and error != "PeerVanished")
