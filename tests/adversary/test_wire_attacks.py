"""Messages between the parties lost, repeated, swapped, delayed, replayed, cut and swollen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import msgpack
import pytest

from shared.messages import (
    PARTY_CODEC,
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
)
from tests.adversary.attacks import attack
from tests.adversary.meeting import EVERYBODY, aftermath, goes_on, meet, outcome
from tests.support.minted import minted
from tests.support.pair import LIMITS, Frames, Pair
from tests.support.scenes import NEAR_ADA, PARAMS, STRANGER, ground, watchlist

SENT: tuple[tuple[int, type[PartyMessage]], ...] = (
    *((sender, kind) for kind in (Hello, Approved, Burned, Ping) for sender in (0, 1)),
    *((0, kind) for kind in (PlaceMap, Prep0, Prep2, Prep4, Reveal0, Confirm0)),
    *((1, kind) for kind in (PlaceMapAgreed, Prep1, Prep3, Held, Reveal1, Confirm1)),
)
IDS = [f"P{sender}-{kind.__name__}" for sender, kind in SENT]
each_message = pytest.mark.parametrize(("sender", "kind"), SENT, ids=IDS)


@dataclass(slots=True)
class Postman:
    """A tap that handles the n-th message of a kind in its own way, and hands the rest on.

    handle: what travels instead. kept: what was held back; follow: put behind the next message
    of that sender.
    """

    sender: int
    kind: type[PartyMessage]
    handle: Callable[[Frames], Iterable[Frames]]
    number: int = 0
    seen: int = 0
    follow: list[Frames] = field(default_factory=list)

    def __call__(self, sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if sender != self.sender:
            return [frames]
        behind, self.follow = self.follow, []
        if type(message) is self.kind:
            self.seen += 1
            if self.seen == self.number + 1:
                return [*self.handle(frames), *behind]
        return [frames, *behind]


def copied(frames: Frames) -> Frames:
    """The bytes as they are now."""
    return [bytes(frame) for frame in frames]


def safe(pair: Pair) -> None:
    """Released results are right, nothing was shown twice, and the window goes on."""
    assert pair.wrong_results(watchlist(*EVERYBODY)) == []
    for side in pair.sides:
        assert side.session.closed is None, side.session.closed
    assert goes_on(pair)


def handled(
    name: str, sender: int, kind: type[PartyMessage], handle: Callable[[Frames], Iterable[Frames]]
) -> None:
    """One attack on the first message of a kind."""
    postman = Postman(sender, kind, handle)
    with (
        attack(f"P{sender} {kind.__name__} {name}"),
        Pair(ground(), watchlist(), tap=postman) as pair,
    ):
        meet(pair)
        aftermath(pair)
        assert postman.seen
        safe(pair)


@each_message
def test_a_lost_message_costs_slots_at_most(sender: int, kind: type[PartyMessage]) -> None:
    handled("lost", sender, kind, lambda _frames: [])


@each_message
def test_a_repeated_message_is_refused_or_without_effect(
    sender: int, kind: type[PartyMessage]
) -> None:
    handled("twice", sender, kind, lambda frames: [frames, copied(frames)])


@each_message
def test_messages_out_of_order_are_refused(sender: int, kind: type[PartyMessage]) -> None:
    postman = Postman(sender, kind, lambda _frames: [])

    def later(frames: Frames) -> list[Frames]:
        postman.follow.append(copied(frames))
        return []

    postman.handle = later
    with (
        attack(f"P{sender} {kind.__name__} swapped with the next"),
        Pair(ground(), watchlist(), tap=postman) as pair,
    ):
        meet(pair)
        aftermath(pair)
        assert postman.seen
        safe(pair)


@each_message
def test_a_message_after_its_deadline_is_too_late(sender: int, kind: type[PartyMessage]) -> None:
    kept: list[Frames] = []

    def hold(frames: Frames) -> list[Frames]:
        kept.append(copied(frames))
        return []

    postman = Postman(sender, kind, hold)
    with (
        attack(f"P{sender} {kind.__name__} late"),
        Pair(ground(), watchlist(), tap=postman) as pair,
    ):
        meet(pair)
        pair.run(LIMITS.check_deadline + LIMITS.peer_silence)
        pair.wire[sender].extend(kept)
        pair.pump()
        aftermath(pair)
        assert kept
        safe(pair)


@each_message
def test_a_cut_or_swollen_message_is_no_message(sender: int, kind: type[PartyMessage]) -> None:
    for name, spoil in SPOILT.items():
        handled(name, sender, kind, lambda frames, spoil=spoil: [spoil(copied(frames))])  # type: ignore[misc]


def with_head(frames: Frames, change: Callable[[list[object]], list[object]]) -> Frames:
    """The same message with another header list."""
    head = msgpack.unpackb(frames[0])
    return [msgpack.packb(change(head)), *frames[1:]]


SPOILT: dict[str, Callable[[Frames], Frames]] = {
    "without its last frame": lambda frames: frames[:-1],
    "with a frame more": lambda frames: [*frames, b""],
    "with its last byte missing": lambda frames: [*frames[:-1], bytes(frames[-1])[:-1]],
    "with a byte more": lambda frames: [bytes(frames[0]) + b"\0", *frames[1:]],
    "of another protocol version": lambda frames: with_head(frames, lambda h: [2, *h[1:]]),
    "of an unknown kind": lambda frames: with_head(frames, lambda h: [h[0], 99, *h[2:]]),
    "with a field less": lambda frames: with_head(frames, lambda h: h[:-1]),
    "with a field of 4 MiB": lambda frames: with_head(frames, lambda h: [*h[:-1], bytes(4 << 20)]),
}


# -- replays --------------------------------------------------------------------------------


@cache
def tape() -> dict[tuple[int, type[PartyMessage]], list[Frames]]:
    """Everything that honest parties said in a meeting of the same window, other journals."""
    seen: dict[tuple[int, type[PartyMessage]], list[Frames]] = {}

    def record(sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        seen.setdefault((sender, type(message)), []).append(copied(frames))
        return [frames]

    with Pair(ground(), watchlist(), tap=record, seed=99) as pair:
        meet(pair)
    return seen


@each_message
def test_a_message_of_another_session_is_without_effect(
    sender: int, kind: type[PartyMessage]
) -> None:
    with (
        attack(f"P{sender} {kind.__name__} of another session"),
        Pair(ground(), watchlist()) as pair,
    ):
        meet(pair)
        pair.wire[sender].extend(copied(frames) for frames in tape()[(sender, kind)])
        pair.pump()
        aftermath(pair)
        safe(pair)


@each_message
def test_a_message_of_the_same_session_before_the_cut_is_stale(
    sender: int, kind: type[PartyMessage]
) -> None:
    said: list[Frames] = []

    def record(origin: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if origin == sender and type(message) is kind and not later:
            said.append(copied(frames))
        return [frames]

    later = False
    with (
        attack(f"P{sender} {kind.__name__} of the former session"),
        Pair(ground(), watchlist(), tap=record) as pair,
    ):
        meet(pair)
        later = True
        pair.cut = True
        pair.run(LIMITS.peer_silence + 1)
        pair.cut = False
        pair.run(1)
        told = [outcome(side) for side in pair.sides]
        pair.wire[sender].extend(said)
        pair.pump()
        news = outcome(pair.sides[1 - sender]) - told[1 - sender]
        assert news <= {"sent StaleMessage", "sent PeerVanished", "clock", "sent ClocksDiffer"}
        aftermath(pair)
        safe(pair)


@each_message
def test_a_message_again_within_its_session_is_refused_or_without_effect(
    sender: int, kind: type[PartyMessage]
) -> None:
    said: list[Frames] = []

    def record(origin: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if origin == sender and type(message) is kind:
            said.append(copied(frames))
        return [frames]

    with (
        attack(f"P{sender} {kind.__name__} again at the end"),
        Pair(ground(), watchlist(), tap=record) as pair,
    ):
        meet(pair)
        for frames in said:
            pair.wire[sender].append(frames)
            pair.pump()
        aftermath(pair)
        safe(pair)


@each_message
def test_a_message_of_another_window_is_without_effect(
    sender: int, kind: type[PartyMessage]
) -> None:
    other = minted(PARAMS, window="w2")
    said: list[Frames] = []

    def record(origin: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if origin == sender and type(message) is kind:
            said.append(copied(frames))
        return [frames]

    with attack(f"P{sender} {kind.__name__} of another window"):
        with Pair(other, watchlist(), tap=record, seed=5) as elsewhere:
            meet(elsewhere)
        assert said
        with Pair(ground(), watchlist(), seed=6) as pair:
            pair.run(1)
            pair.wire[sender].extend(said)
            pair.pump()
            told = outcome(pair.sides[1 - sender])
            assert told <= {"sent StaleMessage"}
            meet(pair)
            aftermath(pair)
            safe(pair)


@each_message
def test_a_message_from_the_wrong_party_is_refused(sender: int, kind: type[PartyMessage]) -> None:
    """What P0 says, said by P1 in the same session, and the other way round."""
    if kind in (Ping, Approved, Burned):
        return  # both may say these
    said: list[PartyMessage] = []

    def record(origin: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if origin == sender and type(message) is kind:
            said.append(message)
        return [frames]

    with (
        attack(f"{kind.__name__} from P{1 - sender}"),
        Pair(ground(), watchlist(), tap=record) as pair,
    ):
        meet(pair)
        victim = pair.sides[sender]
        pair.wire[1 - sender].append(PARTY_CODEC.encode(said[-1]))
        pair.pump()
        if kind is not Hello:
            assert "violation" in outcome(victim)
        aftermath(pair)
        safe(pair)


def test_nothing_that_is_no_message_ends_a_party() -> None:
    garbage: list[Frames] = [
        [],
        [b""],
        [b"\xc1"],
        [b"\x90"],
        [bytes(range(256))],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x91" * 2000],
        [msgpack.packb([1])],
        [msgpack.packb([1, 1])],
        [msgpack.packb([1, True])],
        [msgpack.packb([True, 32, bytes(32), 0, 0])],
        [msgpack.packb({"a": 1})],
        [msgpack.packb([1, 32, bytes(32), -1, 0])],
        [msgpack.packb([1, 32, bytes(32), 1 << 63, 1.5])],
        [msgpack.packb([1, 30, bytes(32), "x\n", "y"])],
        [msgpack.packb([1, 20, bytes(32)])] + [b"\0" * 15] * 2,
    ]
    with Pair(ground(), watchlist()) as pair:
        pair.run(1)
        for number, frames in enumerate(garbage):
            for sender in (0, 1):
                with attack(f"garbage {number} from P{sender}"):
                    pair.wire[sender].append(list(frames))
                    pair.pump()
                    assert pair.sides[1 - sender].session.session is not None
        pair.cameras["east"].send([NEAR_ADA, STRANGER])
        assert pair.run(5, pair.settled)
        assert pair.p0.verified() == pair.p1.verified() == pair.plaintext(watchlist())
