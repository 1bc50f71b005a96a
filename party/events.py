"""Results as events, one a face: in a database that survives restarts, and as JSON lines.

The database is the truth. A crash between both leaves the file of JSON lines short; it is completed
from the database at the next start, without repeating a line.
"""

from __future__ import annotations

import logging
import operator
import sqlite3
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from party import audit
from party.audit import Head, Record
from party.auditfile import insert, last_head
from party.eventlines import (
    EventBatch,
    Group,
    Status,
    announcement_line,
    face_lines,
    matched_entries,
)
from party.eventrows import (
    APPLICATION_ID,
    SCHEMA,
    VERSION,
    Announcement,
    FaceEvent,
    Told,
    drop_empty_sets,
    load_told,
    missing_lines,
    read_faces,
)
from party.linefile import LineFile
from shared.database import Database
from shared.errors import ResourceError
from shared.intervals import Intervals
from shared.messages import Run, pack_runs, unpack_runs
from shared.sets import SetName

__all__ = ["Announcement", "EventBatch", "EventStore", "FaceEvent", "Status"]

_MOST_MS = (1 << 63) - 1
_FORGOTTEN_AT_ONCE = 64  # batches: faces wait for it
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Faces:
    """Faces to be stored: those of an `EventBatch`, or what of them is news."""

    group: Group
    runs: tuple[Run, ...]
    cameras: tuple[str, ...]
    times: NDArray[np.uint64]
    entries: dict[int, str]

    def only(self, chosen: list[bool]) -> _Faces:
        """Those faces, each as a run of its own."""
        slots = [
            (Run(run.set_id, slot, 1), camera)
            for run, camera in zip(self.runs, self.cameras, strict=True)
            for slot in range(run.first, run.stop)
        ]
        kept = [face for face, keep in enumerate(chosen) if keep]
        return replace(
            self,
            runs=tuple(slots[face][0] for face in kept),
            cameras=tuple(slots[face][1] for face in kept),
            times=self.times[kept],
            entries={new: self.entries[old] for new, old in enumerate(kept) if old in self.entries},
        )


