"""A SQLite file of one process: exclusive, in write-ahead mode, with two strengths of writing.

A *durable* transaction is on stable storage when it returns. A *written* one has reached the
operating system: it survives the death of the process, not that of the machine, and every later
durable transaction carries all earlier written ones with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import sqlite3
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from shared.atomicfile import storage_error, sync_folder
from shared.errors import DiskFull, FormatError, Locked, ResourceError, TwokeyError

# The log is copied back by `checkpoint`, away from the hot path; this is only the fallback.
_FALLBACK_CHECKPOINT_PAGES = 16_384
_SHORT_LOG_BYTES = 8 << 20
_SEAL_BYTES = 16
_GENERATED = 3  # as SQLite calls a stored column that it computes
_UNSOUND = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error)


def sealed(table: str, *columns: str) -> str:
    """The last column of a table, for its schema: a digest over these, which are all others.

    SQLite finds broken pages, not a changed byte of a value. Every row is checked at opening.
    """
    return f"seal BLOB AS (seal('{table}', {', '.join(columns)})) STORED"


def allow_seals(connection: sqlite3.Connection) -> None:
    """Lets a connection write into sealed tables."""
    connection.create_function("seal", -1, _seal, deterministic=True)


class Database:
    """An open, locked SQLite file.

    path: created with mode 0600 where missing. kind: what it is, for messages. application_id,
    version: written at creation, checked at opening. schema: statements that create it, each
    ended by a semicolon. page_bytes: of a file that is created; every page that a transaction
    touches is written as a whole.
    Raises Locked, FormatError, DiskFull, ResourceError.
    """

    def __init__(
        self,
        path: Path,
        *,
        kind: str,
        application_id: int,
        version: int,
        schema: str,
        secure_delete: bool = False,
        page_bytes: int = 8192,
    ) -> None:
        self.path = path
        self.kind = kind
        self.lock = threading.RLock()
        self._durable: bool | None = None
        self._page_bytes = page_bytes
        self._unusable = False
        self._checkpoint_lock = threading.Lock()
        self._lock_file = _take_lock(path, kind)
        self._connections: list[sqlite3.Connection] = []
        try:
            _make_file(path, kind)
            with self._typed_errors():
                self._connection = self._connect(secure_delete)
                self._check_identity(application_id, version, schema)
                self._check_seals()
                self._checkpointer = self._connect(secure_delete)
            sync_folder(path.parent)
        except BaseException as error:
            self._shut()
            if isinstance(error, OSError):
                raise storage_error(error, kind, path) from error
            raise

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises DiskFull, ResourceError; then nothing was recorded."""
        with self.lock, self._typed_errors():
            self._set_strength(durable=durable)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, statement: str, values: tuple[object, ...]) -> int:
        """A written transaction of one statement; the number of the row that it inserts, if any."""
        with self.lock, self._typed_errors():
            self._set_strength(durable=False)
            return self._connection.execute(statement, values).lastrowid or 0

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self.lock, self._typed_errors():
            yield self._connection

    @contextmanager
    def restoring(self) -> Iterator[sqlite3.Connection]:
        """As `reading`, for content that is decoded. Raises FormatError where it is not sound."""
        try:
            with self.reading() as connection:
                yield connection
        except _UNSOUND as error:
            raise FormatError(
                f"{self.kind} {self.path}: its content is not sound ({type(error).__name__})"
            ) from error

    def sync(self) -> None:
        """Makes all written transactions durable, without holding up writers.

        What is not in the log any more was made durable when it was copied back.
        """
        if not self.usable:
            raise ResourceError(f"{self.kind} {self.path}: closed")
        try:
            handle = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            self._unusable = True  # as after SQLITE_IOERR_FSYNC
            raise storage_error(error, self.kind, self.path) from error

    def checkpoint(self) -> None:
        """Copies the log back into the file, for the most part without holding up writers."""
        with self._checkpoint_lock, self._typed_errors():
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            log = Path(f"{self.path}-wal")
            if log.exists() and log.stat().st_size > _SHORT_LOG_BYTES:
                with self.lock:  # the few pages written meanwhile, so that the log starts over
                    self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    @property
    def usable(self) -> bool:
        """False once closed, or after a write that the disk did not confirm."""
        return not self._unusable

    def close(self) -> None:
        """Copies the log back where possible and lets go of the lock; twice is no error."""
        with self._checkpoint_lock, self.lock:
            try:
                if self.usable:
                    # Without room for it, all that is durable stays in the log.
                    with contextlib.suppress(ResourceError), self._typed_errors():
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, secure_delete: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=5
        )
        self._connections.append(connection)
        allow_seals(connection)
        connection.execute(f"PRAGMA page_size={self._page_bytes}")
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_FALLBACK_CHECKPOINT_PAGES}").fetchall()
        connection.execute(f"PRAGMA journal_size_limit={_SHORT_LOG_BYTES}").fetchall()
        connection.execute(f"PRAGMA secure_delete={'ON' if secure_delete else 'OFF'}").fetchall()
        return connection

    def _check_identity(self, application_id: int, version: int, schema: str) -> None:
        query = self._connection.execute
        found = (_number(query("PRAGMA application_id")), _number(query("PRAGMA user_version")))
        if found == (application_id, version):
            return
        if found != (0, 0) or _number(query("SELECT count(*) FROM sqlite_schema")):
            raise FormatError(
                f"{self.path}: found application {found[0]:#x} version {found[1]}, expected "
                f"{self.kind}, application {application_id:#x} version {version}"
            )
        with self.transaction(durable=True) as connection:
            for statement in filter(str.strip, schema.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={application_id}")
            connection.execute(f"PRAGMA user_version={version}")

    def _set_strength(self, *, durable: bool) -> None:
        if self._unusable:
            raise ResourceError(f"{self.kind} {self.path}: closed after a storage failure")
        if self._durable is not durable:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _check_seals(self) -> None:
        query = self._connection.execute
        where = f"{self.kind} {self.path}"
        tables = [row[0] for row in query("SELECT name FROM sqlite_schema WHERE type='table'")]
        seals = {name: columns for name in tables if (columns := self._under_seal(name))}
        if seals and query("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise FormatError(f"{where}: not a sound database file")
        for table, columns in seals.items():
            content = ", ".join(columns)
            wrong = f"SELECT count(*) FROM {table} WHERE seal IS NOT seal('{table}', {content})"  # noqa: S608
            if _number(query(wrong)):
                raise FormatError(f"{where}: a record of {table} was changed since it was written")

    def _under_seal(self, table: str) -> list[str]:
        """The columns that a table's seal is over; none where it has no seal."""
        found = self._connection.execute("SELECT * FROM pragma_table_xinfo(?)", (table,)).fetchall()
        names = [row[1] for row in found if not row[6]]
        if ("seal", _GENERATED) not in [(row[1], row[6]) for row in found]:
            return []
        if not all(name.isidentifier() for name in (table, *names)):
            raise FormatError(f"{self.kind} {self.path}: found a table {table!r:.40}")
        return names

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._typed(error) from error
        except UnicodeDecodeError as error:  # SQLite's own message, quoting a broken schema
            raise FormatError(f"{self.kind} {self.path}: not a sound database file") from error

    def _typed(self, error: sqlite3.Error) -> TwokeyError:
        code = getattr(error, "sqlite_errorcode", 0)
        where = f"{self.kind} {self.path}"
        if code == sqlite3.SQLITE_IOERR_FSYNC:
            # The kernel drops the pages that it could not write: what was written before is not
            # known to be there, so nothing may be promised on top of it.
            self._unusable = True
            return ResourceError(f"{where}: the disk did not confirm a write; stop and check it")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE):
            return DiskFull(f"{where}: no space left; nothing was recorded")
        primary = code & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Locked(f"{where}: held by another process")
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return FormatError(f"{where}: not a sound database file")
        return ResourceError(f"{where}: {str(error) or type(error).__name__}")

    def _shut(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []
        self._unusable = True
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _seal(*values: int | str | bytes | None) -> bytes:
    """Of a row: 16 bytes over the name of its table and its values, injectively encoded."""
    state = hashlib.blake2b(digest_size=_SEAL_BYTES)
    for value in values:
        content = value if isinstance(value, bytes) else str(value).encode()
        state.update(f"{type(value).__name__} {len(content)} ".encode())
        state.update(content)
    return state.digest()


def _make_file(path: Path, kind: str) -> None:
    """An empty file where there is none. Raises FormatError for a link: its lock would be another.

    Also for anything else that is no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FormatError(f"{kind} {path}: is a link, expected a regular file") from None
        raise
    regular = stat.S_ISREG(os.fstat(handle).st_mode)
    os.close(handle)
    if not regular:
        raise FormatError(f"{kind} {path}: not a regular file")


def _number(cursor: sqlite3.Cursor) -> int:
    return int(cursor.fetchone()[0])


def _take_lock(path: Path, kind: str) -> int | None:
    """A lock of its own file: SQLite's locks are released by any close of the file."""
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, kind, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Locked(f"{kind} {path}: held by another process") from error
    return handle
