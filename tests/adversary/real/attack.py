"""What an attack is: hooks around one window's session of the corrupted party."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from party.session import WindowSession
from party.windowstate import Moment
from shared.codec import Buffer
from shared.messages import (
    Confirm0,
    Confirm1,
    PartyMessage,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Reveal0,
    Reveal1,
    Run,
    unpack_runs,
)

CHECKS = (Prep0, Prep1, Prep2, Prep3, Prep4)
BATCHES = (Reveal0, Reveal1, Confirm0, Confirm1)


@dataclass(frozen=True, slots=True)
class Raw:
    """Frames that go to the peer as they are."""

    frames: list[Buffer]


Out = PartyMessage | Raw


class Witness(Protocol):
    """Where the corrupted party writes down what it did, for the test to read."""

    def struck(self, window: str, runs: Iterable[Run], sessions: Iterable[bytes]) -> None:
        """The attack was made; runs: the slots of its check or batch, sessions: that it named."""


@dataclass
class Attack:
    """One window's attack. An object is used once, by one window.

    name: unique among the attacks of a party. expected: the outcomes for the honest party that
    are right, by the name of its typed error, or `nothing`, or what it announces. spares: the
    slots in question had passed their check when it was made. starves: no face is matched any more.
    told: what has to be announced, whatever the outcome.
    alone: it changes what the honest party knows of the other one, in all windows.
    """

    name: str
    expected: frozenset[str]
    cameras: tuple[str, ...] = ("gate",)
    spares: bool = field(default=False, kw_only=True)
    starves: bool = field(default=False, kw_only=True)
    told: str = field(default="", kw_only=True)
    alone: bool = field(default=False, kw_only=True)
    done: bool = field(default=False, init=False)
    witness: Witness | None = field(default=None, init=False, repr=False)
    runs: dict[tuple[bytes, str, int], tuple[Run, ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    # -- hooks ---------------------------------------------------------------------------

    def opened(self, session: Any) -> None:
        """The window is open; nothing has been said yet."""

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        """What is sent instead of this message."""
        return [message]

    def incoming(self, session: Any, message: PartyMessage) -> bool:
        """Whether the honest party's message is taken."""
        return True

    def tick(self, session: Any, moment: Moment) -> None:
        """Time passes, after the session did what it had to."""

    # -- for attacks ---------------------------------------------------------------------

    def seen(self, message: PartyMessage) -> None:
        """Learns which slots a check or a batch is about."""
        if isinstance(message, Prep0):
            self.runs[message.session, "check", message.check] = unpack_runs(message.runs)
        elif isinstance(message, Reveal0):
            self.runs[message.session, "batch", message.batch] = unpack_runs(message.runs)

    def runs_of(self, message: PartyMessage) -> tuple[Run, ...]:
        """The slots of the check or batch that a message belongs to."""
        if isinstance(message, CHECKS):
            return self.runs.get((message.session, "check", message.check), ())
        if isinstance(message, BATCHES):
            return self.runs.get((message.session, "batch", message.batch), ())
        return ()

    def strike(
        self,
        session: WindowSession,
        message: PartyMessage | None = None,
        named: Iterable[PartyMessage] = (),
        runs: Iterable[Run] | None = None,
    ) -> None:
        """The attack is made now, on this message, and says these instead."""
        self.done = True
        if self.witness is None:
            raise RuntimeError("nobody witnesses this attack")
        if runs is None:
            runs = self.runs_of(message) if message is not None else ()
        runs = [run for run in runs if run.set_id in session.sets]
        sessions = {getattr(one, "session", b"") for one in named}
        self.witness.struck(session.spec.name, runs, sessions)
