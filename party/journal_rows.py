"""What the slot journal stores: its tables, and their content as it is read at the start."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from party.slots import HighWater, SetInfo, SetLedger, place_mask
from shared.errors import FormatError
from shared.intervals import Intervals
from shared.messages import Run, unpack_runs
from shared.sets import SetName

APPLICATION_ID = 0x744B504A
VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE peers (peer TEXT PRIMARY KEY, instance BLOB NOT NULL, generation INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE windows (
    window TEXT PRIMARY KEY,
    closed TEXT,
    prepare_attempts INTEGER NOT NULL DEFAULT 0,
    outages INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE places (
    window TEXT, place INTEGER, entry BLOB NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (window, place)
) WITHOUT ROWID;
CREATE TABLE sets (
    set_id BLOB PRIMARY KEY,
    mint_id BLOB NOT NULL, window TEXT NOT NULL, camera TEXT NOT NULL, slots INTEGER NOT NULL,
    reserved INTEGER NOT NULL, prepared_mark INTEGER NOT NULL, revealed_mark INTEGER NOT NULL,
    done BLOB NOT NULL, burned BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE checks (
    number INTEGER PRIMARY KEY,
    check_id BLOB NOT NULL, window TEXT NOT NULL, runs BLOB NOT NULL, places BLOB NOT NULL,
    passed INTEGER NOT NULL
);
CREATE TABLE kappa (
    number INTEGER PRIMARY KEY,
    check_number INTEGER NOT NULL, set_id BLOB NOT NULL, first INTEGER NOT NULL,
    length INTEGER NOT NULL, kappa BLOB NOT NULL
);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY,
    batch_id BLOB NOT NULL, window TEXT NOT NULL, runs BLOB NOT NULL, outcome INTEGER NOT NULL,
    opening BLOB, expected BLOB, commitment BLOB, context BLOB
);
"""


class BatchOutcome(IntEnum):
    """REVEALED: nothing known yet. UNRESOLVED: no valid confirmation in time, it may still come.

    VERIFIED: this party's own check passed. BURNED: it failed, or nothing can come any more.
    """

    REVEALED = 0
    VERIFIED = 1
    BURNED = 2
    UNRESOLVED = 3


class Count(IntEnum):
    """What is counted, and capped, per window."""

    PREPARE_ATTEMPTS = 0
    OUTAGES = 1
    FAILURES = 2


class PlaceBinding(NamedTuple):
    """A place, and the entry bound to it for the whole window: digest (32 bytes) and name."""

    place: int
    entry: bytes
    name: str


class KappaRow(NamedTuple):
    """A stored kappa array, by its row number, and the slots that it is for."""

    number: int
    run: Run


