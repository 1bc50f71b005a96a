"""What a window is on one party's side: its sets, places and material; no messages yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from party import audit, evaluation
from party.batches import check_name
from party.events import EventStore
from party.intake import HeldFaces, Intake
from party.journal import PartyJournal, PlaceBinding
from party.latency import LatencyCounts
from party.matching import BatchHeader, TagPart, TagShares
from party.material import PartySet
from party.nextcheck import NextCheck
from party.outbox import Limits, Outbox
from party.places import PlaceTable
from party.prepare import CheckHeader, OpeningShares, Passed
from party.slots import SetLedger
from shared.errors import (
    HeaderMismatch,
    ProtocolViolation,
)
from shared.messages import (
    PartyMessage,
    Run,
)
from shared.params import Parameters
from shared.watchlist import Entry

_RESERVED_BATCHES = 4


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


class WindowState:
    """The state of one window and what follows from it (protocol sections 3 and 4)."""

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
        self._buffers = list({id(s.buffers): s.buffers for s in self.sets.values()}.values())
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
        self.next_check = NextCheck(self)
        self.latency = LatencyCounts()
        self.mismatch: HeaderMismatch | None = None
        self.draining = False
        self.goes_on = False  # a tick has left work to the next one, for what may have come
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

    @property
    def in_flight(self) -> int:
        """Batches in flight."""
        raise NotImplementedError

    def send(self, message: PartyMessage) -> None:
        """Queues a message for the peer."""
        self.outbox.peer.append(message)

    def send_durably(self, message: PartyMessage) -> None:
        """Queues a message that leaves, with all after it, when what is written is durable."""
        self.outbox.barrier()
        self.send(message)

    def close_material(self) -> None:
        """Drops keys and kappas of all sets and closes their files; again is no error."""
        self.next_check.forget()
        for owner in self.sets.values():
            owner.close()

    def ledger(self, set_id: bytes) -> SetLedger:
        """The slots of a set."""
        return self.journal.ledger(set_id)

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
            window = self.spec.name
            self.events.note_each(
                audit.PLACE,
                [
                    (
                        f"window {window}: place {bound.place} is bound to {bound.name}",
                        audit.place_subject(window, bound.place, bound.entry),
                    )
                    for bound in new
                ],
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
        """This party's shares for a check. Raises MaterialDamaged."""
        return self.next_check.shares(header.runs, header.places, table)

    def want_more(self, held: HeldFaces) -> None:
        """Faces came, so that slots after theirs may have to be prepared."""
        owner = held.owner
        ahead = min(held.run.stop + self.limits.prepare_ahead, owner.slots)
        if self.shared(owner.set_id) and self.ledger(owner.set_id).mark.prepared < ahead:
            self.next_check.want(owner.set_id)

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
        self.evaluate(batch, mask, table)
        for held in batch:
            part = held.tags
            if part is None:
                raise ProtocolViolation("faces of a batch were not evaluated")
            if not everywhere:
                part = TagPart(part.tags[:, chosen].copy(), part.deltas)
            parts.append(part)
        return TagShares(tuple(parts), len(live))

    def evaluate(self, faces: Iterable[HeldFaces], mask: int, table: PlaceTable) -> None:
        """Evaluates these faces at the places of a mask, where that is not done."""
        chosen = [held for held in faces if not held.evaluated(mask, table.digest())]
        for held in chosen:
            held.tags, held.tags_places = None, mask
        evaluation.evaluate(chosen, table)

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
        """Makes sure, durably, that a power cut would burn these slots; in blocks ahead.

        A block is some batches long, so that a fast camera does not wait for the disk at each.
        """
        stops: dict[bytes, int] = {}
        faces: Counter[bytes] = Counter()
        for run in runs:
            stops[run.set_id] = max(run.stop, stops.get(run.set_id, 0))
            faces[run.set_id] += run.length
        wanted = {
            set_id: min(
                stop + max(self.limits.reserve_block, _RESERVED_BATCHES * faces[set_id]),
                self.sets[set_id].slots,
            )
            for set_id, stop in stops.items()
            if stop > self.ledger(set_id).reserved
        }
        if wanted:
            self.journal.reserve_reveal(wanted)

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

    def camera_mark(self, owner: PartySet) -> int:
        """The slot after all that was revealed or is held, and after what burned there."""
        ledger = self.ledger(owner.set_id)
        mark = max(ledger.mark.revealed, self.intake.highest(owner.set_id))
        if mark < owner.slots and ledger.burned.covers(mark, 1):
            return ledger.burned.within(mark, owner.slots - mark)[0].stop
        return mark

    @property
    def work_waits(self) -> bool:
        """Whether `work_ahead` may have something to do."""
        return self.closed is None and (
            self.goes_on
            or self.intake.unevaluated
            or any(b.read_ahead_waits for b in self._buffers)
            or (self.next_check.work_waits and self._may_prepare())
        )

    def work_ahead(self, limit: int) -> bool:
        """Does what can be done before it is asked for; whether there was anything.

        Evaluates up to `limit` held faces; without any, decrypts material that is next; without
        that, computes a piece of the next check.
        """
        if not self.work_waits:
            return False
        if self.goes_on:
            self.goes_on = False
            return True
        if self._evaluate_ahead(limit):
            return True
        for buffers in self._buffers:
            if buffers.read_ahead_waits:
                buffers.read_ahead()
                return True
        return self._may_prepare() and self.next_check.work_ahead()

    def _may_prepare(self) -> bool:
        return self.session is not None and not self.draining

    def _evaluate_ahead(self, limit: int) -> bool:
        if self.session is None or self.table.epoch == 0 or not self.table.entries:
            return False
        chosen = self.intake.take_unevaluated(limit, self._is_prepared)
        for held in chosen:
            held.tags_places = self.prepared_places(held.run)
        evaluation.evaluate(chosen, self.table)
        return bool(chosen)

    def _is_prepared(self, held: HeldFaces) -> bool:
        return self.prepared_places(held.run) != 0
