"""The slot journal's ground: opening with recovery, windows, places, sets (protocol section 5)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from party.auditfile import HEAD_KEY
from party.journal_rows import (
    APPLICATION_ID,
    SCHEMA,
    VERSION,
    Check,
    Count,
    KappaRow,
    PlaceBinding,
    WindowBook,
    delete_check,
    insert_set,
    restore,
    save_set,
    save_window,
)
from party.slots import SetInfo, SetLedger, place_mask
from shared.database import Database
from shared.errors import ProtocolViolation, ResourceError, SlotReused, WindowClosed
from shared.messages import Run

_FOLD_SETS = 100  # in one transaction, so that the marks of a batch never wait long
_FOLD_ROWS = 500
_FORGET_KAPPAS = 16
_log = logging.getLogger(__name__)
_VERIFIED = (
    "UPDATE batches SET outcome=1, expected=NULL, commitment=NULL,"
    " context=CASE WHEN opening IS NULL THEN NULL ELSE context END WHERE number=? AND batch_id=?"
)
_SET_META = "INSERT OR REPLACE INTO meta VALUES (?,?)"


class JournalIdentity(NamedTuple):
    """Which journal this is (16 random bytes), and how often it has been opened."""

    instance: bytes
    generation: int

    def later_than(self, found: JournalIdentity) -> bool:
        """Whether `found` is the same journal at an earlier opening."""
        return self.instance == found.instance and self.generation > found.generation


class JournalCore:
    """An open journal with its content in memory; every change is stored first, then applied.

    boot_id: names this run of the machine; read from the kernel when not given.
    """

    def __init__(self, path: Path, *, boot_id: str | None = None) -> None:
        self._db = Database(
            path,
            kind="slot journal",
            application_id=APPLICATION_ID,
            version=VERSION,
            schema=SCHEMA,
            page_bytes=4096,  # between marks of some bytes and kappas of some hundred thousand
        )
        try:
            self._open(boot_id or read_boot_id())
        except BaseException:
            self._db.close()
            raise
        self._dirty: set[bytes] = set()  # sets with verified batches that are not folded yet
        # Row numbers are given again, so each row is named by its batch as well.
        self._verified: list[tuple[int, bytes]] = []  # batches of which this is not written yet
        self._foldable: list[tuple[int, bytes]] = []

    def _open(self, boot_id: str) -> None:
        with self._db.restoring(), self._db.transaction(durable=True) as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            restarted = "boot" in meta and meta["boot"] != boot_id and not meta["clean"]
            self._book, self.recovery = restore(connection, restarted)
            self.identity = JournalIdentity(
                meta.get("instance") or secrets.token_bytes(16), meta.get("generation", 0) + 1
            )
            identity = zip(("instance", "generation"), self.identity, strict=True)
            connection.executemany(_SET_META, (*identity, ("boot", boot_id), ("clean", 0)))

    def close(self) -> None:
        """Durable. After a close in good order a restart of the machine burns nothing."""
        with self._db.lock:
            try:
                if self._db.usable:
                    self.write_verified()
                    with self._db.transaction(durable=True) as connection:
                        connection.execute(_SET_META, ("clean", 1))
            except ResourceError as error:
                _log.warning("the slot journal is not closed in good order: %s", error)
            finally:
                self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sets and windows --------------------------------------------------------------

    def register_sets(self, sets: Iterable[SetInfo]) -> None:
        """Durable. Sets known already are left as they are; another size is ProtocolViolation."""
        with self._db.lock:
            fresh: dict[bytes, SetInfo] = {}
            for info in sets:
                self._refuse_closed(info.name.window)
                known = self._book.ledgers.get(info.set_id)
                if known is None:
                    fresh[info.set_id] = info
                elif known.info != info:
                    raise ProtocolViolation(
                        f"set of camera {info.name.camera}: found {info.slots} slots, "
                        f"expected {known.info.slots}"
                    )
            if not fresh:
                return
            windows = {info.name.window for info in fresh.values()} - set(self._book.windows)
            with self._db.transaction(durable=True) as connection:
                for window in windows:
                    save_window(connection, window, WindowBook())
                for info in fresh.values():
                    insert_set(connection, info)
            self._book.windows.update((window, WindowBook()) for window in windows)
            self._book.ledgers.update((i, SetLedger(info)) for i, info in fresh.items())

    def known_sets(self, window: str | None = None) -> list[SetInfo]:
        """All registered sets, or those of one window."""
        with self._db.lock:
            infos = [ledger.info for ledger in self._book.ledgers.values()]
        return [info for info in infos if window in (None, info.name.window)]

    def ledger(self, set_id: bytes) -> SetLedger:
        """The slots of a set, as they are now. To be read, never changed, by the caller."""
        ledger = self._book.ledgers.get(set_id)
        if ledger is None:
            raise ProtocolViolation(f"set {set_id.hex()}: not registered in the slot journal")
        return ledger

    def write_verified(self) -> None:
        """Written: every verdict so far."""
        with self._db.lock:
            if not self._verified:
                return
            with self._db.transaction(durable=False) as connection:
                connection.executemany(_VERIFIED, self._verified)
            self._verified.clear()

    def sync(self) -> None:
        """Makes all that is written, and every verdict, durable; holds up others but little."""
        self.write_verified()
        self._db.sync()

    def close_window(self, window: str, reason: str) -> None:
        """Durable. Nothing of the window may be used any more; late openings still resolve."""
        with self._db.lock:
            book = self._copy_window(window)
            book.closed = book.closed or reason
            with self._db.transaction(durable=True) as connection:
                save_window(connection, window, book)
            self._book.windows[window] = book

    def closed(self, window: str) -> str | None:
        """Why the window is closed; None while it is open."""
        with self._db.lock:
            book = self._book.windows.get(window)
            return None if book is None else book.closed

    def forget_window(self, window: str) -> None:
        """Durable. Drops all that is stored of a window, which stays closed for ever."""
        self.close_window(window, "ended")
        with self._db.lock:
            book = self._book
            gone = {i for i, known in book.ledgers.items() if known.info.name.window == window}
            checks = [check for check in book.checks.values() if check.window == window]
            with self._db.transaction(durable=True) as connection:
                for check in checks:
                    delete_check(connection, check)
                connection.execute("DELETE FROM batches WHERE window=?", (window,))
                connection.execute("DELETE FROM sets WHERE window=?", (window,))
                connection.execute("DELETE FROM places WHERE window=?", (window,))
            for check in checks:
                del book.checks[check.check_id]
            for batch in [b for b in book.batches.values() if b.window == window]:
                del book.batches[batch.batch_id]
            for set_id in gone:
                del book.ledgers[set_id]
            self._dirty -= gone
            book.windows[window].places.clear()

    def count(self, window: str, what: Count) -> int:
        """Durable. One more; returns how many now."""
        with self._db.lock:
            book = self._copy_window(window)
            book.counts[what] += 1
            with self._db.transaction(durable=True) as connection:
                save_window(connection, window, book)
            self._book.windows[window] = book
            return book.counts[what]

    def counts(self, window: str) -> dict[Count, int]:
        """How many of each so far."""
        with self._db.lock:
            return dict(self._copy_window(window).counts)

    def bind_places(self, window: str, bindings: Iterable[PlaceBinding]) -> None:
        """Durable, before Prep0 or Prep1. SlotReused when a place has another entry already."""
        with self._db.lock:
            self._refuse_closed(window)
            book = self._copy_window(window)
            fresh = []
            for binding in bindings:
                place_mask([binding.place])
                bound = book.places.setdefault(binding.place, binding)
                if bound.entry != binding.entry:
                    raise SlotReused(
                        f"place {binding.place}: bound to another entry until the window ends"
                    )
                if bound is binding:
                    fresh.append(binding)
            with self._db.transaction(durable=True) as connection:
                save_window(connection, window, book)
                connection.executemany(
                    "INSERT INTO places VALUES (?,?,?,?)", [(window, *new) for new in fresh]
                )
            self._book.windows[window] = book

    def places(self, window: str) -> list[PlaceBinding]:
        """All bindings of a window, places ascending."""
        with self._db.lock:
            return sorted(self._copy_window(window).places.values())

    def record_audit_head(self, head: bytes) -> None:
        """Written: where the audit log ended; a log that is cut off before is known by it."""
        with self._db.transaction(durable=False) as connection:
            connection.execute(_SET_META, (HEAD_KEY, head))

    def audit_head(self) -> bytes | None:
        """What `record_audit_head` stored last."""
        with self._db.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key=?", (HEAD_KEY,)).fetchone()
        return None if row is None else bytes(row[0])

    # -- upkeep ------------------------------------------------------------------------

    def maintain(self) -> None:
        """Written, in small bites, from a background thread every second or so.

        Forgets kappas and batches of finished slots, and copies the log back, so that the file
        stays small.
        """
        self._forget_kappas()
        self._fold_batches()
        self._db.checkpoint()

    def _forget_kappas(self) -> None:
        with self._db.lock:
            checks = [check for check in self._book.checks.values() if check.passed]
        for check in checks:
            with self._db.lock:
                if check.check_id not in self._book.checks:
                    continue
                ledgers = self._book.ledgers
                finished = [
                    row
                    for row in check.kappa
                    if ledgers[row.run.set_id].finished(row.run.first, row.run.length)
                ]
            for start in range(0, len(finished), _FORGET_KAPPAS):
                self._forget_rows(check, finished[start : start + _FORGET_KAPPAS])

    def _forget_rows(self, check: Check, rows: list[KappaRow]) -> None:
        with self._db.lock:
            if check.check_id not in self._book.checks:
                return
            kept = [row for row in check.kappa if row not in rows]
            with self._db.transaction(durable=False) as connection:
                connection.executemany(
                    "DELETE FROM kappa WHERE number=?", [(row.number,) for row in rows]
                )
                if not kept:
                    # What the check's row said of its slots, the sets' own rows now say.
                    connection.execute("DELETE FROM checks WHERE number=?", (check.number,))
                    for set_id in {run.set_id for run in check.runs}:
                        save_set(connection, self._book.ledgers[set_id])
            check.kappa = kept
            if not kept:
                del self._book.checks[check.check_id]

    def _fold_batches(self) -> None:
        """Rows of verified batches become part of their sets' own rows."""
        with self._db.lock:
            self.write_verified()  # before any of it becomes part of a set's row
            rows, self._foldable = self._foldable, []
            dirty, self._dirty = list(self._dirty), set()
        try:
            for start in range(0, len(dirty), _FOLD_SETS):
                with self._db.transaction(durable=False) as connection:
                    for set_id in dirty[start : start + _FOLD_SETS]:
                        if set_id in self._book.ledgers:
                            save_set(connection, self._book.ledgers[set_id])
            while rows:
                with self._db.transaction(durable=False) as connection:
                    connection.executemany(
                        "DELETE FROM batches WHERE number=? AND batch_id=?", rows[-_FOLD_ROWS:]
                    )
                del rows[-_FOLD_ROWS:]
        except ResourceError:
            with self._db.lock:
                self._foldable += rows
                self._dirty.update(dirty)
            raise

    # -- for the marks on slots --------------------------------------------------------

    def _window_of(self, runs: Sequence[Run]) -> str:
        windows = {self.ledger(run.set_id).info.name.window for run in runs}
        if len(windows) != 1:
            raise ProtocolViolation(f"runs: found {len(windows)} windows, expected slots of one")
        return windows.pop()

    def _refuse_closed(self, window: str) -> None:
        book = self._book.windows.get(window)
        if book is not None and book.closed is not None:
            raise WindowClosed(f"window {window}: closed, {book.closed}")

    def _copy_window(self, window: str) -> WindowBook:
        book = self._book.windows.get(window, WindowBook())
        return WindowBook(book.closed, dict(book.counts), dict(book.places))

    def _copies(self, set_ids: Iterable[bytes]) -> dict[bytes, SetLedger]:
        return {set_id: self.ledger(set_id).copy() for set_id in set(set_ids)}

    def _replace(self, ledgers: dict[bytes, SetLedger]) -> None:
        with self._db.transaction(durable=True) as connection:
            for ledger in ledgers.values():
                save_set(connection, ledger)
        self._book.ledgers.update(ledgers)


def read_boot_id() -> str:
    """The kernel's name for this run of the machine; a fresh one where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(16)
