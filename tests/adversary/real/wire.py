"""Attacks on single messages: changed, lost, repeated, out of order, late, replayed, malformed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard, get_type_hints

import msgpack

from party.windowstate import Moment
from shared.codec import Buffer, Frame
from shared.errors import FormatError
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
    Refused,
    Reveal0,
    Reveal1,
    Run,
    pack_runs,
    unpack_runs,
)
from tests.adversary.real.attack import Attack, Out, Raw
from tests.adversary.real.changes import Change, changes

Kind = type[PartyMessage]
SENT: Final[dict[int, tuple[Kind, ...]]] = {
    0: (Hello, Approved, Ping, PlaceMap, Prep0, Prep2, Prep4, Reveal0, Confirm0),
    1: (Hello, Approved, Ping, PlaceMapAgreed, Prep1, Prep3, Held, Reveal1, Confirm1),
}
_LATE = 1.5  # times the longest deadline of a step


@dataclass
class Changed(Attack):
    """The first message of a kind that a change does change."""

    change: Change | None = None

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if self.done or self.change is None or type(message) is not self.change.kind:
            return [message]
        forged = self.change(message)
        if forged == plain(message):
            return [message]
        runs = None
        if self.change.field == "runs":  # those that the honest party hears of
            runs = unpack_runs(forged.runs) if _sound(forged) else ()
        self.strike(session, message, [forged], runs)
        return [Raw(frames_of(forged))]


@dataclass
class ChangedAgain(Changed):
    """The same, once a face was matched and the parties meet for a second time."""

    parted: bool = False

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        return super().outgoing(session, message) if self.parted else [message]

    def tick(self, session: Any, moment: Moment) -> None:
        if not self.parted and session.matched_faces and session.session is not None:
            self.parted = True
            session.drop("on purpose", moment)


@dataclass
class Lost(Attack):
    """The first message of a kind is never sent, as if it never had been said."""

    kind: Kind = Hello

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if self.done or type(message) is not self.kind:
            return [message]
        self.strike(session, message)
        return self.instead(message)

    def instead(self, message: PartyMessage) -> Iterable[Out]:
        """What is sent in its place."""
        return []


@dataclass
class Twice(Lost):
    """It is sent two times."""

    def instead(self, message: PartyMessage) -> Iterable[Out]:
        return [message, message]


@dataclass
class Spoilt(Lost):
    """Its frames are not those of a message."""

    spoil: Callable[[list[Buffer]], list[Buffer]] = list

    def instead(self, message: PartyMessage) -> Iterable[Out]:
        frames: list[Buffer] = [bytes(frame) for frame in PARTY_CODEC.encode(message)]
        return [Raw(self.spoil(frames))]


@dataclass
class Swapped(Lost):
    """The next message goes before it."""

    kept: list[PartyMessage] = field(default_factory=list)

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if self.kept:
            return [message, self.kept.pop()]
        return super().outgoing(session, message)

    def instead(self, message: PartyMessage) -> Iterable[Out]:
        self.kept.append(message)
        return []


@dataclass
class Late(Lost):
    """It comes when its deadline is over."""

    kept: list[PartyMessage] = field(default_factory=list)
    due: float = 0.0

    def instead(self, message: PartyMessage) -> Iterable[Out]:
        self.kept.append(message)
        return []

    def tick(self, session: Any, moment: Moment) -> None:
        if self.kept and not self.due:
            self.due = moment.seconds + _LATE * session.limits.check_deadline
        if self.kept and moment.seconds >= self.due:
            session.outbox.peer.append(self.kept.pop())


@dataclass
class Replayed(Attack):
    """All that was said of a kind is said again, after a face was matched."""

    kind: Kind = Hello
    said: list[PartyMessage] = field(default_factory=list)

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if not self.done and type(message) is self.kind:
            self.said.append(plain(message))
        return [message]

    def tick(self, session: Any, moment: Moment) -> None:
        if self.done or not session.matched_faces or not self.said or session.session is None:
            return
        self.strike(session, named=self.said, runs=())
        session.outbox.peer.extend(self.said)


@dataclass
class OfFormerSession(Replayed):
    """The same, in the session that follows."""

    parted: bool = False

    def tick(self, session: Any, moment: Moment) -> None:
        if not self.parted:
            if session.matched_faces and self.said and session.session is not None:
                self.parted = True
                self.said = list(self.said)
                session.drop("on purpose", moment)
            return
        super().tick(session, moment)

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        return [message] if self.parted else super().outgoing(session, message)


@dataclass
class Reflected(Attack):
    """What the honest party says is said to it by the other one."""

    kind: Kind = Hello
    heard: list[PartyMessage] = field(default_factory=list)

    def incoming(self, session: Any, message: PartyMessage) -> bool:
        if not self.heard and type(message) is self.kind:
            self.heard.append(plain(message))
        return True

    def tick(self, session: Any, moment: Moment) -> None:
        if not self.done and self.heard and session.matched_faces and session.session:
            self.strike(session, named=self.heard, runs=())
            session.outbox.peer.append(self.heard[0])


@dataclass
class Control(Attack):
    """No attack: whether the machine keeps up with the deadlines."""

    def opened(self, session: Any) -> None:
        self.strike(session, runs=())


@dataclass
class Inserted(Attack):
    """Messages that nothing led to, after a face was matched."""

    make: Callable[[Any], Iterable[Out]] = lambda _: ()

    def tick(self, session: Any, moment: Moment) -> None:
        if self.done or not session.matched_faces or session.session is None:
            return
        out = list(self.make(session))
        self.strike(session, named=[m for m in out if not isinstance(m, Raw)], runs=())
        session.outbox.peer.extend(out)


@dataclass
class OfAnotherWindow(Lost):
    """A message of another window's session, said to be one of this session."""

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        window, other = session.latest.get(type(message), (session.spec.name, message))
        if self.done or type(message) is not self.kind or window == session.spec.name:
            return [message]
        self.strike(session, message)
        return [self.moved(message, other)]

    def moved(self, message: PartyMessage, other: PartyMessage) -> PartyMessage:
        """The other window's message with this one's names of session, check and batch."""
        names = {
            name: getattr(message, name)
            for name in ("session", "check", "batch", "epoch")
            if hasattr(message, name)
        }
        return replace(other, **names)