class EventStore:
    """Open events, held by this process alone; all methods may be called from any thread.

    path: the database. lines: the file of JSON lines. What is recorded survives the death of the
    process; after `sync`, also that of the machine. Raises Locked, FormatError, DiskFull,
    ResourceError.
    """

    def __init__(self, path: Path, lines: Path) -> None:
        self._db = Database(
            path,
            kind="events",
            application_id=APPLICATION_ID,
            version=VERSION,
            schema=SCHEMA,
            secure_delete=True,  # what is forgotten is not to be read from free pages
            page_bytes=2048,  # a batch of one face touches a page of each of four tables
        )
        try:
            with self._db.restoring() as connection:
                rows = connection.execute("SELECT key, value FROM meta").fetchall()
                meta = {str(key): operator.index(value) for key, value in rows}
                drop_empty_sets(connection)
                self._sets = load_told(connection)
                self._audit: Head = last_head(connection)
            self._next: int = meta.get("next", 1)
            self._lines = LineFile(lines)
            last = self._lines.last_sequence()
            if last is None:
                # A new file in place of one that was moved away: its lines are not repeated.
                last = 0 if meta.get("inode") == self._lines.inode else meta.get("written", 0)
            self._written: int = last
            self._catch_up()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Durable. Closing twice is no error."""
        with self._db.lock:
            try:
                if self._db.usable:
                    with self._db.transaction(durable=True) as connection:
                        self._save_meta(connection, self._next)
                    self._lines.sync()
            except ResourceError as error:
                _log.warning("events: the last lines are checked at the next start: %s", error)
            finally:
                self._lines.close()
                self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, batch: EventBatch) -> None:
        """Verified faces with their matches. Faces that were unresolved are resolved by it."""
        entries = matched_entries(batch.names, batch.bits)
        self._record(batch, Status.VERIFIED, entries, None)

    def record_unresolved(self, batch: EventBatch, reason: str | None = None) -> None:
        """Faces whose result is not confirmed yet; their bits are not told."""
        self._record(batch, Status.UNRESOLVED, {}, reason)

    def record_burned(
        self, name: SetName, run: Run, times: NDArray[np.uint64], reason: str
    ) -> None:
        """Faces that get no result. times: (run.length,) uint64, unix ms."""
        batch = EventBatch(
            b"",
            name.window,
            (run,),
            (name.camera,),
            times,
            (),
            np.zeros((run.length, 0), dtype=np.bool_),
            b"",
            _now_ms(),
        )
        self._record(batch, Status.BURNED, {}, reason)

    def announce(self, kind: str, detail: str, transcript: bytes = b"") -> None:
        """Durable: an alarm or a notice to operators, e.g. tamper, outage, omission.

        transcript: of the check or batch that it is about, for the audit log.
        """
        at_ms = _now_ms()
        with self._db.lock:
            sequence = self._next
            record = audit.following(self._audit, at_ms, kind, detail, transcript=transcript)
            with self._db.transaction(durable=True) as connection:
                insert(connection, record)
                connection.execute(
                    "INSERT INTO announcements VALUES (?,?,?,?)", (sequence, at_ms, kind, detail)
                )
                self._save_meta(connection, sequence + 1)
            self._audit = record.head
            self._next = sequence + 1
            self._tell([announcement_line(sequence, at_ms, kind, detail)])

    def note(self, kind: str, detail: str, subject: bytes = b"") -> None:
        """Durable: a record of the audit log only."""
        self.note_each(kind, [(detail, subject)])

    def note_each(self, kind: str, notes: Iterable[tuple[str, bytes]]) -> None:
        """Durable, all or none: a record of the audit log for each detail and subject."""
        with self._db.lock:
            head, now_ms = self._audit, _now_ms()
            with self._db.transaction(durable=True) as connection:
                for detail, subject in notes:
                    record = audit.following(head, now_ms, kind, detail, subject)
                    insert(connection, record)
                    head = record.head
            self._audit = head

    def audit_digest(self, sequence: int) -> bytes | None:
        """The digest of a record of the audit log; of number 0 that of the empty log."""
        if sequence == audit.EMPTY.sequence:
            return audit.EMPTY.digest
        with self._db.reading() as connection:
            query = "SELECT digest FROM audit WHERE sequence=?"
            row = connection.execute(query, (sequence,)).fetchone()
        return None if row is None else bytes(row[0])

    @property
    def audit_head(self) -> Head:
        """Where the audit log ends."""
        return self._audit

    def released(self, set_id: bytes) -> Intervals:
        """Slots of a set whose bits this party has opened: verified, or still unresolved."""
        with self._db.lock:
            told = self._sets.get(set_id)
            if told is None:
                return Intervals()
            slots = told.slots[Status.VERIFIED].copy()
            slots.update(told.slots[Status.UNRESOLVED])
            return slots

    def sync(self) -> None:
        """Makes all that was recorded durable, without holding up other threads."""
        self._db.sync()
        self._lines.sync()

    def maintain(self) -> None:
        """Keeps the database's log short; from a background thread every second or so."""
        self._db.checkpoint()

    def events(self, window: str | None = None) -> list[FaceEvent]:
        """All faces, or those of one window, by camera and slot."""
        with self._db.restoring() as connection:
            return read_faces(connection, window)

    def announcements(self) -> list[Announcement]:
        """All announcements, oldest first."""
        with self._db.reading() as connection:
            rows = connection.execute("SELECT at_ms, kind, detail FROM announcements").fetchall()
        return [Announcement(*row) for row in rows]

    def forget_before(self, at_ms: int, kept: Set[str]) -> int:
        """Drops the oldest faces if they were told before this, a bounded number a call.

        kept: windows of which nothing is dropped. Returns how many batches went. The audit log, the
        announcements and the file of JSON lines are left alone.
        """
        with self._db.lock:
            with self._db.reading() as connection:
                oldest = connection.execute(
                    "SELECT sequence, faces, window, at_ms FROM groups ORDER BY sequence LIMIT ?",
                    (_FORGOTTEN_AT_ONCE,),
                ).fetchall()
            gone = list(takewhile(lambda g: g[3] < at_ms and g[2] not in kept, oldest))
            if gone:
                with self._db.transaction(durable=False) as connection:
                    for first, faces, _, _ in gone:
                        last = first + faces - 1
                        connection.execute(
                            "DELETE FROM faces WHERE sequence BETWEEN ? AND ?", (first, last)
                        )
                        connection.execute("DELETE FROM groups WHERE sequence=?", (first,))
            return len(gone)

    # -- inside --------------------------------------------------------------------------

    def _record(
        self, batch: EventBatch, status: Status, entries: dict[int, str], reason: str | None
    ) -> None:
        group = Group(batch.window, status, batch.batch_id, batch.transcript, batch.at_ms, reason)
        faces = _Faces(group, batch.runs, batch.cameras, batch.times, entries)
        with self._db.lock:
            self._register(faces)
            told_before = any(self._sets[run.set_id].anything(run) for run in faces.runs)
            if told_before:
                faces = faces.only(self._news(faces))
            if faces.runs:
                self._store(faces, told_before)

    def _register(self, faces: _Faces) -> None:
        fresh = {
            run.set_id: camera
            for run, camera in zip(faces.runs, faces.cameras, strict=True)
            if run.set_id not in self._sets
        }
        if not fresh:
            return
        with self._db.transaction(durable=False) as connection:
            numbers = {
                set_id: connection.execute(
                    "INSERT INTO sets VALUES (NULL,?,?,?)", (set_id, faces.group.window, camera)
                ).lastrowid
                or 0
                for set_id, camera in fresh.items()
            }
        for set_id, number in numbers.items():
            self._sets[set_id] = Told(number)

    def _store(self, faces: _Faces, told_before: bool) -> None:
        sequence = self._next
        count = len(faces.times)
        group = faces.group
        record = _audited(self._audit, group, count)
        with self._db.transaction(durable=False) as connection:
            if record is not None:
                insert(connection, record)
            if told_before:
                self._delete_older(connection, faces)
            connection.execute(
                "INSERT INTO groups VALUES (?,?,?,?,?,?,?,?,?)",
                (
                    sequence,
                    count,
                    group.window,
                    group.status,
                    group.batch_id,
                    group.transcript,
                    group.at_ms,
                    group.reason,
                    pack_runs(faces.runs),
                ),
            )
            connection.executemany(
                "INSERT INTO faces VALUES (?,?,?,?,?,?)", self._rows(faces, sequence)
            )
            self._save_meta(connection, sequence + count)
        self._next = sequence + count
        if record is not None:
            self._audit = record.head
        for run in faces.runs:
            self._sets[run.set_id].add(run, group.status)
        self._tell(
            face_lines(sequence, group, faces.runs, faces.cameras, faces.times, faces.entries)
        )

    def _rows(self, faces: _Faces, sequence: int) -> Iterator[tuple[object, ...]]:
        times = np.minimum(faces.times, np.uint64(_MOST_MS)).tolist()
        entries = faces.entries
        face = 0
        for run in faces.runs:
            number = self._sets[run.set_id].number
            for slot in range(run.first, run.stop):
                yield sequence + face, sequence, number, slot, times[face], entries.get(face)
                face += 1

    def _news(self, faces: _Faces) -> list[bool]:
        """For each face whether its status is higher than what was told of it."""
        news = []
        for run in faces.runs:
            told = self._sets[run.set_id].slots[faces.group.status :]
            news += [
                not any(slot in slots for slots in told) for slot in range(run.first, run.stop)
            ]
        return news

    def _delete_older(self, connection: sqlite3.Connection, faces: _Faces) -> None:
        """Rows of these faces with a lower status."""
        resolved: dict[bytes, Intervals] = {}
        for run in faces.runs:
            resolved.setdefault(run.set_id, Intervals()).add(run.first, run.length)
        for first, packed in connection.execute(
            "SELECT sequence, runs FROM groups WHERE window=? AND status < 2",
            (faces.group.window,),
        ).fetchall():
            face = first
            for run in unpack_runs(packed):
                for part in resolved.get(run.set_id, Intervals()).within(run.first, run.length):
                    start = face + part.first - run.first
                    connection.execute(
                        "DELETE FROM faces WHERE sequence BETWEEN ? AND ?",
                        (start, start + part.length - 1),
                    )
                face += run.length

    def _save_meta(self, connection: sqlite3.Connection, following: int) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?,?)",
            (("next", following), ("written", self._written), ("inode", self._lines.inode)),
        )

    def _tell(self, lines: list[str]) -> None:
        """Appends lines; those that the file has no room for follow with the next ones."""
        if self._written + len(lines) + 1 != self._next:
            self._catch_up()
        elif self._lines.append(lines):
            self._written = self._next - 1

    def _catch_up(self) -> None:
        """Writes what the file of JSON lines lacks, in order."""
        with self._db.restoring() as connection:
            pieces = [
                (sequence, [announcement_line(sequence, *content)])
                for sequence, *content in connection.execute(
                    "SELECT * FROM announcements WHERE sequence > ?", (self._written,)
                )
            ]
            groups = connection.execute(
                "SELECT * FROM groups WHERE sequence + faces - 1 > ?", (self._written,)
            ).fetchall()
            for row in groups:
                pieces += missing_lines(connection, row, self._written)
        for sequence, lines in sorted(pieces):
            if not self._lines.append(lines):
                return
            self._written = sequence + len(lines) - 1
        self._written = self._next - 1


def _audited(head: Head, group: Group, faces: int) -> Record | None:
    """The record of a batch that was settled; burned faces are announced, and recorded so."""
    if group.status is Status.BURNED:
        return None
    kind = audit.BATCH if group.status is Status.VERIFIED else audit.UNRESOLVED
    detail = f"window {group.window}: {faces} faces {group.status.name.lower()}"
    return audit.following(head, group.at_ms, kind, detail, group.batch_id, group.transcript)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
