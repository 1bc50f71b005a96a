"""A meeting of both parties in which each message is seen once, and one of them is attacked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from party.journal import SlotState
from shared.messages import (
    PARTY_CODEC,
    Confirm0,
    Confirm1,
    PartyMessage,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Refused,
    Reveal0,
    Reveal1,
    Run,
    unpack_runs,
)
from tests.support.pair import Frames, Pair, Side
from tests.support.scenes import NEAR_ADA, NEAR_DAN, STRANGER, ground, watchlist

EVERYBODY = ("ada", "bob", "cyd", "dan")
CHECKS = (Prep0, Prep1, Prep2, Prep3, Prep4)
BATCHES = (Reveal0, Reveal1, Confirm0, Confirm1)


@dataclass(slots=True)
class Attacker:
    """A tap that replaces the n-th message of one kind and sender; `forge` says by what."""

    sender: int
    kind: type[PartyMessage]
    forge: Callable[[PartyMessage], Iterable[PartyMessage]]
    number: int = 0
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    struck: PartyMessage | None = None
    sent_before: int = 0

    def __call__(self, sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        key = (sender, type(message).__name__)
        self.seen[key] += 1
        if sender != self.sender or type(message) is not self.kind or self.struck is not None:
            return [frames]
        if self.seen[key] <= self.number:
            return [frames]
        self.struck = message
        return [PARTY_CODEC.encode(forged) for forged in self.forge(message)]


def meet(pair: Pair) -> None:
    """Everything that two parties do: prepare, match, change the watchlist, match again."""
    east, north = pair.cameras["east"], pair.cameras["north"]
    pair.run(3, pair.prepared)
    east.send([NEAR_ADA, STRANGER])
    north.send([NEAR_ADA])
    pair.run(3, pair.ended)
    for side in pair.sides:
        side.session.set_watchlist(watchlist(*EVERYBODY), side.local(pair.moment))
    pair.run(0.5)
    east.send([NEAR_DAN, NEAR_ADA])
    pair.run(3, pair.ended)
    for side in pair.sides:  # the last two slots are given up
        runs = [Run(held, 23 - side.party, 1) for held in side.session.sets]
        side.session.burn(runs, "given up")
    pair.run(1.2)  # signs of life


def aftermath(pair: Pair, rounds: int = 1) -> None:
    """The attack is over: whoever goes on has every face's end, and may match new ones."""
    if not any(side.session.closed for side in pair.sides):
        pair.run(20, lambda: pair.ended() and all(s.session.session for s in pair.sides))
        pair.run(1)
        for _ in range(rounds):
            for camera in pair.cameras.values():
                camera.send([STRANGER])
            pair.run(10, pair.ended)


def goes_on(pair: Pair) -> bool:
    """Whether both parties have verified the last face of every camera."""
    return all(
        (name, camera.next_slot - 1) in side.verified()
        for side in pair.sides
        for name, camera in pair.cameras.items()
    )


def outcome(side: Side) -> set[str]:
    """How the attack ended on this side, as it was announced."""
    told = {a.kind for a in side.events.announcements()}
    if side.session.closed is not None:
        told.add("closed")
    told.update(f"sent {m.error}" for m in side.sent if isinstance(m, Refused))
    return told


def attacked_runs(pair: Pair, message: PartyMessage) -> tuple[Run, ...]:
    """The slots of the check or batch to which a message belongs."""
    for sent in pair.p0.sent:
        if isinstance(message, CHECKS) and isinstance(sent, Prep0):
            if (sent.session, sent.check) == (message.session, message.check):
                return unpack_runs(sent.runs)
        elif (
            isinstance(message, BATCHES)
            and isinstance(sent, Reveal0)
            and (sent.session, sent.batch) == (message.session, message.batch)
        ):
            return unpack_runs(sent.runs)
    return ()


def states(side: Side, runs: Iterable[Run]) -> set[SlotState]:
    """The states of all these slots at this side."""
    return {
        SlotState(state)
        for run in runs
        for state in side.journal.load_states(run.set_id)[run.first : run.stop]
    }


def new_pair(attacker: Attacker) -> Pair:
    """The parties of every attack; dan is not yet on their watchlists."""
    return Pair(ground(), watchlist(), tap=attacker)
