"""What both parties do alike in one window: agree, take faces in, burn, settle (protocol 3, 5).

A session object is driven by messages, faces and ticks; what it wants to send lies in its outbox
afterwards. It reads no clock: every call brings the moment.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence, Set

from party import audit
from party.agreement import SessionState, common_sets, own_hello, reconcile, remember
from party.intake import HeldFaces, parse_faces
from party.journal import Count
from party.materialfolder import FoundFile
from party.outcomes import WindowOutcomes
from party.windowstate import Moment
from shared.codec import Buffer
from shared.errors import (
    ClocksDiffer,
    HeaderMismatch,
    PeerVanished,
    ResourceError,
    StaleMessage,
    TamperDetected,
    TwokeyError,
    WindowClosed,
)
from shared.messages import (
    Approved,
    Burned,
    CameraHello,
    Confirm1,
    Faces,
    Hello,
    PartyMessage,
    Ping,
    Refused,
    Run,
    Welcome,
    unpack_runs,
)
from shared.watchlist import Entry

log = logging.getLogger(__name__)
PING_SECONDS = 1.0
_ENDED = (StaleMessage.__name__, PeerVanished.__name__)


class WindowSession(WindowOutcomes):
    """One window on one party's side; `party.lead` and `party.follow` add the roles."""

    # -- what the process around calls ---------------------------------------------------

    def receive(self, message: PartyMessage, moment: Moment) -> None:
        """Takes a peer's message. Raises a typed error only when the whole process must stop."""
        if self.closed is not None:
            return
        before = self.session
        try:
            self._dispatch(message, moment)
        except TamperDetected as error:
            self.tampered(error, moment)
        except StaleMessage as error:
            self._stale(error, message)
        except TwokeyError as error:
            if isinstance(error, ResourceError) and not isinstance(error, ClocksDiffer):
                raise  # our own disk: what is stored may lack what is in memory
            hello = isinstance(message, Hello)
            self._refuse(error, bytes(32) if hello else self.session)
            if not hello or not self._told_hello:  # it says so twice a second
                log.error("%s", self._in_window(error))
                self._announce_error(error)
            if not hello or self.session != before:
                self.drop(str(error), moment)
            if hello:
                self._told_hello = True
                if isinstance(error, HeaderMismatch):
                    self.mismatch = error

    def lost(self, messages: int, moment: Moment) -> None:
        """So many messages of the peer never came: an outage, and a new session has to follow."""
        if self.session is not None:
            self._vanished(PeerVanished(f"{messages} messages of the peer were lost"), moment)

    def faces(self, message: Faces, frames: list[Buffer], moment: Moment) -> None:
        """Takes a camera's message in. Raises a typed error that goes back to the camera."""
        self._refuse_closed()
        owner = self.by_camera.get(message.camera)
        if owner is None:
            raise ResourceError(
                f"window {self.spec.name}: no material of camera {message.camera} is open"
            )
        held = parse_faces(message, frames, owner, moment.seconds)
        ledger = self.ledger(owner.set_id)
        if self._acknowledge_finished(ledger, held):
            return
        if self.intake.add(held):
            log.debug(
                "camera %s: slots from %d, the first masked face begins %s",
                message.camera,
                message.first,
                bytes(message.masked[:16]).hex(),
            )
            if held.run.stop < owner.slots and ledger.burned.covers(held.run.stop, 1):
                self._burned_ahead.add(owner.set_id)  # the camera is to leave these out
            self.on_held(held, moment)

    def tick(self, moment: Moment) -> None:
        """Deadlines, pings, and whatever is next to do."""
        if self.closed is not None:
            return
        for set_id in self._burned_ahead:
            owner = self.sets[set_id]
            name, mark = owner.name, self.camera_mark(owner)
            welcome = Welcome(name.window, name.camera, name.mint_id, mark, moment.wall_ms)
            self.outbox.cameras.append((name.camera, welcome))
        self._burned_ahead.clear()
        if self.session is not None:
            if moment.seconds - self._last_heard > self.limits.peer_silence:
                self.drop("the peer is silent", moment)
            elif moment.seconds - self._last_ping >= PING_SECONDS:
                self._last_ping = moment.seconds
                self.journal.write_verified()  # the peer may forget what it says is settled
                self.send(Ping(self.session, moment.wall_ms, self.settled_below()))
                self.every_second(moment)
        try:
            if self.closed is None:
                self.advance(moment)
        except TamperDetected as error:
            self.tampered(error, moment)
        except PeerVanished as error:
            self._vanished(error, moment)

    def set_watchlist(self, entries: Sequence[Entry], moment: Moment) -> None:
        """Replaces this party's watchlist; the places follow once the peer agrees."""
        removed = {e.digest for e in self.entries} - {e.digest for e in entries}
        self.entries = list(entries)
        if self.session is not None:
            self.send(Approved(self.session, approved_bytes(self.entries)))
            self.on_watchlist(removed, moment)

    def welcome(self, hello: CameraHello) -> int:
        """The slot from which on this camera's set is of use here.

        Raises HeaderMismatch, ResourceError, WindowClosed.
        """
        self._refuse_closed()
        owner = self.by_camera.get(hello.camera)
        if owner is None:
            raise ResourceError(
                f"window {self.spec.name}: no material of camera {hello.camera} is open"
            )
        if hello.mint_id != owner.name.mint_id or hello.params != self.params.digest():
            raise HeaderMismatch(
                f"window {self.spec.name}: camera {hello.camera} has material of another "
                "minting attempt or other parameters"
            )
        return self.camera_mark(owner)

    def status(self) -> dict[str, object]:
        """For the status file: no secret, nothing of faces but their number."""
        cameras = {}
        for owner in self.sets.values():
            ledger = self.ledger(owner.set_id)
            cameras[owner.name.camera] = {
                "slots": owner.slots,
                "slots_left": owner.slots - ledger.mark.revealed,
                "prepared": ledger.ready().total,
                "burned": ledger.burned.total,
            }
        return {
            "window": self.spec.name,
            "start_ms": self.spec.start_ms,
            "end_ms": self.spec.end_ms,
            "peer_up": self.session is not None,
            "closed": self.closed,
            "places_live": len(self.table.entries),
            "faces_matched": self.matched_faces,
            "faces_held": self.intake.faces,
            "faces_unresolved": self.unresolved,
            "batches_in_flight": self.in_flight,
            "peer_clock_offset_ms": self.peer_clock_offset_ms,
            "counts": {
                count.name.lower(): value
                for count, value in self.journal.counts(self.spec.name).items()
            },
            "cameras": cameras,
        }

    def holds(self, files: Iterable[FoundFile]) -> bool:
        """Whether the sets of all these files' cameras are open."""
        return all(file.header.camera in self.by_camera for file in files)

    def knows(self, session: bytes) -> bool:
        """Whether a message of this session id is for this window."""
        return session == self.session

    def close(self, reason: str, moment: Moment) -> None:
        """Ends the window for good: everything still open is burned, nothing may be used."""
        if self.closed is not None:
            return
        self.journal.close_window(self.spec.name, reason)
        self.events.note(audit.WINDOW, f"window {self.spec.name}: closed: {reason}")
        self.drop(reason, moment, orderly=True)
        self.burn([held.run for held in list(self.intake)], reason)
        self.give_up(reason)
        self.closed = reason
        self.close_material()

    def suspend(self, moment: Moment) -> None:
        """Before this process stops: in-flight work ends in pass or burn, the rest stays."""
        if self.session is not None:  # the peer need not wait for our silence
            self._refuse(PeerVanished("this process stops"), self.session)
        self.drop("this process stops", moment, orderly=True)

    # -- for the roles -------------------------------------------------------------------

    def advance(self, moment: Moment) -> None:
        """The role's own progress at a tick."""
        raise NotImplementedError

    def every_second(self, moment: Moment) -> None:
        """Whatever was left out for too long, while a session lasts."""
        raise NotImplementedError

    def on_message(self, message: PartyMessage, moment: Moment) -> None:
        """The role's own messages."""
        raise NotImplementedError

    def on_held(self, held: HeldFaces, moment: Moment) -> None:
        """New faces are held."""
        raise NotImplementedError

    def on_watchlist(self, removed: Set[bytes], moment: Moment) -> None:
        """Our watchlist, or the peer's, changed; removed: digests of entries gone from ours."""
        raise NotImplementedError

    def give_up(self, reason: str) -> None:
        """The window is closed: whatever was still awaited ends as burned."""
        raise NotImplementedError

    def recover(self, moment: Moment) -> None:
        """Once, before anything else: completes what the last process left behind."""
        raise NotImplementedError

    def abandon(self, reason: str, moment: Moment) -> bool:
        """Ends everything in flight; whether there was anything that shows values."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether a check or a batch is in flight."""
        raise NotImplementedError

    @property
    def expects_more(self) -> bool:
        """Whether the peer may still begin something, or something of its may be on the way."""
        return False

    @property
    def unresolved(self) -> int:
        """Faces whose last confirmation is still awaited."""
        raise NotImplementedError

    def settled_below(self) -> int:
        """All batches below this number are settled here."""
        raise NotImplementedError

    def hello(self, nonce: bytes, answers: bytes, moment: Moment) -> Hello:
        """Our side of the comparison."""
        return own_hello(self, nonce, answers, moment.wall_ms)

    def take_marks(self, found: Hello) -> list[Run]:
        """Takes over the peer's marks, before a session with it; what was burned for them.

        Raises StaleMessage.
        """
        lost = remember(self, found)
        if lost:
            self._burned_already(lost, "the peer's marks name slots that are not known here")
        return lost

    def begin(self, state: SessionState, found: Hello, moment: Moment) -> None:
        """A session is agreed: compare what both hold and burn what differs."""
        self.session = state.session
        self._told_hello = False
        self._last_heard = moment.seconds
        for held in self.intake:  # only time in a session counts against the peer
            held.since = min(held.since + moment.seconds - self._down_since, moment.seconds)
        self.peer_clock_offset_ms = found.clock_ms - moment.wall_ms
        self._peer_approved = split_digests(found.approved)
        self._shared_sets, missing = common_sets(self.sets.values(), found)
        for name in missing:
            log.warning("window %s: %s", self.spec.name, name)
        burn = reconcile(self.journal, self._shared_sets, found)
        if burn:
            self.burn(burn, "the peer cannot use these slots", tell=False)

    def overdue_faces(self, seconds: float, missing: str) -> None:
        """Burns and announces faces held for longer than this: none is left out unseen."""
        overdue = [held for held in self.intake if held.since < seconds]
        if overdue:
            faces = sum(held.run.length for held in overdue)
            self.events.announce("omission", f"window {self.spec.name}: {missing} {faces} faces")
            self.burn([held.run for held in overdue], f"{missing} them in time")

    def overdue_approvals(self, moment: Moment) -> None:
        """Announces, once, entries that the peer does not approve: they are not live."""
        approved = frozenset(self._peer_approved)
        lacking = {e.digest: e for e in self.entries if e.digest not in approved}
        self._lacking = {known: self._lacking.get(known, moment.seconds) for known in lacking}
        late = [
            entry
            for known, entry in lacking.items()
            if moment.seconds - self._lacking[known] > self.limits.entry_deadline
        ]
        if late:
            self._lacking.update((entry.digest, math.inf) for entry in late)
            names = ", ".join(entry.name for entry in late)
            self.events.announce(
                "watchlist",
                f"window {self.spec.name}: {len(late)} entries are not on the peer's watchlist "
                f"and not matched: {names:.200}",
            )

    def drop(self, reason: str, moment: Moment, *, orderly: bool = False) -> None:
        """Ends the session; in-flight work is burned or unresolved. A new session may follow."""
        if self.session is None:
            return
        log.warning("window %s: session ended: %s", self.spec.name, reason)
        in_flight = self.abandon(reason, moment)
        self.session = None
        self._down_since = moment.seconds
        if in_flight and not orderly:
            count = self.journal.count(self.spec.name, Count.OUTAGES)
            self.events.announce("outage", f"window {self.spec.name}: {reason} (number {count})")
            if count > self.limits.outages:
                self.close(f"{count} outages, the limit is {self.limits.outages}", moment)

    def tampered(self, error: TamperDetected, moment: Moment) -> None:
        """A failed check: durable first, then everything of this window is burned."""
        self.journal.close_window(self.spec.name, failed(error))
        self.journal.count(self.spec.name, Count.FAILURES)
        self.events.announce("tamper", f"window {self.spec.name}: {error}", error.transcript)
        log.critical("window %s: %s", self.spec.name, error)
        self._refuse(error, self.session)
        self.close(failed(error), moment)

    # -- inside --------------------------------------------------------------------------

    def _dispatch(self, message: PartyMessage, moment: Moment) -> None:
        if isinstance(message, Hello):
            self.on_message(message, moment)
            return
        if message.session != self.session:
            if not (isinstance(message, Confirm1 | Refused) and self.knows(message.session)):
                raise StaleMessage(f"found a {type(message).__name__} of another session")
            self.on_message(message, moment)
            return
        self._last_heard = moment.seconds
        if isinstance(message, Burned):
            runs = unpack_runs(message.runs)
            self.known_runs(runs)
            self.burn(runs, "burned by the peer", tell=False)
        elif isinstance(message, Refused):
            self._refused(message, moment)
        else:
            if isinstance(message, Ping):
                self._note_clock(message, moment)
            self.on_message(message, moment)

    def _note_clock(self, message: Ping, moment: Moment) -> None:
        """Announces, once, a clock that has drifted too far since the session began."""
        self.peer_clock_offset_ms = message.clock_ms - moment.wall_ms
        seconds = abs(self.peer_clock_offset_ms) / 1000
        far = seconds > self.limits.clock_tolerance
        if far and not self._told_clock:
            self.events.announce(
                "clock", f"window {self.spec.name}: the peer's clock is {seconds:.1f} s off"
            )
        self._told_clock = far

    def _stale(self, error: StaleMessage, message: PartyMessage) -> None:
        """Of another session: no harm. In a Hello: the peer runs on a restored backup."""
        if not isinstance(message, Hello):  # not as StaleMessage: late openings are still of use
            self._refuse(PeerVanished("this session has ended here"), message.session)
        elif str(error) != self._told_stale:
            self._told_stale = str(error)
            self.events.announce("restored", f"window {self.spec.name}: {error}")
        level = logging.INFO if isinstance(message, Ping) else logging.WARNING  # it crossed the end
        log.log(level, "window %s: %s", self.spec.name, error)

    def _vanished(self, error: PeerVanished, moment: Moment) -> None:
        """The peer is told, in case that it does live: its side of the session ends as well."""
        self._refuse(error, self.session)
        self.drop(str(error), moment)

    def _refused(self, message: Refused, moment: Moment) -> None:
        if message.error in _ENDED:  # it was restarted, or is about to be
            self.drop(f"the peer ended it: {message.detail}", moment)
            return
        detail = f"the peer refused: {message.error}: {message.detail}"
        self.events.announce("refused", f"window {self.spec.name}: {detail}")
        if message.error == TamperDetected.__name__:
            self.close(detail, moment)
        else:
            self.drop(detail, moment)

    def _refuse(self, error: TwokeyError, session: bytes | None) -> None:
        self.send(Refused(session or bytes(32), type(error).__name__, printable(str(error))))

    def _announce_error(self, error: TwokeyError) -> None:
        if isinstance(error, PeerVanished):
            return  # an outage, announced as such when it cost anything
        kinds = ((HeaderMismatch, "mismatch"), (ClocksDiffer, "clock"))
        kind = next((kind for cls, kind in kinds if isinstance(error, cls)), "violation")
        self.events.announce(kind, self._in_window(error))

    def _in_window(self, error: TwokeyError) -> str:
        window = f"window {self.spec.name}: "
        return window + str(error).removeprefix(window)

    def _refuse_closed(self) -> None:
        if self.closed is not None:
            raise WindowClosed(f"window {self.spec.name} is closed for good: {self.closed}")


def failed(error: TamperDetected) -> str:
    """Why a window is closed after a failed check."""
    return f"{type(error).__name__}: {error}"


def split_digests(data: Buffer) -> tuple[bytes, ...]:
    """Concatenated 32-byte digests, apart."""
    whole = bytes(data)
    return tuple(whole[i : i + 32] for i in range(0, len(whole), 32))


def printable(text: str) -> str:
    """A detail that fits a message."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def approved_bytes(entries: Iterable[Entry]) -> bytes:
    """The digests of these entries, ascending."""
    return b"".join(sorted({entry.digest for entry in entries}))
