"""The slot journal of a party: what makes slots one-time across crashes (protocol section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from party.journal_core import JournalCore, JournalIdentity, read_boot_id
from party.journal_rows import (
    Batch,
    BatchOutcome,
    Check,
    Count,
    KappaRow,
    Pending,
    PlaceBinding,
    Recovery,
    delete_check,
    pack_places,
    save_set,
    save_window,
)
from party.slots import HighWater, SetInfo, SlotState, place_mask, refuse_repeated
from shared.errors import (
    ProtocolViolation,
    RangeError,
    ResourceError,
    SlotReused,
    StaleMessage,
)
from shared.messages import Run, pack_runs

__all__ = [
    "BatchOutcome",
    "Count",
    "HighWater",
    "JournalIdentity",
    "PartyJournal",
    "Pending",
    "PlaceBinding",
    "PreparedRun",
    "Recovery",
    "SetInfo",
    "SlotState",
    "read_boot_id",
]


_FINISH = "UPDATE batches SET outcome=? WHERE number=?"


class PreparedRun(NamedTuple):
    """Slots that are ready, and what was opened for them. kappa: (length, places) uint32."""

    run: Run
    places: tuple[int, ...]
    kappa: NDArray[np.uint32]


class PartyJournal(JournalCore):
    """An open journal, held by this process alone; all methods may be called from any thread.

    Methods marked *durable* return after the mark is on stable storage; those marked *written*
    survive the death of the process but not of the machine, after which every slot reserved by
    `reserve_reveal` and not known to be done is burned. A method that raises has recorded nothing.
    Every method may raise DiskFull or ResourceError; the constructor also Locked and FormatError.
    """

    # -- prepare -----------------------------------------------------------------------

    def mark_in_prepare(self, check_id: bytes, runs: Sequence[Run], places: Sequence[int]) -> None:
        """Written; `sync` comes before Prep0 or Prep1. SlotReused for a place opened before.

        places: in the order of kappa's columns. ProtocolViolation for a place that is not bound.
        """
        with self._db.lock:
            window = self._window_of(runs)
            self._refuse_closed(window)
            if check_id in self._book.checks:
                raise ProtocolViolation("prepare check: this check is known already")
            mask = place_mask(places)
            bound = self._book.windows[window].places
            for place in places:
                if place not in bound:
                    raise ProtocolViolation(f"place {place}: not bound to an entry")
            if not places:
                raise ProtocolViolation("prepare check: no place is named")
            refuse_repeated(runs)
            for run in runs:
                self._book.ledgers[run.set_id].refuse_prepare(run.first, run.length, mask)
            number = self._db.write(
                "INSERT INTO checks VALUES (NULL,?,?,?,?,0)",
                (check_id, window, pack_runs(runs), pack_places(places)),
            )
            check = Check(number, check_id, window, tuple(runs), tuple(places))
            self._book.checks[check_id] = check
            for run in runs:
                self._book.ledgers[run.set_id].begin_prepare(run.first, run.length, mask)

    def mark_prepared(self, check_id: bytes, kappa: NDArray[np.uint32]) -> None:
        """Written: the check passed. kappa: (slots, places) uint32, in the order of the check.

        A machine that goes down before it is durable burns these slots, as the check's own mark
        is there and this one is not: it was durable before anything was shown.
        """
        with self._db.lock:
            check = self._running_check(check_id)
            self._refuse_closed(check.window)
            expected = (sum(run.length for run in check.runs), len(check.places))
            if kappa.shape != expected or kappa.dtype != np.uint32:
                raise RangeError(f"kappa: found {kappa.dtype} {kappa.shape}, expected {expected}")
            kappa = np.ascontiguousarray(kappa)
            rows = []
            with self._db.transaction(durable=False) as connection:
                connection.execute("UPDATE checks SET passed=1 WHERE number=?", (check.number,))
                row = 0
                for run in check.runs:
                    part = kappa[row : row + run.length]
                    row += run.length
                    number = connection.execute(
                        "INSERT INTO kappa VALUES (NULL,?,?,?,?,?)",
                        (check.number, *run, part.data),
                    ).lastrowid
                    rows.append(KappaRow(number or 0, run))
            check.passed = True
            check.kappa = rows
            for run in check.runs:
                self._book.ledgers[run.set_id].pass_check(run.first, run.length)

    def fail_check(self, check_id: bytes) -> None:
        """Durable: the check failed or ran out of time; its slots are burned, an attempt counts."""
        with self._db.lock:
            check = self._running_check(check_id)
            book = self._copy_window(check.window)
            book.counts[Count.PREPARE_ATTEMPTS] += 1
            ledgers = self._copies(run.set_id for run in check.runs)
            for run in check.runs:
                ledgers[run.set_id].fail_check(run.first, run.length)
            with self._db.transaction(durable=True) as connection:
                delete_check(connection, check)
                save_window(connection, check.window, book)
                for ledger in ledgers.values():
                    save_set(connection, ledger)
            del self._book.checks[check_id]
            self._book.windows[check.window] = book
            self._book.ledgers.update(ledgers)

    def burn(self, runs: Sequence[Run]) -> None:
        """Durable. All places of these slots; slots burned before are no error."""
        with self._db.lock:
            ledgers = self._copies(run.set_id for run in runs)
            for run in runs:
                ledgers[run.set_id].burn(run.first, run.length)
            self._replace(ledgers)

    def prepared(self, set_id: bytes) -> Iterator[PreparedRun]:
        """What is ready to be matched, from storage; a slot comes once for each of its checks."""
        with self._db.lock:
            ready = self.ledger(set_id).ready()
            rows = [
                (row, check.places)
                for check in self._book.checks.values()
                for row in check.kappa
                if row.run.set_id == set_id
            ]
        for (number, run), places in rows:
            parts = ready.within(run.first, run.length)
            if not parts:
                continue
            with self._db.restoring() as connection:
                stored = connection.execute("SELECT kappa FROM kappa WHERE number=?", (number,))
                found = stored.fetchone()
                if found is None:  # finished and forgotten meanwhile
                    continue
                kappa = np.frombuffer(found[0], dtype="<u4").reshape(run.length, len(places))
            for part in parts:
                start = part.first - run.first
                yield PreparedRun(Run(set_id, *part), places, kappa[start : start + part.length])

    # -- match -------------------------------------------------------------------------

    def reserve_reveal(self, limits: Mapping[bytes, int]) -> None:
        """Durable, well ahead: slots below the limit of each set id may be revealed from now on."""
        with self._db.lock:
            ledgers = self._copies(limits)
            for set_id, limit in limits.items():
                ledger = ledgers[set_id]
                self._refuse_closed(ledger.info.name.window)
                ledger.reserved = max(ledger.reserved, min(limit, ledger.info.slots))
            self._replace(ledgers)

    def load_states(self, set_id: bytes) -> NDArray[np.uint8]:
        """(slots,) uint8 of `SlotState`."""
        with self._db.lock:
            return self.ledger(set_id).states()

    def reserved(self, set_id: bytes) -> int:
        """The limit below which slots of this set may be revealed."""
        with self._db.lock:
            return self.ledger(set_id).reserved

    def mark_revealed(self, batch_id: bytes, runs: Sequence[Run]) -> None:
        """Written, before Reveal0 or Reveal1. SlotReused unless prepared, reserved and unused."""
        with self._db.lock:
            window = self._window_of(runs)
            self._refuse_closed(window)
            if batch_id in self._book.batches:
                raise SlotReused("batch: this batch id is in use")
            refuse_repeated(runs)
            for run in runs:
                self._book.ledgers[run.set_id].refuse_reveal(run.first, run.length)
            number = self._db.write(
                "INSERT INTO batches VALUES (NULL,?,?,?,0,NULL,NULL,NULL,NULL)",
                (batch_id, window, pack_runs(runs)),
            )
            self._book.batches[batch_id] = Batch(number, batch_id, window, tuple(runs))
            for run in runs:
                self._book.ledgers[run.set_id].reveal(run.first, run.length)

    def record_opening(self, batch_id: bytes, opening: bytes, context: bytes = b"") -> None:
        """Written, by P1 before Confirm1: what to offer again until `resolve`."""
        with self._db.lock:
            batch = self._batch(batch_id)
            self._store(batch, Pending(batch_id, batch.runs, opening=opening, context=context))

    def record_expectation(
        self, batch_id: bytes, expected: bytes, commitment: bytes, context: bytes = b""
    ) -> None:
        """Written, by P0 before Confirm0: what a late Confirm1 is judged by."""
        with self._db.lock:
            batch = self._batch(batch_id)
            pending = Pending(batch_id, batch.runs, None, expected, commitment, context)
            self._store(batch, pending)

    def pending(self) -> list[Pending]:
        """Openings to offer again and openings still awaited, in the order of their batches."""
        with self._db.lock:
            return [b.pending for b in self._book.batches.values() if b.pending is not None]

    def finish(self, batch_id: bytes, outcome: BatchOutcome) -> None:
        """UNRESOLVED is written, BURNED durable; VERIFIED waits for the next `write_verified`.

        Until then a kill leaves the batch to what it waited for: P1 offers its opening again, and
        P0 awaits it again. An unresolved batch may be finished again. A verdict ends P0's
        expectation; P1's opening is kept until `resolve`. ProtocolViolation for a batch that is
        unknown or verified.
        """
        with self._db.lock:
            batch = self._batch(batch_id)
            if batch.outcome is BatchOutcome.VERIFIED or outcome is BatchOutcome.REVEALED:
                raise ProtocolViolation(
                    f"batch: found {outcome.name} after {batch.outcome.name}, "
                    "expected one final verdict"
                )
            if outcome is BatchOutcome.BURNED:
                self._finish_burned(batch)
                return
            if outcome is BatchOutcome.UNRESOLVED:
                with self._db.transaction(durable=False) as connection:
                    connection.execute(_FINISH, (outcome, batch.number))
                batch.outcome = outcome
                return
            if not self._db.usable:
                raise ResourceError("slot journal: closed after a storage failure")
            batch.outcome = outcome
            self._verified.append((batch.number, batch.batch_id))
            for run in batch.runs:
                self._book.ledgers[run.set_id].finish(run.first, run.length)
                self._dirty.add(run.set_id)
            if batch.pending is None or batch.pending.opening is None:
                self._drop(batch)

    def resolve(self, batch_id: bytes) -> None:
        """By P1: the peer has the opening. Written later, as to offer it again does no harm.

        An opening that is not stored is no error.
        """
        with self._db.lock:
            batch = self._book.batches.get(batch_id)
            if batch is None or batch.pending is None or batch.pending.opening is None:
                return
            if batch.outcome is BatchOutcome.VERIFIED:
                batch.pending = None
                self._drop(batch)
                return
            with self._db.transaction(durable=False) as connection:
                connection.execute(
                    "UPDATE batches SET opening=NULL, context=NULL WHERE number=?",
                    (batch.number,),
                )
            batch.pending = None

    # -- the peer's memory -------------------------------------------------------------

    def high_water_marks(self, window: str) -> dict[bytes, HighWater]:
        """How far each set of the window was used, by set id."""
        with self._db.lock:
            return {
                set_id: ledger.mark
                for set_id, ledger in self._book.ledgers.items()
                if ledger.info.name.window == window
            }

    def raise_high_water(self, marks: Mapping[bytes, HighWater]) -> list[Run]:
        """Durable. Takes the peer's marks where higher; returns what was burned for it.

        Slots below the peer's mark that are not known here as used are burned: this journal may
        be a restored backup. To be called while nothing is in flight. Unknown sets are ignored.
        """
        with self._db.lock:
            ledgers = self._copies(set_id for set_id in marks if set_id in self._book.ledgers)
            burned = [run for i, ledger in ledgers.items() for run in ledger.raise_mark(marks[i])]
            self._replace(ledgers)
            return burned

    def remember_peer(self, peer: str, found: JournalIdentity) -> None:
        """Durable. StaleMessage when the peer's journal is older than it was: a restored backup."""
        with self._db.transaction(durable=True) as connection:
            known = self.recall_peer(peer)
            if known is not None and known.later_than(found):
                raise StaleMessage(
                    f"peer {peer}: its slot journal was opened {found.generation} times, "
                    f"expected {known.generation} or more; a restored backup must not run"
                )
            connection.execute("INSERT OR REPLACE INTO peers VALUES (?,?,?)", (peer, *found))

    def recall_peer(self, peer: str) -> JournalIdentity | None:
        """The peer's journal as it was last seen."""
        with self._db.reading() as connection:
            row = connection.execute(
                "SELECT instance, generation FROM peers WHERE peer=?", (peer,)
            ).fetchone()
        return None if row is None else JournalIdentity(*row)

    def _running_check(self, check_id: bytes) -> Check:
        check = self._book.checks.get(check_id)
        if check is None or check.passed:
            raise ProtocolViolation("prepare check: found no running check of this id")
        return check

    def _batch(self, batch_id: bytes) -> Batch:
        batch = self._book.batches.get(batch_id)
        if batch is None:
            raise ProtocolViolation("batch: found no unfinished batch of this id")
        return batch

    def _store(self, batch: Batch, pending: Pending) -> None:
        if batch.outcome is not BatchOutcome.REVEALED or batch.pending is not None:
            raise ProtocolViolation("batch: its opening or expectation is recorded already")
        self._db.write(
            "UPDATE batches SET opening=?, expected=?, commitment=?, context=? WHERE number=?",
            (
                pending.opening,
                pending.expected,
                pending.commitment,
                pending.context,
                batch.number,
            ),
        )
        batch.pending = pending

    def _finish_burned(self, batch: Batch) -> None:
        ledgers = self._copies(run.set_id for run in batch.runs)
        for run in batch.runs:
            ledgers[run.set_id].burn(run.first, run.length)
        with self._db.transaction(durable=True) as connection:
            connection.execute("DELETE FROM batches WHERE number=?", (batch.number,))
            for ledger in ledgers.values():
                save_set(connection, ledger)
        self._book.ledgers.update(ledgers)
        del self._book.batches[batch.batch_id]

    def _drop(self, batch: Batch) -> None:
        del self._book.batches[batch.batch_id]
        self._foldable.append((batch.number, batch.batch_id))
