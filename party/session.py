"""What both parties do alike in one window: agree, take faces in, burn, settle (protocol 3, 5).

A session object is driven by messages, faces and ticks; what it wants to send lies in its outbox
afterwards. It reads no clock: every call brings the moment.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from party import audit, evaluation
from party.agreement import SessionState, common_sets, own_hello, reconcile, remember
from party.batches import Settled, check_name
from party.events import EventStore
from party.intake import HeldFaces, Intake, parse_faces
from party.journal import BatchOutcome, Count, PartyJournal, PlaceBinding
from party.latency import LatencyCounts
from party.matching import BatchHeader, TagPart, TagShares
from party.material import PartySet
from party.outbox import Limits, Outbox
from party.places import Entry, PlaceTable
from party.prepare import CheckHeader, OpeningShares, Passed
from party.slots import SetLedger
from shared.codec import Buffer
from shared.errors import (
    ClocksDiffer,
    HeaderMismatch,
    PeerVanished,
    ProtocolViolation,
    ResourceError,
    StaleMessage,
    TamperDetected,
    TwokeyError,
    WindowClosed,
)
from shared.intervals import Intervals
from shared.messages import (
    BURNED,
    VERIFIED,
    Approved,
    Burned,
    CameraHello,
    Confirm1,
    FaceAck,
    Faces,
    Hello,
    Outcome,
    PartyMessage,
    Ping,
    Refused,
    Run,
    Welcome,
    pack_runs,
    unpack_runs,
)
from shared.params import Parameters

log = logging.getLogger(__name__)
PING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: monotonic seconds, and the wall clock in unix milliseconds."""

    seconds: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window as the material files name it; start and end in unix milliseconds."""

    name: str
    start_ms: int
    end_ms: int
    params: Parameters


class WindowSession:
    """One window on one party's side; `party.lead` and `party.follow` add the roles."""

    party: int

    def __init__(
        self,
        spec: WindowSpec,
        sets: Iterable[PartySet],
        journal: PartyJournal,
        events: EventStore,
        entries: Sequence[Entry],
        limits: Limits,
        outbox: Outbox,
    ) -> None:
        self.spec = spec
        self.params = spec.params
        self.sets: dict[bytes, PartySet] = {s.set_id: s for s in sets}
        self.by_camera: dict[str, PartySet] = {s.name.camera: s for s in self.sets.values()}
        self.journal = journal
        self.events = events
        self.entries = list(entries)
        self.limits = limits
        self.outbox = outbox
        self.intake = Intake(limits.held_faces, len(self.sets))
        self.session: bytes | None = None
        self.closed: str | None = journal.closed(spec.name)
        self.bound = {known.place: known.entry for known in journal.places(spec.name)}
        self.table = PlaceTable(self.params, spec.name, 0, {})
        self.peer_clock_offset_ms = 0
        self.matched_faces = 0
        self.latency = LatencyCounts()
        self.mismatch: HeaderMismatch | None = None
        self.draining = False
        self._shared_sets: set[bytes] = set()
        self._last_heard = 0.0
        self._last_ping = 0.0
        self._down_since = 0.0
        self._told_stale = ""
        self._told_clock = False
        self._told_hello = False
        self._burned_ahead: set[bytes] = set()
        self._peer_approved: tuple[bytes, ...] = ()
        self._lacking: dict[bytes, float] = {}

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

    def faces(self, message: Faces, frames: list[Buffer], moment: Moment) -> None:
        """Takes a camera's message in. Raises a typed error that goes back to the camera."""
        self._refuse_closed()
        owner = self.by_camera.get(message.camera)
        if owner is None:
            raise HeaderMismatch(
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
                self.send(Ping(self.session, moment.wall_ms, self.settled_below()))
                self.every_second(moment)
        try:
            if self.closed is None:
                self.advance(moment)
        except TamperDetected as error:
            self.tampered(error, moment)
        except PeerVanished as error:
            self.drop(str(error), moment)

    def set_watchlist(self, entries: Sequence[Entry], moment: Moment) -> None:
        """Replaces this party's watchlist; the places follow once the peer agrees."""
        removed = {e.digest for e in self.entries} - {e.digest for e in entries}
        self.entries = list(entries)
        if self.session is not None:
            self.send(Approved(self.session, approved_bytes(self.entries)))
            self.on_watchlist(removed, moment)

    def welcome(self, hello: CameraHello) -> int:
        """The slot from which on this camera's set is of use here.

        Raises HeaderMismatch, WindowClosed.
        """
        self._refuse_closed()
        owner = self.by_camera.get(hello.camera)
        if owner is None:
            raise HeaderMismatch(
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
        for owner in self.sets.values():
            owner.close()

    def suspend(self, moment: Moment) -> None:
        """Before this process stops: in-flight work ends in pass or burn, the rest stays."""
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
    def unresolved(self) -> int:
        """Faces whose last confirmation is still awaited."""
        raise NotImplementedError

    def evaluate_ahead(self, limit: int) -> bool:
        """Evaluates up to `limit` held faces before they are asked for; whether there were any."""
        if self.session is None or self.table.epoch == 0 or not self.table.entries:
            return False
        chosen = self.intake.take_unevaluated(limit, self._is_prepared)
        for held in chosen:
            held.tags_places = self.prepared_places(held.run)
        evaluation.evaluate(chosen, self.table)
        return bool(chosen)

    def _is_prepared(self, held: HeldFaces) -> bool:
        return self.prepared_places(held.run) != 0

    def settled_below(self) -> int:
        """All batches below this number are settled here."""
        raise NotImplementedError

    @property
    def in_flight(self) -> int:
        """Batches in flight."""
        raise NotImplementedError

    def send(self, message: PartyMessage) -> None:
        """Queues a message for the peer."""
        self.outbox.peer.append(message)

    def ledger(self, set_id: bytes) -> SetLedger:
        """The slots of a set."""
        return self.journal.ledger(set_id)

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

    @property
    def peer_approved(self) -> tuple[bytes, ...]:
        """Entry digests that the peer's watchlist holds."""
        return self._peer_approved

    def shared(self, set_id: bytes) -> bool:
        """Whether both parties hold this set's material."""
        return set_id in self._shared_sets

    def adopt(self, table: PlaceTable) -> None:
        """From here on this place map is the one in force."""
        self.table = table
        self.bound.update({place: entry.digest for place, entry in table.entries.items()})

    def bind(self, table: PlaceTable) -> None:
        """Makes the bindings durable, before anything is opened for them."""
        new = [
            PlaceBinding(place, entry.digest, entry.name)
            for place, entry in table.entries.items()
            if place not in self.bound
        ]
        if new:
            self.journal.bind_places(self.spec.name, new)
            for bound in new:
                self.events.note(
                    audit.PLACE,
                    f"window {self.spec.name}: place {bound.place} is bound to {bound.name}",
                    audit.place_subject(self.spec.name, bound.place, bound.entry),
                )

    def prepared_places(self, run: Run) -> int:
        """Mask of the places that are prepared for every slot of the run; 0 when not ready."""
        ledger = self.ledger(run.set_id)
        if not ledger.is_ready(run.first, run.length):
            return 0
        return ledger.opened_places(run.first, run.length)

    def live_places(self, runs: Iterable[Run], table: PlaceTable) -> tuple[int, ...]:
        """Live places of a map that are prepared for all of these runs."""
        mask = table.mask
        for run in runs:
            mask &= self.prepared_places(run)
        return table.chosen(mask)

    def opening_shares(self, header: CheckHeader, table: PlaceTable) -> OpeningShares:
        """This party's shares for a check."""
        parts = [
            self.sets[run.set_id].opening_shares(
                run.first, run.length, header.places, table.numbers
            )
            for run in header.runs
        ]
        return OpeningShares(
            np.concatenate([part.kappa for part in parts]),
            np.concatenate([part.mac for part in parts]),
            np.concatenate([part.alphas for part in parts]),
        )

    def keep(self, passed: Passed) -> None:
        """A check passed on this side: durable, with the opened kappas, then usable."""
        header = passed.header
        low = passed.kappa & np.uint32(((1 << self.params.n) - 1) & 0xFFFFFFFF)
        self.journal.mark_prepared(check_name(header.session, header.check), low)
        row = 0
        for run in header.runs:
            part = low[row : row + run.length]
            self.sets[run.set_id].keep_kappa(run.first, header.places, part)
            row += run.length

    def tag_shares(
        self, batch: Sequence[HeldFaces], live: tuple[int, ...], table: PlaceTable
    ) -> TagShares:
        """The shares of a batch at its live places; evaluates what is not yet."""
        everywhere = live == tuple(range(table.numbers.used))
        chosen = np.asarray(live, dtype=np.intp)
        parts = []
        mask = table.mask if len(live) == len(table.places) else sum(1 << place for place in live)
        for held in batch:
            if mask & ~held.tags_places:  # a place was prepared since
                held.tags, held.tags_places = None, mask
        evaluation.evaluate(batch, table)
        for held in batch:
            part = held.tags
            if part is None:
                raise ProtocolViolation("faces of a batch were not evaluated")
            if not everywhere:
                part = TagPart(part.tags[:, chosen].copy(), part.deltas)
            parts.append(part)
        return TagShares(tuple(parts), len(live))

    def batch_header(
        self, number: int, batch: Sequence[HeldFaces], live: tuple[int, ...], table: PlaceTable
    ) -> BatchHeader:
        """The header of a batch in the session in force."""
        return BatchHeader(
            self.session or b"",
            number,
            self.params.digest(),
            table.digest(),
            self.params.places,
            tuple(held.run for held in batch),
            tuple(held.owner.name for held in batch),
            tuple(held.digest for held in batch),
            live,
        )

    def reserve(self, runs: Iterable[Run]) -> None:
        """Makes sure, durably, that a power cut would burn these slots; in blocks ahead."""
        wanted: dict[bytes, int] = {}
        for run in runs:
            if run.stop > max(self.ledger(run.set_id).reserved, wanted.get(run.set_id, 0)):
                ahead = run.stop + self.limits.reserve_block
                wanted[run.set_id] = min(ahead, self.sets[run.set_id].slots)
        if wanted:
            self.journal.reserve_reveal(wanted)

    def settle(self, settled: Settled, moment: Moment) -> None:
        """Records verified bits, then tells the cameras."""
        self.events.record(settled.event_batch(self.spec.name, moment.wall_ms))
        self.journal.finish(settled.batch_id, BatchOutcome.VERIFIED)
        self.matched_faces += settled.faces
        for run in settled.runs:
            self._finish(run, VERIFIED)

    def count_latency(self, batch: Sequence[HeldFaces], moment: Moment) -> None:
        """How long the faces of a batch that is verified now were held."""
        faces = [held.run.length for held in batch]
        self.latency.add([held.since for held in batch], faces, moment.seconds)

    def burn(self, runs: Sequence[Run], reason: str, *, tell: bool = True) -> None:
        """Burns slots for ever, durably, with the faces held in them; tells peer and cameras.

        Revealed slots are left to their batch.
        """
        held = [held.run for run in runs for held in self.intake.overlapping(run)]
        todo = self._unrevealed([*runs, *held])
        if todo:
            self.journal.burn(todo)
            self._announce_burned(todo, reason)
        self._release(runs, reason)
        if tell and todo and self.session is not None:
            self.send(Burned(self.session, pack_runs(todo)))

    def burn_check(self, header: CheckHeader, reason: str) -> None:
        """A check has not passed: its slots are burned, with the faces held in them."""
        self.journal.fail_check(check_name(header.session, header.check))
        self._burned_already(header.runs, reason)

    def lost_in_batch(self, faces: Iterable[HeldFaces], reason: str) -> None:
        """These faces' slots are burned already: say so to operators and cameras."""
        for held in faces:
            self.events.record_burned(held.owner.name, held.run, held.times, reason)
            self._finish(held.run, BURNED)

    def finish_burned(self, run: Run) -> None:
        """These slots' batch failed: the camera has nothing more to do."""
        self._finish(run, BURNED)

    def cannot_verify(self, held: HeldFaces) -> None:
        """A face that only the peer can still confirm: the camera has nothing more to do."""
        held.owner.finish(held.run.first, held.run.length)
        self._acknowledge(held.owner, held.run, BURNED)

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

    def known_runs(self, runs: Iterable[Run]) -> None:
        """Raises HeaderMismatch unless both parties hold the sets of these slots."""
        for run in runs:
            if not self.shared(run.set_id):
                raise HeaderMismatch("the peer names a set that we do not share")
            if run.stop > self.sets[run.set_id].slots:
                raise HeaderMismatch(
                    f"camera {self.sets[run.set_id].name.camera}: the peer names slot "
                    f"{run.stop - 1}, expected slots below {self.sets[run.set_id].slots}"
                )

    def _stale(self, error: StaleMessage, message: PartyMessage) -> None:
        """Of another session: no harm. In a Hello: the peer runs on a restored backup."""
        if not isinstance(message, Hello):  # not as StaleMessage: late openings are still of use
            self._refuse(PeerVanished("this session has ended here"), message.session)
        elif str(error) != self._told_stale:
            self._told_stale = str(error)
            self.events.announce("restored", f"window {self.spec.name}: {error}")
        log.warning("window %s: %s", self.spec.name, error)

    def _refused(self, message: Refused, moment: Moment) -> None:
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

    def _acknowledge_finished(self, ledger: SetLedger, held: HeldFaces) -> bool:
        """A resend of slots with an outcome gets that outcome again."""
        run = held.run
        first, length = run.first, run.length
        if ledger.done.covers(first, length):
            self._acknowledge(held.owner, run, VERIFIED)
        elif ledger.burned.intersects(first, length) or ledger.done.intersects(first, length):
            reason = "some slots of this message were burned"
            self.burn([run], reason)
            self.lost_in_batch([held], reason)
        elif ledger.revealed.intersects(first, length):
            if not self.in_flight:  # in no batch any more: this party will not verify it
                self._acknowledge(held.owner, run, BURNED)
        else:
            return False
        return True

    def _unrevealed(self, runs: Iterable[Run]) -> list[Run]:
        """The slots of these runs that have not left and are not burned yet, each once."""
        wanted: dict[bytes, Intervals] = {}
        for run in runs:
            wanted.setdefault(run.set_id, Intervals()).add(run.first, run.length)
        for set_id, slots in wanted.items():
            ledger = self.ledger(set_id)
            slots.difference_update(ledger.revealed)
            slots.difference_update(ledger.burned)
        return [Run(set_id, *part) for set_id, slots in wanted.items() for part in slots]

    def _burned_already(self, runs: Sequence[Run], reason: str) -> None:
        """The journal has burned these slots: say so, and burn whole messages that lie in them."""
        self._announce_burned(runs, reason)
        self.burn(runs, reason)

    def _announce_burned(self, runs: Iterable[Run], reason: str) -> None:
        slots = sum(run.length for run in runs)
        self.events.announce("burned", f"window {self.spec.name}: {slots} slots: {reason}")

    def camera_mark(self, owner: PartySet) -> int:
        """The slot after all that was revealed or is held, and after what burned there."""
        ledger = self.ledger(owner.set_id)
        mark = max(ledger.mark.revealed, self.intake.highest(owner.set_id))
        if mark < owner.slots and ledger.burned.covers(mark, 1):
            return ledger.burned.within(mark, owner.slots - mark)[0].stop
        return mark

    def _release(self, runs: Iterable[Run], reason: str) -> None:
        for run in runs:
            self._burned_ahead.add(run.set_id)
            self.sets[run.set_id].finish(run.first, run.length)
            lost = self.intake.overlapping(run)
            for held in lost:
                self.intake.remove(held.run)
            self.lost_in_batch(lost, reason)

    def _finish(self, run: Run, outcome: int) -> None:
        owner = self.sets[run.set_id]
        owner.finish(run.first, run.length)
        self._acknowledge(owner, run, outcome)

    def _acknowledge(self, owner: PartySet, run: Run, outcome: int) -> None:
        name = owner.name
        ack = FaceAck(
            name.window, name.camera, name.mint_id, (Outcome(run.first, run.length, outcome),)
        )
        self.outbox.cameras.append((name.camera, ack))


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
