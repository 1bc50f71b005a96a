"""What the event store keeps: its tables, and the reading of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from party.eventlines import Group, Status, face_lines
from shared.intervals import Intervals
from shared.messages import Run, unpack_runs

APPLICATION_ID = 0x744B5045
VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sets (
    number INTEGER PRIMARY KEY, set_id BLOB NOT NULL UNIQUE,
    window TEXT NOT NULL, camera TEXT NOT NULL
);
CREATE TABLE groups (
    sequence INTEGER PRIMARY KEY, faces INTEGER NOT NULL, window TEXT NOT NULL,
    status INTEGER NOT NULL, batch_id BLOB NOT NULL, transcript BLOB NOT NULL,
    at_ms INTEGER NOT NULL, reason TEXT, runs BLOB NOT NULL
);
CREATE INDEX open_groups ON groups (window) WHERE status < 2;
CREATE TABLE faces (
    sequence INTEGER PRIMARY KEY, group_sequence INTEGER NOT NULL,
    set_number INTEGER NOT NULL, slot INTEGER NOT NULL, captured_ms INTEGER NOT NULL, entries TEXT
);
CREATE TABLE announcements (
    sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    subject BLOB NOT NULL, transcript BLOB NOT NULL, detail TEXT NOT NULL,
    previous BLOB NOT NULL, digest BLOB NOT NULL
);
CREATE VIEW events AS
    SELECT s.window, s.camera, hex(s.set_id) AS set_id, f.slot, f.captured_ms,
        CASE g.status WHEN 0 THEN 'unresolved' WHEN 1 THEN 'burned' ELSE 'verified' END
            AS status,
        coalesce(f.entries, '[]') AS entries, hex(g.batch_id) AS batch_id, g.at_ms,
        hex(g.transcript) AS transcript, g.reason
    FROM faces f JOIN sets s ON s.number = f.set_number
        JOIN groups g ON g.sequence = f.group_sequence
"""


class FaceEvent(NamedTuple):
    """An event as it is stored. captured_ms, at_ms: unix ms; entries: names of the matches."""

    window: str
    camera: str
    set_id: bytes
    slot: int
    captured_ms: int
    at_ms: int
    batch_id: bytes
    transcript: bytes
    reason: str | None
    status: Status
    entries: tuple[str, ...]


class Announcement(NamedTuple):
    """An alarm or a notice to operators."""

    at_ms: int
    kind: str
    detail: str


@dataclass(slots=True)
class Told:
    """A set's number in the database, and which slots were told with which status."""

    number: int
    slots: tuple[Intervals, Intervals, Intervals] = field(
        default_factory=lambda: (Intervals(), Intervals(), Intervals())
    )

    def anything(self, run: Run) -> bool:
        """Whether any of these slots was told."""
        unresolved, burned, verified = self.slots
        first, length = run.first, run.length
        return (
            verified.intersects(first, length)
            or burned.intersects(first, length)
            or unresolved.intersects(first, length)
        )

    def add(self, run: Run, status: Status) -> None:
        """These slots are told now with this status."""
        own = self.slots[status]
        for slots in self.slots:
            if slots and slots is not own:
                slots.subtract(run.first, run.length)
        own.add(run.first, run.length)


def drop_empty_sets(connection: sqlite3.Connection) -> None:
    """Forgets sets of windows of which no face is left."""
    connection.execute("DELETE FROM sets WHERE window NOT IN (SELECT window FROM groups)")


def load_told(connection: sqlite3.Connection) -> dict[bytes, Told]:
    """What was told of each set, by set id."""
    sets = {
        set_id: Told(number)
        for set_id, number in connection.execute("SELECT set_id, number FROM sets")
    }
    for status, packed in connection.execute("SELECT status, runs FROM groups ORDER BY sequence"):
        for run in unpack_runs(packed):
            sets[run.set_id].add(run, Status(status))
    return sets


def missing_lines(
    connection: sqlite3.Connection, row: tuple[Any, ...], written: int
) -> Iterator[tuple[int, list[str]]]:
    """The lines of a group above `written`; faces that were told anew since have none."""
    first, _, window, status, batch_id, transcript, at_ms, reason, _ = row
    group = Group(window, Status(status), batch_id, transcript, at_ms, reason)
    for sequence, set_id, camera, slot, captured, matches in connection.execute(
        "SELECT f.sequence, s.set_id, s.camera, f.slot, f.captured_ms, f.entries"
        " FROM faces f JOIN sets s ON s.number = f.set_number"
        " WHERE f.sequence BETWEEN ? AND ? ORDER BY f.sequence",
        (max(first, written + 1), first + row[1] - 1),
    ).fetchall():
        entries = {} if matches is None else {0: matches}
        times = np.array([captured], dtype=np.uint64)
        yield (
            sequence,
            face_lines(sequence, group, [Run(set_id, slot, 1)], [camera], times, entries),
        )


def read_faces(connection: sqlite3.Connection, window: str | None) -> list[FaceEvent]:
    """All faces, or those of one window, by camera and slot."""
    rows = connection.execute(
        "SELECT g.status, f.entries, s.window, s.camera, s.set_id, f.slot, f.captured_ms,"
        " g.at_ms, g.batch_id, g.transcript, g.reason FROM faces f"
        " JOIN sets s ON s.number = f.set_number"
        " JOIN groups g ON g.sequence = f.group_sequence"
        " WHERE ?1 IS NULL OR s.window = ?1 ORDER BY s.camera, s.number, f.slot",
        (window,),
    )
    return [
        FaceEvent._make([*named, Status(status), tuple(orjson.loads(entries or "[]"))])
        for status, entries, *named in rows
    ]