@dataclass
class OfAnotherCamera(Lost):
    """The slots of one camera's set, named as those of another one."""

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if self.done or type(message) is not self.kind:
            return [message]
        runs = self.runs_of(message) or ()
        ids = list(session.sets)
        if not runs or len(ids) < 2:
            return [message]
        other = {ids[0]: ids[1], ids[1]: ids[0]}
        self.strike(session, message)
        moved = [Run(other[run.set_id], run.first, run.length) for run in runs]
        return [replace(message, runs=pack_runs(moved))]  # type: ignore[arg-type]


def frames_of(message: PartyMessage) -> list[Buffer]:
    """Its frames, also where a raw field has a length that the codec would not send."""
    hints = get_type_hints(type(message), include_extras=True)
    raw = {name: getattr(message, name) for name, hint in hints.items() if _is_frame(hint)}
    bare = replace(message, **dict.fromkeys(raw, b""))  # type: ignore[arg-type]
    return [PARTY_CODEC.encode(bare)[0], *raw.values()]


def _sound(message: PartyMessage) -> TypeGuard[Prep0 | Reveal0]:
    """Whether it has runs, and they are no nonsense in themselves."""
    try:
        unpack_runs(message.runs)  # type: ignore[union-attr]
    except (AttributeError, FormatError, struct.error):
        return False
    return isinstance(message, Prep0 | Reveal0)


def _is_frame(hint: Any) -> bool:
    return any(isinstance(mark, Frame) for mark in getattr(hint, "__metadata__", ()))


def plain(message: PartyMessage) -> PartyMessage:
    """The message with bytes of its own, that compare and outlive their buffers."""
    views = {
        name: bytes(value)
        for name in type(message).__dataclass_fields__
        if isinstance(value := getattr(message, name), memoryview)
    }
    return replace(message, **views) if views else message  # type: ignore[arg-type]


def with_head(frames: list[Buffer], change: Callable[[list[object]], list[object]]) -> list[Buffer]:
    """The same message with another header list."""
    return [msgpack.packb(change(msgpack.unpackb(frames[0]))), *frames[1:]]


SPOILT: Final[dict[str, Callable[[list[Buffer]], list[Buffer]]]] = {
    "without its last frame": lambda frames: frames[:-1],
    "without any frame": lambda frames: [],
    "with a frame more": lambda frames: [*frames, b""],
    "with its last byte missing": lambda frames: [*frames[:-1], bytes(frames[-1])[:-1]],
    "with a byte more": lambda frames: [bytes(frames[0]) + b"\0", *frames[1:]],
    "of another protocol version": lambda frames: with_head(frames, lambda h: [2, *h[1:]]),
    "of an unknown kind": lambda frames: with_head(frames, lambda h: [h[0], 99, *h[2:]]),
    "with a field less": lambda frames: with_head(frames, lambda h: h[:-1]),
    "with a field of 4 MiB": lambda frames: with_head(frames, lambda h: [*h[:-1], bytes(4 << 20)]),
    "with 5000 frames more": lambda frames: [*frames, *([b"x"] * 5000)],
    "nested without end": lambda frames: [b"\x91" * 5000, *frames[1:]],
}


def burned(change: Change) -> Callable[[Any], Iterator[Out]]:
    """A `Burned` of the last slots, changed."""

    def make(session: Any) -> Iterator[Out]:
        runs = [Run(known, held.slots - 2, 1) for known, held in session.sets.items()]
        honest = Burned(session.session, pack_runs(runs))
        yield Raw(frames_of(change(honest)))

    return make


def refused(error: str, *, own: bool) -> Callable[[Any], Iterator[Out]]:
    """A `Refused` for no reason."""

    def make(session: Any) -> Iterator[Out]:
        yield Refused(session.session if own else bytes(32), error, "for no reason")

    return make


def burned_changes() -> Iterator[Change]:
    """All changes of a `Burned`."""
    yield from changes(Burned)
