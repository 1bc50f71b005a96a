"""P1's side of a window: answers P0 and watches that nothing is left out (protocol section 3)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from party.agreement import SessionState, check_hello, session_id
from party.batches import Settled, batch_name, check_name, settled_batch
from party.deadlines import refuse_late
from party.followplaces import FollowPlaces
from party.intake import HeldFaces
from party.journal import BatchOutcome, Count
from party.matching import P1Revealed, reveal_p1
from party.outbox import most_faces
from party.places import PlaceTable
from party.prepare import CheckHeader, P1Answered, P1Judged, answer_p1
from party.session import split_digests
from party.windowstate import Moment
from shared.errors import (
    HeaderMismatch,
    MaterialDamaged,
    PeerVanished,
    ProtocolViolation,
    SlotReused,
    StaleMessage,
    TwokeyError,
)
from shared.messages import (
    Approved,
    Confirm0,
    Confirm1,
    Held,
    Hello,
    PartyMessage,
    Paused,
    Ping,
    PlaceMap,
    Prep0,
    Prep2,
    Prep4,
    Refused,
    Reveal0,
    Run,
    Stopping,
    pack_runs,
    unpack_runs,
)

T = TypeVar("T")
log = logging.getLogger(__name__)
_MOST_NUMBERS = 1 << 63


@dataclass(slots=True)
class _Check:
    state: P1Answered | P1Judged
    deadline: float


@dataclass(slots=True)
class _Batch:
    state: P1Revealed
    held: list[HeldFaces] = field(repr=False)
    settled: Settled
    deadline: float


class FollowSession(FollowPlaces):
    """P1 of one window."""

    party = 1

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._state: SessionState | None = None
        self._checks: OrderedDict[int, _Check] = OrderedDict()
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._announce: list[HeldFaces] = []
        self._openings: OrderedDict[tuple[bytes, int], Confirm1] = OrderedDict()
        self._least_check = 0
        self._least_batch = 0
        self._asked_to_pause = False
        self._paused = False
        self._recovered: list[Settled] = []
        for pending in self.journal.pending():
            if pending.opening is not None and pending.context:
                settled = Settled.decode(pending.context)
                if all(run.set_id in self.sets for run in settled.runs):
                    self._openings[(settled.session, settled.number)] = Confirm1(
                        settled.session,
                        settled.number,
                        pending.opening[:32],
                        pending.opening[32:],
                    )
                    self._recovered.append(settled)

    # -- what the base asks --------------------------------------------------------------

    def knows(self, session: bytes) -> bool:
        """Also sessions of which openings are kept for P0."""
        return session == self.session or any(key[0] == session for key in self._openings)

    def advance(self, moment: Moment) -> None:
        """Tells P0 what is held, and keeps the deadlines."""
        if self.session is None:
            return
        if self.draining:
            if not self._asked_to_pause:
                self._asked_to_pause = True
                self.send(Stopping(self.session))
        elif self._announce:
            self._tell_held()
        refuse_late("check", self._checks, moment.seconds)
        refuse_late("batch", self._batches, moment.seconds)
        self._refuse_late_map(moment)

    def every_second(self, moment: Moment) -> None:
        """Faces and entries that P0 left out, entries that it lacks."""
        self.overdue_faces(moment.seconds - self.limits.face_deadline, "P0 never matched")
        self.overdue_approvals(moment)
        self._overdue_entries(moment)

    def on_message(self, message: PartyMessage, moment: Moment) -> None:
        """One message of P0."""
        match message:
            case Hello():
                self._welcome(message, moment)
            case Approved():
                self._peer_approved = split_digests(message.entries)
            case PlaceMap():
                self._place_map(message, moment)
            case Prep0():
                self._prep0(message, moment)
            case Prep2():
                self._prep2(message, moment)
            case Prep4():
                self._prep4(message, moment)
            case Reveal0():
                self._reveal0(message, moment)
            case Confirm0():
                self._confirm0(message, moment)
            case Ping():
                self._forget_openings(message.session, message.settled)
            case Refused():
                if message.error == StaleMessage.__name__:  # P0 awaits nothing of that session
                    self._forget_openings(message.session, _MOST_NUMBERS)
            case Paused() if self._asked_to_pause and not self._paused:
                self._paused = True
            case _:
                raise ProtocolViolation(f"P0 sent a {type(message).__name__}")

    def on_held(self, held: HeldFaces, moment: Moment) -> None:
        """P0 is told at the end of this round; the evaluation is done ahead where it can be."""
        self._announce.append(held)
        self.want_more(held)

    def recover(self, moment: Moment) -> None:
        """What passed its check when the process ended is told, and offered to P0 again."""
        for settled in self._recovered:
            ledgers = [(self.ledger(run.set_id), run) for run in settled.runs]
            if all(ledger.done.covers(run.first, run.length) for ledger, run in ledgers):
                self.events.record(settled.event_batch(self.spec.name, moment.wall_ms))
            else:
                self.settle(settled, moment)
        self._recovered = []

    def abandon(self, reason: str, moment: Moment) -> bool:
        """Whatever has shown a value and is not verified is burned."""
        in_flight = bool(self._checks or self._batches)
        for check in self._checks.values():
            self.burn_check(check.state.header, f"the check did not pass: {reason}")
        for batch in self._batches.values():
            self.journal.finish(batch.settled.batch_id, BatchOutcome.BURNED)
            self.lost_in_batch(batch.held, reason)
        self._checks.clear()
        self._batches.clear()
        self._abandon_places()
        self._announce = list(self.intake)
        self._asked_to_pause = self._paused = False
        self._state = None
        return in_flight

    def give_up(self, reason: str) -> None:
        """P1 awaits nothing: it is final with Confirm0."""

    def settled_below(self) -> int:
        """The lowest batch number that is not settled here."""
        return min(self._batches, default=self._least_batch)

    @property
    def busy(self) -> bool:
        """Whether a check or a batch is in flight."""
        return bool(self._checks or self._batches)

    @property
    def expects_more(self) -> bool:
        """Whether P0 may still begin a check or a batch, or one of its may be on the way."""
        return self.session is not None and not self._paused

    @property
    def in_flight(self) -> int:
        """Batches in flight."""
        return len(self._batches)

    @property
    def unresolved(self) -> int:
        """P1 has none: it is final with Confirm0."""
        return 0

    # -- the session ---------------------------------------------------------------------

    def _welcome(self, found: Hello, moment: Moment) -> None:
        state = self._state
        if state is not None and found.nonce == state.nonce0:
            self.send(self.hello(state.nonce1, found.nonce, moment))  # our answer was lost
            return
        check_hello(self, found, moment.wall_ms)
        self.drop("P0 began a new session", moment)
        if self.closed is not None:
            return
        self.take_marks(found)
        nonce = self.outbox.random(16)
        answer = self.hello(nonce, found.nonce, moment)
        state = SessionState(
            session_id(found.params, found.window, found.nonce, nonce), found.nonce, nonce
        )
        self._least_check = self._least_batch = 0
        self.begin(state, found, moment)
        self._state = state
        self._begin_places()
        self._announce = list(self.intake)
        self.send(answer)
        for opening in self._openings.values():
            self.send(opening)

    # -- prepare -------------------------------------------------------------------------

    def _prep0(self, message: Prep0, moment: Moment) -> None:
        table = self._table_named(message.place_map, moment)
        self._least_check = _following(self._least_check, message.check, "prepare check")
        runs = unpack_runs(message.runs)
        self.known_runs(runs)
        places = tuple(int(p) for p in np.frombuffer(message.places, dtype="<u4"))
        if not places or any(p not in table.entries for p in places):
            raise HeaderMismatch(f"prepare check {message.check}: a place is not bound")
        if list(places) != sorted(set(places)):
            raise HeaderMismatch(f"prepare check {message.check}: places out of order")
        self._refuse_burned(runs, f"prepare check {message.check}")
        slots = sum(run.length for run in runs)
        limit = self.limits.slots_per_check(table.numbers.used)
        if not 0 < slots <= limit:
            raise HeaderMismatch(
                f"prepare check {message.check}: found {slots} slots, expected 1 to {limit}"
            )
        attempts = self.journal.counts(self.spec.name)[Count.PREPARE_ATTEMPTS]
        if attempts >= self.limits.prepare_attempts:
            self.close(f"{attempts} prepare checks failed", moment)
            return
        header = CheckHeader(
            self.session or b"",
            message.check,
            self.params.digest(),
            table.digest(),
            runs,
            places,
        )
        header.matches(message)
        shares = self._unless_damaged(
            f"prepare check {message.check}", lambda: self.opening_shares(header, table)
        )
        self.journal.mark_in_prepare(check_name(header.session, header.check), runs, places)
        try:
            state, answer = answer_p1(header, shares, self.outbox.random(32), message)
        except TwokeyError as error:
            self.burn_check(header, f"the check did not pass: {error}")
            raise
        self._checks[header.check] = _Check(state, moment.seconds + self.limits.check_deadline)
        self.next_check.begun(runs)
        self.send_durably(answer)

    def _prep2(self, message: Prep2, moment: Moment) -> None:
        check = self._checks.get(message.check)
        if check is None or not isinstance(check.state, P1Answered):
            raise ProtocolViolation(f"Prep2 of check {message.check} is not expected now")
        check.state, answer = check.state.receive(message)
        self.send(answer)

    def _prep4(self, message: Prep4, moment: Moment) -> None:
        check = self._checks.get(message.check)
        if check is None or not isinstance(check.state, P1Judged):
            raise ProtocolViolation(f"Prep4 of check {message.check} is not expected now")
        passed = check.state.receive(message)
        self.keep(passed)
        del self._checks[message.check]
        for run in passed.header.runs:
            self.next_check.want(run.set_id)

    # -- match ---------------------------------------------------------------------------

    def _tell_held(self) -> None:
        faces = [held for held in self._announce if self.shared(held.run.set_id)]
        self._announce = []
        if faces and self.session is not None:
            runs = pack_runs(held.run for held in faces)
            self.send(Held(self.session, runs, b"".join(held.digest for held in faces)))

    def _reveal0(self, message: Reveal0, moment: Moment) -> None:
        table = self._table_named(message.place_map, moment)
        self._least_batch = _following(self._least_batch, message.batch, "batch")
        runs = unpack_runs(message.runs)
        self.known_runs(runs)
        self._refuse_burned(runs, f"batch {message.batch}")
        most = most_faces(table.numbers.used)
        if len(runs) > 1 and sum(run.length for run in runs) > most:
            raise HeaderMismatch(f"batch {message.batch}: found more than {most} faces")
        batch = []
        for run in runs:
            held = self.intake.get(run)
            if held is None:
                raise HeaderMismatch(
                    f"batch {message.batch}: slots {run.first} to {run.stop - 1} of camera "
                    f"{self.sets[run.set_id].name.camera} are not held here"
                )
            batch.append(held)
        if not batch:
            raise HeaderMismatch(f"batch {message.batch}: no slot is named")
        live = self._live_named(message, runs, table)
        if not live:
            raise HeaderMismatch(f"batch {message.batch}: no place is named that is live here")
        header = self.batch_header(message.batch, batch, live, table)
        header.matches(message)
        self._unprepared(header, table, moment)
        shares = self._unless_damaged(
            f"batch {message.batch}", lambda: self.tag_shares(batch, live, table)
        )
        state, answer = reveal_p1(header, shares, message, self.outbox.random(16))
        self.reserve(runs)
        self.journal.mark_revealed(batch_name(header.session, header.batch), runs)
        for run in runs:
            self.intake.remove(run)
        settled = settled_batch(header, batch, table, state.bits, state.transcript)
        deadline = moment.seconds + self.limits.confirm_deadline
        self._batches[header.batch] = _Batch(state, batch, settled, deadline)
        self.send(answer)

    def _unless_damaged(self, what: str, shares: Callable[[], T]) -> T:
        """Our shares. Raises PeerVanished, to end a session that asks for damaged material."""
        try:
            return shares()
        except MaterialDamaged as error:
            self.damaged(error)
            raise PeerVanished(f"{what}: some of its slots are burned here") from error

    def _refuse_burned(self, runs: Iterable[Run], what: str) -> None:
        """Raises PeerVanished: what we say of burned slots may cross what P0 says of them."""
        for run in runs:
            if self.ledger(run.set_id).burned.intersects(run.first, run.length):
                raise PeerVanished(
                    f"{what}: some of slots {run.first} to {run.stop - 1} of camera "
                    f"{self.sets[run.set_id].name.camera} are burned here"
                )

    def _live_named(
        self, message: Reveal0, runs: tuple[Run, ...], table: PlaceTable
    ) -> tuple[int, ...]:
        """The live places that P0 names: ours, or fewer, and then that is announced."""
        ours = self.live_places(runs, table)
        mask = int.from_bytes(bytes(message.live), "little")
        named = tuple(place for place in ours if mask >> place & 1)
        if len(named) < len(ours):
            left_out = [table.entries[p].name for p in ours if not mask >> p & 1]
            self.events.announce(
                "omission",
                f"window {self.spec.name} batch {message.batch}: P0 left out {len(left_out)} "
                f"entries: {', '.join(left_out)[:200]}",
            )
        return named

    def _confirm0(self, message: Confirm0, moment: Moment) -> None:
        batch = self._batches.get(message.batch)
        if batch is None:
            raise ProtocolViolation(f"Confirm0 of batch {message.batch} is not expected now")
        _, opening = batch.state.receive(message)
        settled = batch.settled
        self.journal.record_opening(
            settled.batch_id, opening.confirmation + opening.nonce, settled.encode()
        )
        self.send(opening)
        self.outbox.deliver()  # P0 waits for it; what follows here can be done beside that
        self._openings[(settled.session, settled.number)] = opening
        del self._batches[message.batch]
        self.settle(settled, moment)
        self.count_latency(batch.held, moment)

    def _forget_openings(self, session: bytes, settled: int) -> None:
        """P0 needs no opening of this session below this number."""
        for key in list(self._openings):
            if key[0] == session and key[1] < settled:
                del self._openings[key]
                self.journal.resolve(batch_name(*key))


def _following(expected: int, found: int, what: str) -> int:
    """The lowest number that the next one may have. Raises SlotReused, ProtocolViolation."""
    if found < expected:
        raise SlotReused(f"{what} {found} was begun before")
    if found >= _MOST_NUMBERS:
        raise ProtocolViolation(f"{what}: found number {found}, expected one below 2^63")
    return found + 1
