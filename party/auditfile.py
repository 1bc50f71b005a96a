"""Reading a party's audit log from its state, and handing it over as a signed file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from party.audit import EMPTY, Head, Record
from shared.atomicfile import PUBLIC, read_small, write_atomic
from shared.errors import AuthenticationFailed, ConfigError, FormatError
from shared.keys import Identity, PublicIdentity

HEAD_KEY: Final = "audit"  # in the slot journal
_BYTES: Final = ("subject", "transcript", "previous", "digest")
_FIELDS: Final = ("sequence", "at_ms", "kind", *_BYTES, "detail")
_SELECT = "SELECT sequence, at_ms, kind, subject, transcript, detail, previous, digest FROM audit"
_FORMAT = "twokey_audit"
_VERSION = 1
_LIMIT = 1 << 32
_SEQUENCE_BYTES = 8
_HEAD_BYTES = _SEQUENCE_BYTES + 32


def insert(connection: sqlite3.Connection, record: Record) -> None:
    """Stores a record, in the caller's transaction."""
    connection.execute(
        "INSERT INTO audit VALUES (?,?,?,?,?,?,?,?)",
        (
            record.sequence,
            record.at_ms,
            record.kind,
            record.subject,
            record.transcript,
            record.detail,
            record.previous,
            record.digest,
        ),
    )


def last_head(connection: sqlite3.Connection) -> Head:
    """Where the stored log ends."""
    row = connection.execute(
        "SELECT sequence, digest FROM audit ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    return EMPTY if row is None else Head(*row)


def pack_head(head: Head) -> bytes:
    """As the slot journal keeps it."""
    return head.sequence.to_bytes(_SEQUENCE_BYTES, "little") + head.digest


def unpack_head(packed: Any) -> Head:
    """The inverse of `pack_head`; of None the empty log. Raises FormatError."""
    if packed is None:
        return EMPTY
    if not isinstance(packed, bytes) or len(packed) != _HEAD_BYTES:
        raise FormatError(f"end of the audit log: expected {_HEAD_BYTES} bytes")
    return Head(int.from_bytes(packed[:_SEQUENCE_BYTES], "little"), packed[_SEQUENCE_BYTES:])


class OpenLog(NamedTuple):
    """A log as it was at one moment. known: its end that the slot journal knew just before."""

    connection: sqlite3.Connection
    known: Head

    def records(self) -> Iterator[Record]:
        """All of it, in order; a log of months does not fit into memory."""
        for found in self.connection.execute(f"{_SELECT} ORDER BY sequence"):
            yield Record(*found)

    def last(self, most: int) -> list[Record]:
        """The last ones, in order."""
        query = f"{_SELECT} ORDER BY sequence DESC LIMIT ?"
        return [Record(*found) for found in self.connection.execute(query, (most,))][::-1]


@contextmanager
def open_log(journal: Path, events: Path) -> Iterator[OpenLog]:
    """The log in a party's state; also while the party runs. Raises ConfigError (missing).

    Also FormatError, at any time while it is read.
    """
    # The journal first: the log may only have grown since.
    with _reading(journal, "slot journal") as connection:
        row = connection.execute("SELECT value FROM meta WHERE key=?", (HEAD_KEY,)).fetchone()
    known = unpack_head(None if row is None else row[0])
    with _reading(events, "events") as connection:
        connection.execute("BEGIN")  # what is read twice is the same
        yield OpenLog(connection, known)


def export(path: Path, records: Iterable[Record], identity: Identity) -> int:
    """Writes the log as JSON lines, its end signed; how many records. Raises DiskFull.

    Also ResourceError.
    """
    head = EMPTY

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal head
        owner = identity.public
        yield {_FORMAT: _VERSION, "role": owner.role, "name": owner.name}
        for record in records:
            head = record.head
            yield _plain(record)
        signature = identity.sign("audit log", owner.role, owner.name, *head)
        yield {"records": head.sequence, "signature": signature.hex()}

    content = (orjson.dumps(line) + b"\n" for line in lines())
    write_atomic(path, content, "audit log", mode=PUBLIC, replace=True)
    return head.sequence


def load(path: Path, owner: PublicIdentity) -> list[Record]:
    """The records of an exported file, signed by its owner; the chain is not checked here.

    Raises ConfigError (missing), FormatError, AuthenticationFailed.
    """
    where = f"audit log {path}"
    lines = [_decoded(line, where) for line in read_small(path, "audit log", _LIMIT).splitlines()]
    if len(lines) < 2 or lines[0] != {_FORMAT: _VERSION, "role": owner.role, "name": owner.name}:
        found = lines[0] if lines else {}
        if _FORMAT in found and found.get(_FORMAT) == _VERSION:
            raise AuthenticationFailed(
                f"{where}: found the log of {found.get('role')!s:.8} {found.get('name')!s:.64}, "
                f"expected {owner.role} {owner.name}"
            )
        raise FormatError(f"{where}: not an exported audit log of version {_VERSION}")
    records = [_record(line, where) for line in lines[1:-1]]
    head = records[-1].head if records else EMPTY
    if set(lines[-1]) != {"records", "signature"} or lines[-1]["records"] != head.sequence:
        raise FormatError(f"{where}: its last line is missing")
    signature = _octets(lines[-1], "signature", where)
    owner.verify(signature, where, "audit log", owner.role, owner.name, *head)
    return records


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, beside the one of a running party."""
    if not path.exists():
        raise ConfigError(f"{kind} {path}: not found")
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
            connection.execute("PRAGMA query_only=1")
            yield connection
    except sqlite3.DatabaseError as error:
        raise FormatError(f"{kind} {path}: {error}") from error
    except UnicodeDecodeError as error:  # SQLite's own message, quoting a broken schema
        raise FormatError(f"{kind} {path}: not a sound database file") from error


def _plain(record: Record) -> dict[str, Any]:
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in asdict(record).items()
    }


def _decoded(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise FormatError(f"{where}: a line is not JSON") from None
    if not isinstance(found, dict):
        raise FormatError(f"{where}: a line is not an object")
    return found


def _record(line: dict[str, Any], where: str) -> Record:
    if set(line) != set(_FIELDS):
        raise FormatError(f"{where}: a record has not exactly the fields of one")
    sequence, at_ms, kind, detail = (line[n] for n in ("sequence", "at_ms", "kind", "detail"))
    for number in (sequence, at_ms):
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise FormatError(f"{where}: a record's number is out of range")
    if not isinstance(kind, str) or not isinstance(detail, str):
        raise FormatError(f"{where}: a record's text is no text")
    octets = {name: _octets(line, name, where) for name in _BYTES}
    return Record(sequence=sequence, at_ms=at_ms, kind=kind, detail=detail, **octets)


def _octets(line: dict[str, Any], name: str, where: str) -> bytes:
    value = line[name]
    if not isinstance(value, str) or value != value.lower():
        raise FormatError(f"{where}: {name} is not in hexadecimal")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise FormatError(f"{where}: {name} is not in hexadecimal") from None