@dataclass(slots=True)
class Check:
    """A check that is running, or that passed and has slots not yet finished."""

    number: int
    check_id: bytes
    window: str
    runs: tuple[Run, ...]
    places: tuple[int, ...]
    passed: bool = False
    kappa: list[KappaRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a batch still waits for after Confirm0.

    opening: P1's confirmation and nonce, to offer again. expected, commitment: P0's, to judge a
    late opening. context: the caller's own bytes, to report the result with.
    """

    batch_id: bytes
    runs: tuple[Run, ...]
    opening: bytes | None = field(default=None, repr=False)
    expected: bytes | None = field(default=None, repr=False)
    commitment: bytes | None = None
    context: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Batch:
    """A batch that has no final verdict, or whose opening the peer may still want."""

    number: int
    batch_id: bytes
    window: str
    runs: tuple[Run, ...]
    outcome: BatchOutcome = BatchOutcome.REVEALED
    pending: Pending | None = None

    @property
    def unfinished_without_pending(self) -> bool:
        """Whether its bits left and no verdict on them can be had any more."""
        return self.outcome is not BatchOutcome.VERIFIED and self.pending is None


@dataclass(slots=True)
class WindowBook:
    """A window: its places, its counters, and why it was closed, if it was."""

    closed: str | None = None
    counts: dict[Count, int] = field(default_factory=lambda: dict.fromkeys(Count, 0))
    places: dict[int, PlaceBinding] = field(default_factory=dict)


@dataclass(slots=True)
class Book:
    """Everything that the journal knows. Batches without unfinished business drop out of it."""

    windows: dict[str, WindowBook] = field(default_factory=dict)
    ledgers: dict[bytes, SetLedger] = field(default_factory=dict)
    checks: dict[bytes, Check] = field(default_factory=dict)
    batches: dict[bytes, Batch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening the journal burned, and what is left to resolve.

    checks, batches: id and runs of those without a verdict. reserved: burned because the machine
    went down and these slots may have been revealed. pending: kept.
    """

    machine_restarted: bool
    checks: tuple[tuple[bytes, tuple[Run, ...]], ...]
    batches: tuple[tuple[bytes, tuple[Run, ...]], ...]
    reserved: tuple[Run, ...]
    pending: tuple[Pending, ...]


def restore(connection: sqlite3.Connection, machine_restarted: bool) -> tuple[Book, Recovery]:
    """Reads everything, burns what has no verdict (protocol sections 3 and 5), writes that down."""
    book = _load(connection)
    checks = [check for check in book.checks.values() if not check.passed]
    for check in checks:
        del book.checks[check.check_id]
        book.windows[check.window].counts[Count.PREPARE_ATTEMPTS] += 1
        for run in check.runs:
            book.ledgers[run.set_id].fail_check(run.first, run.length)
        delete_check(connection, check)
        save_window(connection, check.window, book.windows[check.window])
    batches = [batch for batch in book.batches.values() if batch.unfinished_without_pending]
    for batch in batches:
        for run in batch.runs:
            book.ledgers[run.set_id].burn(run.first, run.length)
    reserved = _burn_reserved(book) if machine_restarted else ()
    for batch in list(book.batches.values()):
        if batch.pending is None:  # finished ones are folded into their sets here
            del book.batches[batch.batch_id]
            connection.execute("DELETE FROM batches WHERE number=?", (batch.number,))
    for ledger in book.ledgers.values():
        save_set(connection, ledger)
    return book, Recovery(
        machine_restarted,
        tuple((check.check_id, check.runs) for check in checks),
        tuple((batch.batch_id, batch.runs) for batch in batches),
        reserved,
        tuple(b.pending for b in book.batches.values() if b.pending is not None),
    )


def _load(connection: sqlite3.Connection) -> Book:
    book = Book()
    query = connection.execute
    for window, closed, *counts in query("SELECT * FROM windows"):
        book.windows[window] = WindowBook(closed, dict(zip(Count, counts, strict=True)))
    for window, *binding in query("SELECT window, place, entry, name FROM places ORDER BY place"):
        bound = PlaceBinding(*binding)
        book.windows[window].places[bound.place] = bound
    for row in query("SELECT * FROM sets"):
        ledger = _ledger(*row)
        book.ledgers[ledger.info.set_id] = ledger
    by_number = {}
    for number, check_id, window, runs, places, passed in query("SELECT * FROM checks"):
        check = Check(
            number, check_id, window, unpack_runs(runs), unpack_places(places), bool(passed)
        )
        book.checks[check_id] = by_number[number] = check
        mask = place_mask(check.places)
        for run in check.runs:
            ledger = book.ledgers[run.set_id]
            ledger.begin_prepare(run.first, run.length, mask)
            if check.passed:
                ledger.pass_check(run.first, run.length)
    for number, check_number, *kappa_run in query(
        "SELECT number, check_number, set_id, first, length FROM kappa ORDER BY number"
    ):
        if [type(value) for value in kappa_run] != [bytes, int, int]:
            raise FormatError("slot journal: a kappa's slots are none")
        by_number[check_number].kappa.append(KappaRow(number, Run(*kappa_run)))
    for number, batch_id, window, runs, outcome, *stored in query("SELECT * FROM batches"):
        batch = Batch(number, batch_id, window, unpack_runs(runs), BatchOutcome(outcome))
        if any(blob is not None for blob in stored):
            batch.pending = Pending(batch_id, batch.runs, *stored)
        book.batches[batch_id] = batch
        for run in batch.runs:
            ledger = book.ledgers[run.set_id]
            ledger.reveal(run.first, run.length)
            if batch.outcome is BatchOutcome.VERIFIED:
                ledger.finish(run.first, run.length)
    return book


def _burn_reserved(book: Book) -> tuple[Run, ...]:
    """What was written but not durable is lost: any reserved slot may have been revealed."""
    kept = {set_id: Intervals() for set_id in book.ledgers}
    for batch in book.batches.values():
        if batch.pending is not None:
            for run in batch.runs:
                kept[run.set_id].add(run.first, run.length)
    return tuple(
        run for set_id, ledger in book.ledgers.items() for run in ledger.burn_reserved(kept[set_id])
    )


def save_window(connection: sqlite3.Connection, window: str, book: WindowBook) -> None:
    """A window's counters, and why it is closed."""
    connection.execute(
        "INSERT OR REPLACE INTO windows VALUES (?,?,?,?,?)",
        (window, book.closed, *(book.counts[count] for count in Count)),
    )


def insert_set(connection: sqlite3.Connection, info: SetInfo) -> None:
    """A new set, unused."""
    name = info.name
    connection.execute(
        "INSERT INTO sets VALUES (?,?,?,?,?,0,0,0,x'',x'')",
        (info.set_id, name.mint_id, name.window, name.camera, info.slots),
    )


def save_set(connection: sqlite3.Connection, ledger: SetLedger) -> None:
    """The set's own row: reservation, marks, finished slots."""
    connection.execute(
        "UPDATE sets SET reserved=?, prepared_mark=?, revealed_mark=?, done=?, burned=?"
        " WHERE set_id=?",
        (
            ledger.reserved,
            *ledger.mark,
            ledger.done.to_bytes(),
            ledger.burned.to_bytes(),
            ledger.info.set_id,
        ),
    )


def pack_places(places: Sequence[int]) -> bytes:
    """Places as u32, in the order of kappa's columns."""
    return np.asarray(places, dtype="<u4").tobytes()


def unpack_places(data: bytes) -> tuple[int, ...]:
    """The inverse of `pack_places`. Raises FormatError."""
    if len(data) % 4:
        raise FormatError(f"places: found {len(data)} bytes, expected a multiple of 4")
    return tuple(np.frombuffer(data, dtype="<u4").tolist())


def delete_check(connection: sqlite3.Connection, check: Check) -> None:
    """A check and what is left of its kappas."""
    connection.executemany(
        "DELETE FROM kappa WHERE number=?", [(row.number,) for row in check.kappa]
    )
    connection.execute("DELETE FROM checks WHERE number=?", (check.number,))


def _ledger(
    _set_id: bytes,
    mint_id: bytes,
    window: str,
    camera: str,
    slots: int,
    reserved: int,
    prepared_mark: int,
    revealed_mark: int,
    done: bytes,
    burned: bytes,
) -> SetLedger:
    if any(type(number) is not int for number in (slots, reserved, prepared_mark, revealed_mark)):
        raise FormatError("slot journal: a number of a set is none")
    ledger = SetLedger(SetInfo(SetName(mint_id, window, camera), slots))
    ledger.done = Intervals.from_bytes(done)
    ledger.revealed = ledger.done.copy()
    ledger.burned = Intervals.from_bytes(burned)
    ledger.reserved = reserved
    ledger.mark = HighWater(prepared_mark, revealed_mark)
    return ledger
