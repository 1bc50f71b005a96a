"""A party's talk with the other one: whose a message is, and in which order ours leave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from party.counters import WireCounters
from party.events import EventStore
from party.outbox import Outbox
from party.outgoing import Outgoing
from party.peerlink import PeerLink
from party.session import WindowSession, printable
from party.windowstate import Moment
from shared.errors import HeaderMismatch, StaleMessage, TwokeyError
from shared.messages import PARTY_CODEC, Hello, PartyMessage, Refused

log = logging.getLogger(__name__)

_ROUND: Final = 256  # messages at a time
_COMPLAINT_SECONDS: Final = 1.0
_UNKNOWN: Final = bytes(32)


class PeerTalk:
    """Reads and sends until it is closed.

    sessions: by window, as they are at each moment. sync: makes what was written durable.
    mismatch: why the two parties can do nothing together, if so.
    """

    def __init__(
        self,
        link: PeerLink,
        outbox: Outbox,
        sessions: Mapping[str, WindowSession],
        events: EventStore,
        sync: Callable[[], None],
    ) -> None:
        self.wire = WireCounters()
        self.mismatch: HeaderMismatch | None = None
        self._link = link
        self._outbox = outbox
        self._sessions = sessions
        self._events = events
        self._outgoing = Outgoing(sync, self._send)
        self._next_complaint = 0.0
        self._told_refusal = ""

    @property
    def error(self) -> TwokeyError | None:
        """Why this process has to end, if so."""
        return self.mismatch or self._outgoing.error

    @property
    def held(self) -> bool:
        """Whether something waits for the disk."""
        return bool(self._outgoing.held)

    def read(self, now: Callable[[], Moment]) -> None:
        """Takes in what has arrived, some of it at a time."""
        for _ in range(_ROUND):
            try:
                arrived = self._link.receive()
                if arrived is None:
                    return
                if arrived.lost:
                    self._lost(arrived.lost, now())
                self.wire.received(arrived.frames)
                message = PARTY_CODEC.decode(arrived.frames)
            except TwokeyError as error:
                self._malformed(error, now())
                continue
            self._route(message, now())

    def flush(self) -> None:
        """Sends what the sessions want to say, and what need not wait for the disk any longer."""
        if self._outgoing.held:
            self._outgoing.advance()
        for message in self._outbox.take_peer():
            self._outgoing.put(message)

    def barrier(self) -> None:
        """What the sessions say from here on leaves when all that is written is durable."""
        self.flush()  # what came before need not wait
        self._outgoing.barrier()

    def finish(self) -> None:
        """Waits for the disk until all is sent. Raises what it answers."""
        self._outgoing.finish()

    def close(self) -> None:
        """What waits for the disk is never sent."""
        self._outgoing.close()

    # -- inside --------------------------------------------------------------------------

    def _send(self, message: PartyMessage) -> None:
        frames = PARTY_CODEC.encode(message)
        self.wire.sent(type(message), frames)
        self._link.send(frames)

    def _lost(self, messages: int, moment: Moment) -> None:
        """Nobody knows what they said, so no session may go on without them."""
        for session in self._sessions.values():
            session.lost(messages, moment)

    def _malformed(self, error: TwokeyError, moment: Moment) -> None:
        """Once a second at most: else two versions would answer each other's answers for ever."""
        if moment.seconds >= self._next_complaint:
            self._next_complaint = moment.seconds + _COMPLAINT_SECONDS
            log.error("from the peer: %s", error)
            refusal = Refused(_UNKNOWN, type(error).__name__, printable(str(error)))
            self._outgoing.put(refusal)

    def _route(self, message: PartyMessage, moment: Moment) -> None:
        if isinstance(message, Hello):
            session = self._sessions.get(message.window)
            if session is not None:
                session.receive(message, moment)
                if session.mismatch is not None:
                    self._mismatched(session.mismatch)
            return
        for session in self._sessions.values():
            if session.knows(message.session):
                self._told_refusal = ""
                session.receive(message, moment)
                self.flush()
                return
        if isinstance(message, Refused):
            self._refused(message)
            return
        detail = "no such session here"
        self._outgoing.put(Refused(message.session, StaleMessage.__name__, detail))

    def _refused(self, message: Refused) -> None:
        """A refusal outside of all sessions."""
        if message.session == _UNKNOWN and message.error == HeaderMismatch.__name__:
            self._mismatched(HeaderMismatch(f"the peer refuses: {message.detail}"))
        elif message.error == StaleMessage.__name__:
            pass  # one of the two was restarted
        elif message.error != self._told_refusal:  # a Hello is refused twice a second
            self._told_refusal = message.error
            text = f"the peer refuses: {message.error}: {message.detail}"
            log.error("%s", text)
            self._events.announce("refused", text)

    def _mismatched(self, error: HeaderMismatch) -> None:
        """Parameters or material that cannot go together: the end, unless there is other work."""
        log.error("%s", error)
        if len(self._sessions) <= 1 and not any(s.session for s in self._sessions.values()):
            self.mismatch = error
