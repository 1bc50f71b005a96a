"""P0's side of a window: proposes places, starts checks and batches (protocol section 3)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field

from party.agreement import NO_NONCE, SessionState, check_hello, session_id
from party.batches import Settled, awaiting, batch_name, settled_batch
from party.deadlines import refuse_late
from party.evaluation import AT_ONCE
from party.intake import HeldFaces
from party.journal import BatchOutcome
from party.leadprepare import LeadPrepare
from party.matching import P0Confirming, P0Revealed, reveal_p0
from party.matchqueue import MatchQueue
from party.places import PlaceTable, propose
from party.session import failed, split_digests
from party.windowstate import Moment
from shared.errors import (
    HeaderMismatch,
    MaterialDamaged,
    PeerVanished,
    ProtocolViolation,
    TamperDetected,
)
from shared.messages import (
    Approved,
    Burned,
    Confirm1,
    Held,
    Hello,
    PartyMessage,
    Paused,
    Ping,
    PlaceMap,
    PlaceMapAgreed,
    Prep1,
    Prep3,
    Refused,
    Reveal1,
    Run,
    Stopping,
    pack_runs,
    unpack_runs,
)
from shared.watchlist import Entry

log = logging.getLogger(__name__)
HELLO_SECONDS = 0.5
_ENOUGH_FACES = 256
_OWN_PATIENCE = 0.8  # of the face deadline


@dataclass(slots=True)
class _Batch:
    state: P0Revealed | P0Confirming
    held: list[HeldFaces] = field(repr=False)
    table: PlaceTable
    deadline: float
    settled: Settled | None = None


class LeadSession(LeadPrepare):
    """P0 of one window."""

    party = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._nonce = self.outbox.random(16)
        self._next_hello = 0.0
        self._proposals: OrderedDict[int, PlaceTable] = OrderedDict()
        self._proposal_due = 0.0
        self._epoch = 0
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._queue = MatchQueue()
        self._late: dict[tuple[bytes, int], tuple[P0Confirming, Settled]] = {}
        self._placeless: set[bytes] = set()
        self._stops_by: float | None = None  # P1 said so, and this session is to end by then
        for pending in self.journal.pending():
            if pending.expected is not None and pending.commitment and pending.context:
                settled = Settled.decode(pending.context)
                if all(run.set_id in self.sets for run in settled.runs):
                    state = awaiting(settled, pending.expected, pending.commitment)
                    self._late[(settled.session, settled.number)] = (state, settled)

    # -- what the base asks --------------------------------------------------------------

    def knows(self, session: bytes) -> bool:
        """Also sessions whose last confirmations are still awaited."""
        return session == self.session or any(key[0] == session for key in self._late)

    def advance(self, moment: Moment) -> None:
        """Says hello, keeps deadlines, starts checks and batches."""
        if self.session is None:
            if moment.seconds >= self._next_hello:
                self._next_hello = moment.seconds + HELLO_SECONDS
                self.send(self.hello(self._nonce, NO_NONCE, moment))
            return
        self._refuse_late_checks(moment)
        refuse_late("batch", self._batches, moment.seconds)
        if self._proposals and moment.seconds > self._proposal_due:
            raise PeerVanished("P1 agreed to no place map in time")
        if self._stops_by is not None and moment.seconds > self._stops_by:
            raise PeerVanished("P1 said that it stops, and has not in time")
        if self._may_start():
            self._start_check(moment)
            self._start_batches(moment)

    def every_second(self, moment: Moment) -> None:
        """Faces that P1 never acknowledged or that found no batch, entries that it lacks."""
        # Earlier than P1, so that no face is burned there while its batch is on the way.
        patience = _OWN_PATIENCE * self.limits.face_deadline
        self.overdue_faces(moment.seconds - patience, "no batch took")
        self.overdue_approvals(moment)
        self._queue.prune(self._finished)

    def on_message(self, message: PartyMessage, moment: Moment) -> None:
        """One message of P1."""
        match message:
            case Hello():
                self._welcome(message, moment)
            case Confirm1():
                self._confirmed(message, moment)
            case Approved():
                self._peer_approved = split_digests(message.entries)
                self.on_watchlist(frozenset(), moment)
            case PlaceMapAgreed():
                self._agreed(message)
            case Prep1():
                self._prep1(message)
            case Prep3():
                self._prep3(message)
                self._queue.try_again()
            case Held():
                self._held_by_peer(message)
            case Reveal1():
                self._reveal1(message, moment)
            case Stopping() if self._stops_by is None:
                self._stops_by = moment.seconds + self.limits.confirm_deadline
                self.send(Paused(message.session))
            case Ping() | Refused():  # in a session, a refusal has been dealt with
                pass
            case _:
                raise ProtocolViolation(f"P1 sent a {type(message).__name__}")

    def on_held(self, held: HeldFaces, moment: Moment) -> None:
        """A face that P1 holds too may be matched."""
        self.want_more(held)
        known = self._queue.digest_of(held.run)
        if known is not None and self._same_faces(held, known):
            self._queue.add(held)

    def on_watchlist(self, removed: Set[bytes], moment: Moment) -> None:
        """Proposes the places that follow from both watchlists."""
        if self.session is None:
            return
        entries, placeless = propose(self.params, self.bound, self.entries, self.peer_approved)
        self._announce_placeless(placeless)
        base = next(reversed(self._proposals.values()), self.table)
        if base.epoch and {p: e.digest for p, e in entries.items()} == {
            p: e.digest for p, e in base.entries.items()
        }:
            return
        self._epoch += 1
        proposal = PlaceTable(self.params, self.spec.name, self._epoch, entries)
        self._proposals[self._epoch] = proposal
        self._proposal_due = moment.seconds + self.limits.confirm_deadline
        self.bind(proposal)
        self.bound.update({p: e.digest for p, e in entries.items()})
        self.send(PlaceMap(self.session, self._epoch, proposal.bindings()))

    def recover(self, moment: Moment) -> None:
        """Faces whose last confirmation was awaited when the process ended are unresolved."""
        for _, settled in self._late.values():
            self.events.record_unresolved(
                settled.event_batch(self.spec.name, moment.wall_ms), "the process ended"
            )

    def abandon(self, reason: str, moment: Moment) -> bool:
        """Checks are burned; batches past Confirm0 stay unresolved, the others are burned."""
        in_flight = bool(self._checks or self._batches)
        self._abandon_checks(reason)
        for batch in self._batches.values():
            self._abandon_batch(batch, reason, moment)
        self._batches.clear()
        self._queue.clear()
        self._proposals.clear()
        self._stops_by = None
        self._nonce = self.outbox.random(16)
        self._next_hello = moment.seconds + HELLO_SECONDS
        return in_flight

    def give_up(self, reason: str) -> None:
        """No confirmation is awaited any more."""
        for _, settled in self._late.values():
            self._burn_settled(settled, f"never confirmed: {reason}")
        self._late.clear()

    def settled_below(self) -> int:
        """The lowest batch number that is not settled here."""
        return min(self._batches, default=self._next_number)

    @property
    def unresolved(self) -> int:
        """Faces whose last confirmation is still awaited."""
        return sum(settled.faces for _, settled in self._late.values())

    @property
    def busy(self) -> bool:
        """Whether a check or a batch is in flight."""
        return bool(self._checks or self._batches)

    @property
    def in_flight(self) -> int:
        """Batches in flight."""
        return len(self._batches)

    # -- session and places --------------------------------------------------------------

    def _welcome(self, found: Hello, moment: Moment) -> None:
        if self.session is not None or found.answers != self._nonce:
            return
        check_hello(self, found, moment.wall_ms)
        session = session_id(found.params, found.window, self._nonce, found.nonce)
        lost = self.take_marks(found)
        self._next_number = 0
        self.begin(SessionState(session, self._nonce, found.nonce), found, moment)
        told = [run for run in lost if self.shared(run.set_id)]
        if told:  # after the Hello that P1 has compared with its own
            self.send(Burned(session, pack_runs(told)))
        self.table = PlaceTable(self.params, self.spec.name, 0, {})
        self.on_watchlist(frozenset(), moment)

    def _announce_placeless(self, placeless: Sequence[Entry]) -> None:
        """Once for each entry: every place of the window is bound, it has to wait for the next."""
        fresh = [entry for entry in placeless if entry.digest not in self._placeless]
        self._placeless = {entry.digest for entry in placeless}
        if fresh:
            names = ", ".join(entry.name for entry in fresh)
            self.events.announce(
                "places",
                f"window {self.spec.name}: all {self.params.places} places are bound; no place "
                f"for {len(fresh)} entries: {names:.200}",
            )

    def _agreed(self, message: PlaceMapAgreed) -> None:
        proposal = self._proposals.get(message.epoch)
        if proposal is None:
            raise ProtocolViolation(f"place map: found agreement to epoch {message.epoch}")
        if message.place_map != proposal.digest():
            raise HeaderMismatch("the peer's place map differs from the proposed one")
        while self._proposals:  # older ones crossed what P1 said of its watchlist
            epoch, _ = self._proposals.popitem(last=False)
            if epoch == message.epoch:
                break
        self.adopt(proposal)
        self._queue.try_again()
        self.next_check.want_all()

    # -- match ---------------------------------------------------------------------------

    def _held_by_peer(self, message: Held) -> None:
        runs = unpack_runs(message.runs)
        digests = split_digests(message.faces)
        if len(runs) != len(digests):
            raise ProtocolViolation("Held: as many digests as runs expected")
        self.known_runs(runs)
        if len(self._queue) + len(runs) > self.limits.held_faces:
            raise ProtocolViolation(f"Held: more than {self.limits.held_faces} messages named")
        for run, digest in zip(runs, digests, strict=True):
            held = self.intake.get(run)
            if held is None:
                self._queue.told(run, digest)
            elif self._same_faces(held, digest):
                self._queue.add(held)

    def _same_faces(self, held: HeldFaces, digest: bytes) -> bool:
        """Whether the peer holds the same masked faces; else they are burned on both sides.

        It is the camera, or the peer, that lies: other cameras' faces go on.
        """
        if held.digest == digest:
            return True
        where = f"window {self.spec.name} camera {held.owner.name.camera} slot {held.run.first}"
        self.events.announce("mismatch", f"{where}: the two parties hold different masked faces")
        self._queue.discard(held.run)
        self.burn([held.run], "the two parties hold different masked faces")
        return False

    def _start_batches(self, moment: Moment) -> None:
        # Few faces wait for the batch before, so that what a batch costs serves many of them.
        enough = min(_ENOUGH_FACES, self.limits.faces_per_batch(self.table.numbers.used))
        while (
            self._queue.faces >= (enough if self._batches else 1)
            and self._may_start()
            and len(self._batches) < self.limits.batches_in_flight
        ):
            batch, mask = self._next_batch()
            if not batch:
                return
            try:
                if self._evaluates_first(batch, mask):
                    return
                self._reveal(batch, mask, moment)
            except MaterialDamaged as error:  # nothing of the batch was shown yet
                self.damaged(error)

    def _next_batch(self) -> tuple[list[HeldFaces], int]:
        """The oldest faces that can be matched together, and the mask of their prepared places."""
        limit = self.limits.faces_per_batch(self.table.numbers.used)
        batch: list[HeldFaces] = []
        faces = common = 0
        candidates = self._queue.candidates(self._prepared)
        with closing(candidates):
            for held, mask in candidates:
                if batch and faces + held.run.length > limit:
                    break
                if batch and mask != common:
                    continue
                common = mask
                batch.append(held)
                faces += held.run.length
        return batch, common

    def _evaluates_first(self, batch: list[HeldFaces], mask: int) -> bool:
        """Evaluates a piece of the batch if all of it would hold up the peer's messages."""
        missing = [held for held in batch if not held.evaluated(mask, self.table.digest())]
        if sum(held.run.length for held in missing) <= AT_ONCE:
            return False
        piece: list[HeldFaces] = []
        faces = 0
        for held in missing:
            if piece and faces + held.run.length > AT_ONCE:
                break
            piece.append(held)
            faces += held.run.length
        self.evaluate(piece, mask, self.table)
        self.goes_on = True
        return True

    def _prepared(self, held: HeldFaces) -> int:
        if self.intake.get(held.run) is not held:
            return -1
        return self.prepared_places(held.run) & self.table.mask

    def _finished(self, run: Run) -> bool:
        return self.ledger(run.set_id).finished(run.first, run.length)

    def _may_start(self) -> bool:
        return self.session is not None and not self.draining and self._stops_by is None

    def _reveal(self, batch: list[HeldFaces], mask: int, moment: Moment) -> None:
        runs = [held.run for held in batch]
        number = self._number()
        live = self.table.chosen(mask)
        header = self.batch_header(number, batch, live, self.table)
        shares = self.tag_shares(batch, live, self.table)
        self.reserve(runs)
        self.journal.mark_revealed(batch_name(header.session, number), runs)
        state, message = reveal_p0(header, shares)
        for run in runs:
            self.intake.remove(run)
            self._queue.discard(run)
        deadline = moment.seconds + self.limits.confirm_deadline
        self._batches[number] = _Batch(state, batch, self.table, deadline)
        self.send(message)

    def _reveal1(self, message: Reveal1, moment: Moment) -> None:
        batch = self._batches.get(message.batch)
        if batch is None or not isinstance(batch.state, P0Revealed):
            raise ProtocolViolation(f"Reveal1 of batch {message.batch} is not expected now")
        state, answer = batch.state.receive(message)
        batch.settled = settled_batch(
            state.header, batch.held, batch.table, state.bits, state.transcript
        )
        self.journal.record_expectation(
            batch.settled.batch_id, state.expected, state.commitment, batch.settled.encode()
        )
        batch.state = state
        batch.deadline = moment.seconds + self.limits.confirm_deadline
        self.send(answer)

    def _confirmed(self, message: Confirm1, moment: Moment) -> None:
        key = (message.session, message.batch)
        late = self._late.get(key)
        if late is not None:
            state, settled = late
            self._judge(state, message, settled)
            del self._late[key]
            self.settle(settled, moment)
            return
        batch = self._batches.get(message.batch) if message.session == self.session else None
        if batch is None:
            return  # offered again after it was settled
        if not isinstance(batch.state, P0Confirming) or batch.settled is None:
            raise ProtocolViolation(f"Confirm1 of batch {message.batch} is not expected now")
        self._judge(batch.state, message, batch.settled)
        del self._batches[message.batch]
        self.settle(batch.settled, moment)
        self.count_latency(batch.held, moment)

    def _judge(self, state: P0Confirming, message: Confirm1, settled: Settled) -> None:
        """Raises TamperDetected for a wrong confirmation; its faces are burned, not unresolved."""
        try:
            state.receive(message)
        except TamperDetected as error:
            self.journal.close_window(self.spec.name, failed(error))  # before anything else
            self._batches.pop(settled.number, None)
            self._late.pop((settled.session, settled.number), None)
            self._burn_settled(settled, str(error))
            raise

    def _burn_settled(self, settled: Settled, reason: str) -> None:
        """Faces past Confirm0 that will never be verified."""
        self.journal.finish(settled.batch_id, BatchOutcome.BURNED)
        first = 0
        for run in settled.runs:
            times = settled.times[first : first + run.length]
            first += run.length
            self.events.record_burned(self.sets[run.set_id].name, run, times, reason)
            self.finish_burned(run)

    def _abandon_batch(self, batch: _Batch, reason: str, moment: Moment) -> None:
        name = batch_name(batch.state.header.session, batch.state.header.batch)
        if isinstance(batch.state, P0Confirming) and batch.settled is not None:
            self.journal.finish(name, BatchOutcome.UNRESOLVED)
            self.events.record_unresolved(
                batch.settled.event_batch(self.spec.name, moment.wall_ms), reason
            )
            for held in batch.held:
                self.cannot_verify(held)
            settled = batch.settled
            self._late[(settled.session, settled.number)] = (batch.state, settled)
            return
        self.journal.finish(name, BatchOutcome.BURNED)
        self.lost_in_batch(batch.held, reason)
